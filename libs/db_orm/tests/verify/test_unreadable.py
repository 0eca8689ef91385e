"""This module is where what is no longer what it was written as is told, and ends no proof."""

from typing import TYPE_CHECKING, Any

import pytest

from wallet_db_orm import proving

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger
    from libs.db_orm.tests.verify.conftest import Forged

SECOND = "wallet_id = 'cid' AND wallet_version = 2"
REFUSED = "wallet_id = 'bob' AND outcome ->> 'type' = 'rejected'"
# The table, the column that is spoilt, where, by what, and the invariant and place that tell it.
SPOILT: dict[str, tuple[str, str, str, str, str, dict[str, Any]]] = {
    "an outcome that is a list": (
        *("operations", "outcome", "wallet_id = 'yen'", "[]"),
        *("K8", {"walletId": "yen"}),
    ),
    "a refusal's outcome that is a list": (
        *("operations", "outcome", REFUSED, "[]"),
        *("K8", {"walletId": "bob"}),
    ),
    "an outcome that is a number": (
        *("operations", "outcome", "wallet_id = 'yen'", "7"),
        *("K8", {"walletId": "yen"}),
    ),
    "an outcome whose version is no number": (
        *("operations", "outcome", "wallet_id = 'yen'"),
        '{"type":"posted","balance_minor":500,"version":"x"}',
        *("K8", {"walletId": "yen", "walletVersion": 2}),
    ),
    "a refund's outcome whose version is beyond all numbers": (
        *("operations", "outcome", "request_id LIKE 'refund %'"),
        '{"type":"posted","balance_minor":500,"version":99999999999999999999}',
        *("K8", {"walletId": "bob"}),
    ),
    "an event that is a list": (
        *("events", "payload", SECOND, "[]"),
        *("E1", {"walletId": "cid", "walletVersion": 2}),
    ),
    "an event that is a word": (
        *("events", "payload", SECOND, '"x"'),
        *("E1", {"walletId": "cid", "walletVersion": 2}),
    ),
}


async def test_what_is_malformed_is_told_with_its_place(good: "Ledger", forged: "Forged") -> None:
    """It contradicts the invariant that reads it; every other one is asked all the same."""
    for name, (table, column, where, value, invariant, place) in SPOILT.items():
        async with forged(table, f"UPDATE {table} SET {column} = '{value}' WHERE {where}"):
            violations = await good.violations()

        # A request that was refused has an operation that no longer says so.
        assert set(violations) - {"A7"} == {invariant}, name
        (found,) = violations[invariant]
        assert found.items() >= place.items(), name
    assert await good.violations(at_rest=True) == {}


async def test_what_cannot_be_read_is_a_violation_of_all_that_needed_it(
    good: "Ledger", forged: "Forged"
) -> None:
    """The server's words stand in the report; the other invariants have been asked as well."""
    poisoned = r'{"type":"posted","balance_minor":500,"version":"\u0000"}'
    forgery = f"UPDATE operations SET outcome = '{poisoned}' WHERE wallet_id = 'yen'"
    async with forged("operations", forgery):
        violations = await good.violations()

    assert set(violations) == {"K8"}
    (found,) = violations["K8"]
    assert found["walletId"] is None
    assert found["unreadable"] == "unsupported Unicode escape sequence"


@pytest.mark.parametrize("outcome", ["[]", '{"type":"posted","balance_minor":1,"version":"x"}'])
async def test_what_is_malformed_behind_the_point_is_told(
    good: "Ledger", a: "Builders", books: "Books", outcome: str
) -> None:
    """An incremental proof finds transfers by such outcomes, and ends with a report as well."""
    await good.transfer(a.transfer("cid", "ann", "2.00", request_id="behind"), audited=True)
    forgery = f"UPDATE operations SET outcome = '{outcome}' WHERE request_id = 'behind'"
    await books.tamper("operations", forgery)

    proved = await proving.prove(good.database, incremental=True, asked_by="test")

    assert proved.is_kept
    assert proved.report.mode == "incremental"
    found = {each.id: each.violations for each in proved.report.invariants if each.violations}
    assert found["K8"][0].items() >= {"walletId": "cid", "requestId": "behind"}.items()
