"""This module is where it is seen that holds and what they bind were tampered with."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Ledger
    from libs.db_orm.tests.verify.conftest import Forged

OF_HAL = "wallet_id = 'hal'"
# What is forged, and all invariants that tell it.
FORGED: dict[str, tuple[str, str, set[str]]] = {
    "less is held than holds bind": (
        "wallets",
        "UPDATE wallets SET held_minor = held_minor - 1 WHERE id = 'hal'",
        {"B1"},
    ),
    "a hold that binds more": (
        "holds",
        f"UPDATE holds SET amount_minor = amount_minor + 1 WHERE {OF_HAL} AND captured_minor > 0",
        {"B1", "B2"},
    ),
    "a capture that became a release": (
        "holds",
        (
            "UPDATE holds SET captured_minor = captured_minor - 1,"
            f" released_minor = released_minor + 1 WHERE {OF_HAL} AND captured_minor > 0"
        ),
        {"B2"},
    ),
    "a hold that is gone": (
        "holds",
        f"DELETE FROM holds WHERE {OF_HAL} AND captured_minor = 0",
        {"B1", "B2"},
    ),
    "a hold that nobody asked for": (
        "operations",
        f"UPDATE operations SET type = 'hold_release' WHERE {OF_HAL} AND type = 'hold'",
        {"B2"},
    ),
    "a capture to another wallet that paid something else": (
        "ledger_entries",
        f"UPDATE ledger_entries SET amount_minor = -299 WHERE {OF_HAL} AND amount_minor = -300",
        {"B2", "M1", "M3", "M5", "E1", "S3", "S5", "H1"},
    ),
    "an event that tells of another hold": (
        "events",
        (
            'UPDATE events SET payload = replace(payload::text, \'"holdId":"\','
            f" '\"holdId\":\"x')::json WHERE {OF_HAL} AND type = 'HoldReleased'"
        ),
        {"B2"},
    ),
    "an event that tells of another sum": (
        "events",
        (
            'UPDATE events SET payload = replace(payload::text, \'"held":"\','
            f" '\"held\":\"9')::json WHERE {OF_HAL} AND type = 'HoldReleased'"
        ),
        {"B3"},
    ),
}


async def test_a_hold_that_was_tampered_with_is_seen(good: "Ledger", forged: "Forged") -> None:
    """Whatever of a hold, of its story or of what is held was changed, its wallet is named."""
    for name, (table, forgery, invariants) in FORGED.items():
        async with forged(table, forgery):
            found = await good.violations()

        assert set(found) == invariants, name
        assert "hal" in {each["walletId"] for told in found.values() for each in told}, name
    assert await good.violations() == {}
