"""
This module is where the rules of reversals live: never more than was moved, and never twice.

A reversal goes through a frozen wallet, for it puts right what should not have been; but a closed
one is done with.
"""

from typing import assert_never

from msgspec.structs import replace

from wallet_common import commands as ask, transfer_steps
from wallet_common.facts import EventType, Fact
from wallet_common.money import MAX_MINOR, from_minor, render
from wallet_common.payloads import Reversal
from wallet_common.postings import closed, in_minor, post, too_full, too_poor
from wallet_common.wallet import (
    Back,
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
)


def reverse(
    wallet: Wallet | None, command: ask.ReverseOperation, around: Surroundings
) -> Posted | Rejected:
    """Take back what is left of an operation, or a part of that."""
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    amount_minor = _wanted(wallet, command, command.original_minor - around.reversed_minor)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if command.force:
        if wallet.balance_minor - amount_minor < -MAX_MINOR:
            return Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, wallet.currency)
        # It owes what it lacks: that is as far down as it may be, and no way to spend more.
        floor_minor = min(wallet.floor_minor, wallet.available_minor - amount_minor)
        wallet = replace(wallet, floor_minor=floor_minor)
    match command.kind:
        case ask.Reversible.DEPOSIT:
            done = take_back(wallet, command, amount_minor, is_forced=command.force)
        case ask.Reversible.WITHDRAWAL:
            done = _give_back(wallet, command, amount_minor)
        case ask.Reversible.TRANSFER:
            done = _send_back(wallet, command, amount_minor, around)
        case _:
            assert_never(command.kind)
    if isinstance(done, Rejected):
        return done
    return replace(done, back=Back(command.reverses, amount_minor))


def take_back(
    wallet: Wallet,
    command: ask.ReverseOperation | ask.ReverseDeposit,
    amount_minor: int,
    *,
    is_forced: bool = False,
) -> Posted | Rejected:
    """Let what a deposit brought leave the way it came."""
    if refused := closed(wallet) or (None if is_forced else too_poor(wallet, amount_minor)):
        return refused
    after, entry = post(wallet, EntryType.DEPOSIT_REVERSAL, -amount_minor)
    fact = Fact(EventType.DEPOSIT_REVERSED, _told(after, command, amount_minor))
    return Posted(after, (fact,), entry)


def _give_back(
    wallet: Wallet, command: ask.ReverseOperation, amount_minor: int
) -> Posted | Rejected:
    if refused := closed(wallet) or too_full(wallet, amount_minor):
        return refused
    after, entry = post(wallet, EntryType.WITHDRAW_REVERSAL, amount_minor)
    fact = Fact(EventType.WITHDRAWAL_REVERSED, _told(after, command, amount_minor))
    return Posted(after, (fact,), entry)


def _send_back(
    wallet: Wallet, command: ask.ReverseOperation, amount_minor: int, around: Surroundings
) -> Posted | Rejected:
    assert command.to_wallet_id is not None, "a transfer came from somewhere"
    debit = ask.DebitTransfer(
        wallet_id=wallet.id,
        request_id=command.request_id,
        operation_id=command.operation_id,
        amount=from_minor(amount_minor, wallet.currency),
        reference=command.reference,
        metadata=command.metadata,
        to_wallet_id=command.to_wallet_id,
        reverses=command.reverses,
    )
    return transfer_steps.debit(wallet, debit, around, is_assured=command.force)


def _wanted(wallet: Wallet, command: ask.ReverseOperation, left_minor: int) -> int | Rejected:
    assert left_minor >= 0, "never more than was moved"
    if left_minor == 0:
        return Rejected(RejectionReason.ALREADY_REVERSED)
    if command.amount is None:
        return left_minor
    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, int) and amount_minor > left_minor:
        return Rejected(
            RejectionReason.REVERSAL_EXCEEDS_ORIGINAL,
            wallet.currency,
            required_minor=amount_minor,
            remaining_minor=left_minor,
        )
    return amount_minor


def _told(
    after: Wallet, command: ask.ReverseOperation | ask.ReverseDeposit, amount_minor: int
) -> Reversal:
    return Reversal(
        amount=render(amount_minor, after.currency),
        currency=after.currency,
        new_balance=render(after.balance_minor, after.currency),
        request_id=command.request_id,
        operation_id=command.operation_id,
        reversed_operation_id=command.reverses,
        reason=command.reason,
    )
