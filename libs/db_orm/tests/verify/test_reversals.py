"""This module is where it is seen that reversals were tampered with."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Ledger
    from libs.db_orm.tests.verify.conftest import Forged

FORGED = {
    "more was taken back than came": (
        *("reversals", "UPDATE reversals SET original_minor = 999, amount_minor = 150"),
        {"R1", "R2"},
    ),
    "what was taken back is forgotten": ("reversals", "DELETE FROM reversals", {"R2"}),
    "of another operation": (
        *("reversals", "UPDATE reversals SET operation_id = gen_random_uuid()"),
        {"R1"},
    ),
    "the entry is another one's": (
        *("reversals", "UPDATE reversals SET reversal_id = gen_random_uuid()"),
        {"R2"},
    ),
}


async def test_a_reversal_that_was_tampered_with_is_seen(good: "Ledger", forged: "Forged") -> None:
    """Whatever was changed of it, the wallet is named."""
    for name, (table, forgery, invariants) in FORGED.items():
        async with forged(table, forgery):
            found = await good.violations()

        assert set(found) == invariants, name
        assert {each["walletId"] for told in found.values() for each in told} == {"hal"}, name
