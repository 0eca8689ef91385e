"""This module is where every balance rule lives: `decide` says what a command does to a wallet."""

from typing import assert_never

import msgspec

from wallet_common import (
    commands as ask,
    fees,
    hold_steps,
    reversal_steps,
    standing,
    transfer_steps,
)
from wallet_common.facts import EventType, Fact
from wallet_common.money import render
from wallet_common.payloads import Movement, Opening
from wallet_common.postings import in_minor, may_come, may_leave, post
from wallet_common.wallet import (
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
)


def decide(wallet: Wallet | None, command: ask.Command, around: Surroundings) -> Posted | Rejected:
    """
    Say what `command` does to `wallet`; None means that there is no such wallet.

    A rejection is returned, never raised: it is stored next to the idempotency key. Raises
    InvariantViolated for a transfer step that cannot follow, which is a bug of the caller.
    """
    assert wallet is None or wallet.id == command.wallet_id, "a decision is about one wallet"
    match command:
        case ask.Deposit():
            return _deposit(wallet, command, around)
        case ask.Withdraw():
            return _withdraw(wallet, command, around)
        case ask.OpenWallet():
            return _open(wallet, command, around.sibling)
        case ask.ReverseDeposit():
            return _reverse_deposit(wallet, command)
        case ask.CancelKey():
            return _cancel_key(wallet)
        case ask.DebitTransfer():
            return transfer_steps.debit(wallet, command, around)
        case ask.CreditTransfer():
            return transfer_steps.credit(wallet, command)
        case ask.CompleteTransfer():
            return transfer_steps.complete(wallet, command, around.transfer)
        case ask.RefundTransfer():
            return transfer_steps.refund(wallet, command, around.transfer)
        case ask.PlaceHold():
            return hold_steps.place(wallet, command, around)
        case ask.CaptureHold():
            return hold_steps.capture(wallet, command, around)
        case ask.ReleaseHold():
            return hold_steps.release(wallet, command, around.hold)
        case ask.FreezeWallet():
            return standing.freeze(wallet, command)
        case ask.UnfreezeWallet():
            return standing.unfreeze(wallet, command)
        case ask.CloseWallet():
            return standing.close(wallet, command, is_paying=around.is_paying)
        case ask.SetLimits():
            return standing.limit(wallet, command)
        case ask.ReverseOperation():
            return reversal_steps.reverse(wallet, command, around)
        case ask.ExpireHolds():
            return hold_steps.look_after(wallet)
        case _:
            assert_never(command)


def _open(
    wallet: Wallet | None, command: ask.OpenWallet, sibling: Wallet | None
) -> Posted | Rejected:
    asked = (command.owner_id, command.currency)
    if wallet is not None and (wallet.owner_id, wallet.currency) == asked:
        return Posted(wallet)
    if wallet is not None or sibling is not None:
        return Rejected(RejectionReason.WALLET_EXISTS)
    return _opened(command.wallet_id, command.currency, command.owner_id)


def _opened(wallet_id: str, currency: str, owner_id: str | None) -> Posted:
    wallet = Wallet(wallet_id, currency, owner_id, version=1)
    opening = Opening(currency, owner_id, render(0, currency))
    return Posted(wallet, (Fact(EventType.WALLET_CREATED, opening),), created=True)


def _deposit(
    wallet: Wallet | None, command: ask.Deposit, around: Surroundings
) -> Posted | Rejected:
    if wallet is None:
        if command.opens_in is None:
            return Rejected(RejectionReason.WALLET_NOT_FOUND)
        opened = _opened(command.wallet_id, command.opens_in, None)
        posted = _deposit(opened.wallet, command, around)
        if isinstance(posted, Rejected):
            return posted
        return msgspec.structs.replace(posted, facts=opened.facts + posted.facts, created=True)

    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if refused := may_come(wallet, amount_minor):
        return refused
    moved = _move(wallet, command, EntryType.DEPOSIT, EventType.FUNDS_DEPOSITED, amount_minor)
    # Never more than what came in.
    fee_minor = min(fees.fee_of(around.fees, amount_minor), amount_minor)
    if fee_minor == 0:
        return moved
    paid = fees.charge(moved.wallet, command, around.fees, fee_minor)
    return msgspec.structs.replace(
        moved, wallet=paid.wallet, facts=moved.facts + paid.facts, fee=paid.entry
    )


def _withdraw(
    wallet: Wallet | None, command: ask.Withdraw, around: Surroundings
) -> Posted | Rejected:
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    fee_minor = fees.fee_of(around.fees, amount_minor)
    if refused := may_leave(wallet, amount_minor, around, fee_minor):
        return refused
    paid = fees.charge(wallet, command, around.fees, fee_minor)
    moved = _move(
        paid.wallet, command, EntryType.WITHDRAW, EventType.FUNDS_WITHDRAWN, -amount_minor
    )
    return msgspec.structs.replace(moved, facts=paid.facts + moved.facts, fee=paid.entry)


def _reverse_deposit(wallet: Wallet | None, command: ask.ReverseDeposit) -> Posted | Rejected:
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    # A frozen wallet is just where money lies that has to go back.
    return reversal_steps.take_back(wallet, command, amount_minor)


def _cancel_key(wallet: Wallet | None) -> Rejected:
    # Decided only where the key is free: what was remembered under it is the answer otherwise.
    reason = RejectionReason.WALLET_NOT_FOUND if wallet is None else RejectionReason.CANCELLED
    return Rejected(reason)


def _move(
    wallet: Wallet,
    command: ask.Deposit | ask.Withdraw,
    entry_type: EntryType,
    event_type: EventType,
    amount_minor: int,
) -> Posted:
    after, entry = post(wallet, entry_type, amount_minor)
    movement = Movement(
        amount=render(abs(amount_minor), wallet.currency),
        currency=wallet.currency,
        new_balance=render(after.balance_minor, wallet.currency),
        request_id=command.request_id,
        operation_id=command.operation_id,
    )
    return Posted(after, (Fact(event_type, movement),), entry)
