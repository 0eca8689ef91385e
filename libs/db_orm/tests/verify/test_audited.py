"""This module is where money that no request asked for is seen, and requests that are forgotten."""

from typing import TYPE_CHECKING, Any

from wallet_db_orm.verify import verify

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Builders, Ledger
    from libs.db_orm.tests.verify.conftest import Forged

OF_YEN = "(SELECT audit_id FROM operations WHERE wallet_id = 'yen')"
# What is forged of the operations or the audit, the invariant that tells it, and where.
FORGED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "an operation that nobody asked for": (
        "operations",
        "UPDATE operations SET audit_id = NULL WHERE wallet_id = 'yen'",
        *("A7", {"walletId": "yen", "is": "asked for by nobody"}),
    ),
    "an operation of a request that was refused": (
        "api_audit",
        "UPDATE api_audit SET status = 422 WHERE wallet_id = 'yen'",
        *("A7", {"walletId": "yen", "is": "another request's"}),
    ),
    "an operation of a request for another wallet": (
        "operations",
        f"UPDATE operations SET audit_id = {OF_YEN} WHERE wallet_id = 'full' AND type = 'deposit'",
        *("A7", {"walletId": "full", "is": "another request's"}),
    ),
    "an operation of a request with another key": (
        "api_audit",
        "UPDATE api_audit SET request_id = 'other' WHERE wallet_id = 'yen'",
        *("A7", {"walletId": "yen", "is": "another request's"}),
    ),
    "a refusal of a request that was told it is done": (
        "api_audit",
        (
            "UPDATE api_audit SET status = 201 WHERE status = 422 AND wallet_id = 'bob'"
            " AND NOT EXISTS (SELECT FROM transfers AS t WHERE t.audit_id = api_audit.id)"
        ),
        *("A7", {"walletId": "bob", "is": "another request's"}),
    ),
    "a transfer of a request that was told of an accident": (
        "api_audit",
        (
            "UPDATE api_audit SET status = 500 WHERE wallet_id = 'ann'"
            " AND EXISTS (SELECT FROM transfers AS t WHERE t.audit_id = api_audit.id)"
        ),
        *("A7", {"walletId": "ann", "is": "another request's"}),
    ),
    "a message that brought about what clients ask for": (
        "api_audit",
        "UPDATE api_audit SET method = 'AMQP', status = 200 WHERE wallet_id = 'yen'",
        *("A7", {"walletId": "yen", "is": "another request's"}),
    ),
    "a request that was told it is done, and was not": (
        "operations",
        "DELETE FROM operations WHERE wallet_id = 'yen'",
        *("A8", {"walletId": "yen"}),
    ),
}


async def test_operations_and_requests_answer_for_each_other(
    good: "Ledger", forged: "Forged"
) -> None:
    """An operation's audit row tells its wallet, key and end; what was told as done was done."""
    for name, (table, forgery, invariant, place) in FORGED.items():
        async with forged(table, forgery):
            report = await verify(good.database.primary)

        found = {each.id: each.violations for each in report.invariants}[invariant]
        assert any(each.items() >= place.items() for each in found), name
        assert {each["walletId"] for each in found} == {place["walletId"]}, name
    assert (await verify(good.database.primary)).ok


async def test_a_deposit_that_is_taken_out_whole_leaves_its_request_behind(
    good: "Ledger", a: "Builders", forged: "Forged"
) -> None:
    """Entry, event, operation and all: the audit row still says that the client was told of it."""
    await good.post(a.deposit("cid", "3.00", request_id="gone"), audited=True)
    async with forged("operations", "DELETE FROM operations WHERE request_id = 'gone'"):
        violations = await good.violations()

    (found,) = violations["A8"]
    assert found.items() >= {"walletId": "cid", "requestId": "gone"}.items()


async def test_who_was_told_to_ask_again_is_answered_for(good: "Ledger", forged: "Forged") -> None:
    """A 503 is told before the end is known: what came of it all the same has its audit row."""
    async with forged("api_audit", "UPDATE api_audit SET status = 503 WHERE wallet_id = 'ann'"):
        violations = await good.violations()

    assert not violations.keys() & {"A7", "A8"}
