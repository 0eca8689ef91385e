"""This module is where operations are taken back once, however often and from where it is asked."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.orders import freezing
from wallet_common.commands import (
    CaptureHold,
    DebitTransfer,
    Deposit,
    ReverseOperation,
    Reversible,
    Withdraw,
)
from wallet_common.events import DepositReversed, WithdrawalReversed
from wallet_common.money import parse_amount
from wallet_common.operations import ReversalReceipt
from wallet_common.wallet import Rejected, RejectionReason as Reason
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Recorded

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Original = Deposit | Withdraw | CaptureHold | DebitTransfer


def reversing(
    original: Original, amount: str | None = None, original_minor: int = 10_000
) -> ReverseOperation:
    """Return the command that takes back an operation, or a part of it."""
    kinds = {Deposit: Reversible.DEPOSIT, DebitTransfer: Reversible.TRANSFER}
    to = original.to_wallet_id if isinstance(original, DebitTransfer) else None
    return ReverseOperation(
        wallet_id=to or original.wallet_id,
        request_id=new_id(),
        operation_id=new_id(),
        kind=kinds.get(type(original), Reversible.WITHDRAWAL),
        reverses=original.operation_id,
        original_minor=original_minor,
        amount=None if amount is None else parse_amount(amount),
        to_wallet_id=original.wallet_id if to else None,
    )


async def taken_minor(ledger: "Ledger", command: ReverseOperation) -> int:
    """Ask for a reversal, take its transfer to its end, and return how much it took back."""
    recorded: Recorded = await ledger.record(command)
    outcome = recorded.operation.outcome
    if isinstance(outcome, Rejected):
        assert outcome.reason in {Reason.ALREADY_REVERSED, Reason.REVERSAL_EXCEEDS_ORIGINAL}
        return 0
    assert isinstance(outcome, ReversalReceipt)
    if command.to_wallet_id is not None:
        await ledger.finished(await ledger.stored(command))
    return outcome.amount_minor


@pytest.mark.parametrize("kind", ["deposit", "withdrawal", "transfer"])
async def test_a_hundred_reversals_at_once_move_the_money_once(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders", kind: str
) -> None:
    """Through two processes, each under a key of its own: one takes all, the others nothing."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "500.00"))
    before = await books.balances()
    original: Original
    if kind == "deposit":
        original = a.deposit("w1", "100.00")
        await ledger.post(original)
    elif kind == "withdrawal":
        original = a.withdrawal("w1", "100.00")
        await ledger.post(original)
    else:
        original = a.transfer("w1", "w2", "100.00")
        await ledger.transfer(original)

    taken = await asyncio.gather(
        *(taken_minor((ledger, other)[n % 2], reversing(original)) for n in range(100))
    )

    assert sorted(taken)[-2:] == [0, 10_000]
    assert await books.balances() == before
    assert await books.in_transit() == 0


async def test_parts_at_once_never_make_more_than_the_whole(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """50 reversals of 3.00 of a transfer of 100.00: 33 go back, and the rest by one of the last."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.ask(a.opening("w2"))
    original = a.transfer("w1", "w2", "100.00")
    await ledger.transfer(original)

    taken = await asyncio.gather(
        *(taken_minor((ledger, other)[n % 2], reversing(original, "3.00")) for n in range(50))
    )
    rest = await taken_minor(ledger, reversing(original))
    nothing = await taken_minor(ledger, reversing(original))

    assert (sum(taken), rest, nothing) == (9_900, 100, 0)
    assert await books.balances() == {"w1": 10_000, "w2": 0}


async def test_a_recipient_that_lacks_it_gives_nothing_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What was spent meanwhile cannot be taken; a part that is there can."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.ask(a.opening("w2"))
    original = a.transfer("w1", "w2", "100.00")
    await ledger.transfer(original)
    await ledger.post(a.withdrawal("w2", "60.00"))

    poor = await ledger.record(reversing(original))
    part = await taken_minor(ledger, reversing(original, "40.00"))

    assert poor.operation.outcome == Rejected(
        Reason.INSUFFICIENT_FUNDS, "USD", required_minor=10_000, available_minor=4_000
    )
    assert part == 4_000
    assert await books.balances() == {"w1": 4_000, "w2": 0}


async def test_a_frozen_wallet_gives_back_and_gets_back(ledger: "Ledger", a: "Builders") -> None:
    """A reversal puts right what should not have been, whatever the standing; the event says so."""
    deposit, withdrawal = a.deposit("w1", "100.00"), a.withdrawal("w1", "40.00")
    await ledger.post(deposit)
    await ledger.post(withdrawal)
    await ledger.ask(freezing("w1"))

    given = await taken_minor(ledger, reversing(withdrawal, original_minor=4_000))
    taken = await taken_minor(ledger, reversing(deposit))

    assert (given, taken) == (4_000, 10_000)
    told = [each for each in await ledger.told() if hasattr(each.payload, "reversed_operation_id")]
    assert [type(each) for each in told] == [WithdrawalReversed, DepositReversed]
    assert [each.payload.reversed_operation_id for each in told] == [  # type: ignore[union-attr]
        withdrawal.operation_id,
        deposit.operation_id,
    ]


async def test_a_capture_comes_back_unbound(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What a hold paid is the wallet's again; the hold stays captured."""
    await ledger.post(a.deposit("w1", "100.00"))
    hold = a.hold("w1", "50.00")
    await ledger.post(hold)
    capture = a.capture(hold)
    await ledger.post(capture)

    assert await taken_minor(ledger, reversing(capture, original_minor=5_000)) == 5_000

    assert await books.balances() == {"w1": 10_000}
    (row,) = await books.rows("SELECT w.held_minor, h.status FROM wallets AS w, holds AS h")
    assert row == {"held_minor": 0, "status": "captured"}


async def test_a_reversal_that_is_asked_again_is_not_another_one(
    ledger: "Ledger", other: "Ledger", a: "Builders"
) -> None:
    """One key is one reversal, also of a part, whoever asks again."""
    original = a.deposit("w1", "100.00")
    await ledger.post(original)
    command = reversing(original, "10.00")

    recorded = await asyncio.gather(*((ledger, other)[n % 2].record(command) for n in range(16)))

    assert {each.operation.operation_id for each in recorded} == {command.operation_id}
    left = await taken_minor(ledger, reversing(original))
    assert left == 9_000
