"""This module is where money that disagrees with other services' transactions is seen."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from wallet_common.commands import CancelKey
from wallet_common.messages import Completion, Failure, TransactionType
from wallet_common.settlements import SettlementState, effect, plan, reversal, tombstone
from wallet_db_orm import settlements
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

TOPUP = Completion(
    transaction_id="t1",
    type=TransactionType.TOPUP,
    user_id="ann",
    recipient_id=None,
    amount_minor=1_000,
    currency="USD",
)


def an_origin() -> AuditRecord:
    return AuditRecord(
        id=new_id(),
        method="AMQP",
        url="exchange/key",
        body=b"",
        headers={},
        client_ip=None,
        principal="exchange",
        wallet_id=None,
        request_id=None,
        trace_id="trace",
        received_at=datetime.now(UTC),
    )


@pytest.fixture
async def settled(breakable: "Ledger", a: "Builders") -> "Ledger":
    """Return books in which one top-up stands, one was taken back, one never came."""
    engine = breakable.database.fresh
    await breakable.ask(a.opening("w1", owner_id="ann"))
    for name in ("t1", "t2"):
        asked = replace(TOPUP, transaction_id=name)
        kept = await settlements.keep(engine, plan(asked, "w1", None))
        done = await breakable.record(effect(kept, new_id()))
        await settlements.complete(
            engine, name, SettlementState.COMPLETED, None, user_id="ann", origin=an_origin()
        )
        if name == "t2":
            back = reversal(kept, done.operation, None, operation_id=new_id(), reason="r")
            assert back is not None
            await breakable.record(back)
            await settlements.fail(engine, name, "r", user_id=None, origin=an_origin())
    await settlements.keep(engine, tombstone(Failure("t3")))
    await settlements.fail(engine, "t3", "r", user_id=None, origin=an_origin())
    return breakable


async def test_what_was_settled_is_sound(settled: "Ledger", books: "Books") -> None:
    """Done, undone, never done: each is told as it is."""
    assert await settled.violations() == {}
    rows = await books.rows("SELECT transaction_id, state FROM settlements ORDER BY 1")
    assert {row["transaction_id"]: row["state"] for row in rows} == {
        "t1": "completed",
        "t2": "failed",
        "t3": "failed",
    }
    assert await books.value("SELECT count(*) FROM outbox WHERE answer IS NOT NULL") == 4


FORGED: dict[str, tuple[str, str]] = {
    "a failure of what was done": (
        "settlements",
        "UPDATE settlements SET state = 'failed' WHERE transaction_id = 't1'",
    ),
    "another amount": (
        "settlements",
        "UPDATE settlements SET amount_minor = 1 WHERE transaction_id = 't1'",
    ),
    "another wallet": (
        "settlements",
        "UPDATE settlements SET wallet_id = 'w2' WHERE transaction_id = 't1'",
    ),
    "a forgotten transaction": (
        "settlements",
        "DELETE FROM settlements WHERE transaction_id = 't1'",
    ),
    "a completion of what never came": (
        "settlements",
        (
            "UPDATE settlements SET state = 'completed', type = 'topup', amount_minor = 1,"
            " currency = 'USD' WHERE transaction_id = 't3'"
        ),
    ),
    "a reversal that is not there": (
        "operations",
        "DELETE FROM operations WHERE type = 'deposit_reversal'",
    ),
    "an effect that is not there": (
        "operations",
        "DELETE FROM operations WHERE type = 'deposit'",
    ),
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_does_not_agree_is_seen(settled: "Ledger", books: "Books", name: str) -> None:
    """Whichever side was changed, the transaction stands out."""
    await books.tamper(*FORGED[name])

    assert "S9" in await settled.violations()


async def test_a_row_is_kept_once(ledger: "Ledger") -> None:
    """Whoever comes second is told what the first one meant."""
    engine = ledger.database.fresh
    first = await settlements.keep(engine, plan(TOPUP, None, None))

    second = await settlements.keep(engine, tombstone(Failure("t1", None, "chargeback")))

    assert first == second == await settlements.find(engine, "t1")
    assert (first.state, first.reason) == (SettlementState.FAILED, "wallet_not_found")
    assert await settlements.find(engine, "t2") is None


async def test_a_cancelled_key_lets_nothing_happen(
    ledger: "Ledger", a: "Builders", books: "Books"
) -> None:
    """Whatever is asked with it later, by whatever amount; a used key tells what happened."""
    await ledger.post(a.deposit("w1", "10.00", request_id="used"))

    free, used = [
        await ledger.record(CancelKey(wallet_id="w1", request_id=key, operation_id=new_id()))
        for key in ("free", "used")
    ]

    assert free.operation.was_cancelled
    assert used.operation.type == "deposit"
    for amount in ("1.00", "2.00"):
        refused = await ledger.record(a.deposit("w1", amount, request_id="free"))
        assert refused.operation == free.operation
    assert await books.balances() == {"w1": 1_000}
