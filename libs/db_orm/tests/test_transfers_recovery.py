"""This module is where transfers whose driver died are found and ended, once."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from wallet_common.commands import CompleteTransfer, CreditTransfer
from wallet_common.operations import Receipt
from wallet_common.transfer import TransferState
from wallet_db_orm import transfers
from wallet_db_orm.ids import new_id
from wallet_db_orm.rows import StoredTransfer

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

ROOM = "92233720368547753.07"


@pytest.fixture(autouse=True)
async def funded(ledger: "Ledger", a: "Builders") -> None:
    """Start with 5.00 in either of two wallets."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("w2", "5.00"))


def the_credit(stored: StoredTransfer) -> CreditTransfer:
    """Return the second step, as a driver asks it before it dies."""
    transfer = stored.transfer
    return CreditTransfer(
        wallet_id=transfer.to_wallet_id,
        transfer_id=transfer.id,
        operation_id=new_id(),
        from_wallet_id=transfer.from_wallet_id,
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        request_id=transfer.request_id,
    )


async def recover(ledger: "Ledger") -> list[TransferState]:
    """Find what is unfinished and end it, as the worker does."""
    found = await transfers.unfinished(ledger.database.primary, older_than_s=0, limit=100)
    ended = await asyncio.gather(*(ledger.finished(stored) for stored in found))
    return [each.state for each in ended]


@pytest.mark.parametrize("is_credited", [False, True], ids=["debited", "credited"])
@pytest.mark.parametrize("is_full", [False, True], ids=["takes it", "is full"])
async def test_recovery_ends_a_transfer_from_every_stage(
    ledger: "Ledger",
    other: "Ledger",
    books: "Books",
    a: "Builders",
    is_full: bool,
    is_credited: bool,
) -> None:
    """Left after the debit or after the credit's answer, a transfer ends by itself, once."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"), audited=True)
    if is_full:
        await ledger.post(a.deposit("w2", ROOM))
    if is_credited:
        outcome = (await ledger.record(the_credit(stored))).operation.outcome
        assert isinstance(outcome, Receipt) is not is_full

    ended, again = await recover(other), await recover(other)

    assert ended == [TransferState.FAILED if is_full else TransferState.COMPLETED]
    assert again == []
    assert (await books.balances())["w1"] == (500 if is_full else 300)
    assert await books.in_transit() == 0
    assert await books.count("transfers WHERE state = 'debited'") == 0
    assert await books.count("api_audit") == 1


async def test_two_recoverers_and_the_driver_itself_end_a_transfer_once(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Whoever is in time, 30 transfers driven by three at once have one end each."""
    stored = [await ledger.debit(a.transfer("w1", "w2", "0.10")) for _ in range(15)]
    stored += [await ledger.debit(a.transfer("w2", "w1", "0.10")) for _ in range(15)]

    await asyncio.gather(
        recover(ledger), recover(other), *(ledger.finished(each) for each in stored)
    )

    assert await books.balances() == {"w1": 500, "w2": 500}
    assert await books.count("ledger_entries WHERE type = 'transfer_credit'") == 30
    assert await books.count("events WHERE type = 'TransferCompleted'") == 30
    assert await recover(ledger) == []


async def test_refunds_that_race_happen_once(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Two recoverers that refund the same transfers give each amount back once."""
    for _ in range(10):
        await ledger.debit(a.transfer("w1", "w2", "0.10"))
    await ledger.post(a.deposit("w2", ROOM))

    await asyncio.gather(recover(ledger), recover(other), recover(ledger))

    assert (await books.balances())["w1"] == 500
    assert await books.count("ledger_entries WHERE type = 'transfer_refund'") == 10
    assert await books.count("events WHERE type = 'TransferFailed'") == 10


async def test_a_driver_that_slept_through_the_refund_changes_nothing(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Though the recipient has room again, a refunded transfer stays refunded."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"))
    await ledger.post(a.deposit("w2", ROOM))
    assert await recover(other) == [TransferState.FAILED]
    await ledger.post(a.withdrawal("w2", ROOM))

    woken = await ledger.finished(stored)
    credited = await ledger.record(the_credit(stored))
    completed = await ledger.ask(
        CompleteTransfer(wallet_id="w1", transfer_id=stored.transfer.id, to_balance_minor=700)
    )

    assert woken.state is TransferState.FAILED
    assert completed == woken
    assert not isinstance(credited.operation.outcome, Receipt)
    assert await books.balances() == {"w1": 500, "w2": 500}


async def test_a_driver_that_slept_through_the_completion_changes_nothing(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Though the recipient is full by now, a completed transfer stays completed."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"))
    assert await recover(other) == [TransferState.COMPLETED]
    await ledger.post(a.withdrawal("w2", "2.00"))
    await ledger.post(a.deposit("w2", ROOM))

    woken = await ledger.finished(stored)

    assert (woken.state, woken.to_balance_minor) == (TransferState.COMPLETED, 700)
    assert (await books.balances())["w1"] == 300


async def test_recovery_leaves_alone_what_a_driver_may_still_be_at(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Only transfers older than asked are found, and none of them hides another for ever."""
    stored = [await ledger.debit(a.transfer("w1", "w2", "0.10")) for _ in range(3)]
    engine, found = ledger.database.primary, set()

    young = await transfers.unfinished(engine, older_than_s=3600, limit=100)
    for _ in range(100):
        some = await transfers.unfinished(engine, older_than_s=0, limit=1)
        found |= {each.transfer.id for each in some}

    assert young == []
    assert found == {each.transfer.id for each in stored}


async def test_a_recipient_held_by_a_stranger_delays_a_transfer_and_loses_nothing(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """While the recipient is locked the money rests in transit; then recovery brings it."""
    async with books.lock_on("w2"):
        driver = asyncio.create_task(ledger.transfer(a.transfer("w1", "w2", "2.00")))
        while await books.in_transit() == 0:
            await ledger.post(a.deposit("pace", "1.00"))
        driver.cancel()
        await asyncio.wait([driver])

    await ledger.lanes.close()
    await recover(ledger)

    assert await books.balances() | {"pace": 0} == {"w1": 300, "w2": 700, "pace": 0}
