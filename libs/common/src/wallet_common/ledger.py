"""This module is where every balance rule lives: `decide` says what a command does to a wallet."""

from typing import assert_never

import msgspec

from wallet_common import commands as ask
from wallet_common.errors import InvalidAmount, InvariantViolated
from wallet_common.events import EventType, Fact, Movement, Opening, Step
from wallet_common.money import MAX_MINOR, render
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import (
    Entry,
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
    WalletStatus,
)


def decide(wallet: Wallet | None, command: ask.Command, around: Surroundings) -> Posted | Rejected:
    """
    Say what `command` does to `wallet`; None means that there is no such wallet.

    A rejection is returned, never raised: it is stored next to the idempotency key. Raises
    InvariantViolated for a transfer step that cannot follow, which is a bug of the caller.
    """
    assert wallet is None or wallet.id == command.wallet_id, "a decision is about one wallet"
    match command:
        case ask.OpenWallet():
            return _open(wallet, command, around.sibling)
        case ask.Deposit():
            return _deposit(wallet, command)
        case ask.Withdraw():
            return _withdraw(wallet, command)
        case ask.DebitTransfer():
            return _debit_transfer(wallet, command, around.recipient)
        case ask.CreditTransfer():
            return _credit_transfer(wallet, command)
        case ask.CompleteTransfer():
            return _complete_transfer(wallet, command, around.transfer)
        case ask.RefundTransfer():
            return _refund_transfer(wallet, command, around.transfer)
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


def _deposit(wallet: Wallet | None, command: ask.Deposit) -> Posted | Rejected:
    if wallet is None:
        if command.opens_in is None:
            return Rejected(RejectionReason.WALLET_NOT_FOUND)
        opened = _opened(command.wallet_id, command.opens_in, None)
        posted = _deposit(opened.wallet, command)
        if isinstance(posted, Rejected):
            return posted
        return msgspec.structs.replace(posted, facts=opened.facts + posted.facts, created=True)

    amount_minor = _in_minor(command, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if refused := _may_enter(wallet, amount_minor):
        return refused
    return _move(wallet, command, EntryType.DEPOSIT, EventType.FUNDS_DEPOSITED, amount_minor)


def _withdraw(wallet: Wallet | None, command: ask.Withdraw) -> Posted | Rejected:
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    amount_minor = _in_minor(command, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if refused := _may_leave(wallet, amount_minor):
        return refused
    return _move(wallet, command, EntryType.WITHDRAW, EventType.FUNDS_WITHDRAWN, -amount_minor)


def _debit_transfer(
    wallet: Wallet | None, command: ask.DebitTransfer, recipient: Wallet | None
) -> Posted | Rejected:
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    amount_minor = _in_minor(command, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if command.to_wallet_id == wallet.id:
        return Rejected(RejectionReason.SAME_WALLET)
    # A look without a lock: it refuses hopeless transfers, only the credit step decides.
    if recipient is None:
        return Rejected(RejectionReason.RECIPIENT_NOT_FOUND)
    refused = (
        _wrong_currency(recipient, wallet.currency)
        or _is_open(recipient)
        or _may_leave(wallet, amount_minor)
    )
    if refused:
        return refused

    after, entry = _post(wallet, EntryType.TRANSFER_DEBIT, -amount_minor, facts_before=1)
    transfer = Transfer(
        id=command.operation_id,
        from_wallet_id=wallet.id,
        to_wallet_id=command.to_wallet_id,
        amount_minor=amount_minor,
        currency=wallet.currency,
        request_id=command.request_id,
        state=TransferState.INITIATED,
        from_balance_minor=after.balance_minor,
        reference=command.reference,
        metadata=command.metadata,
    )
    debited = msgspec.structs.replace(transfer, state=transfer.moved(TransferState.DEBITED))
    facts = (
        Fact(EventType.TRANSFER_INITIATED, _step(transfer)),
        Fact(EventType.TRANSFER_DEBITED, _step(transfer, command.operation_id, after)),
    )
    return Posted(after, facts, entry, debited)


def _credit_transfer(wallet: Wallet | None, command: ask.CreditTransfer) -> Posted | Rejected:
    assert command.amount_minor > 0, "the debit checked the amount"
    if wallet is None:
        return Rejected(RejectionReason.RECIPIENT_NOT_FOUND)
    refused = _wrong_currency(wallet, command.currency) or _may_enter(wallet, command.amount_minor)
    if refused:
        return refused
    after, entry = _post(wallet, EntryType.TRANSFER_CREDIT, command.amount_minor)
    step = Step(
        amount=render(command.amount_minor, command.currency),
        currency=command.currency,
        from_wallet_id=command.from_wallet_id,
        to_wallet_id=wallet.id,
        request_id=command.request_id,
        operation_id=command.operation_id,
        new_balance=render(after.balance_minor, after.currency),
    )
    return Posted(after, (Fact(EventType.TRANSFER_CREDITED, step),), entry)


def _complete_transfer(
    wallet: Wallet | None, command: ask.CompleteTransfer, transfer: Transfer | None
) -> Posted:
    wallet, transfer = _both(wallet, transfer, command.transfer_id)
    completed = msgspec.structs.replace(
        transfer,
        state=transfer.moved(TransferState.COMPLETED),
        to_balance_minor=command.to_balance_minor,
    )
    after = msgspec.structs.replace(wallet, version=wallet.version + 1)
    fact = Fact(EventType.TRANSFER_COMPLETED, _step(transfer, transfer.id))
    return Posted(after, (fact,), transfer=completed)


def _refund_transfer(
    wallet: Wallet | None, command: ask.RefundTransfer, transfer: Transfer | None
) -> Posted | Rejected:
    wallet, transfer = _both(wallet, transfer, command.transfer_id)
    state = transfer.moved(TransferState.COMPENSATED, TransferState.FAILED)
    # A frozen or closed sender gets its own money back all the same. Only a wallet that was filled
    # to the brim meanwhile makes the money wait in @transit, where recovery asks again.
    if wallet.balance_minor + transfer.amount_minor > MAX_MINOR:
        return Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, wallet.currency)
    after, entry = _post(wallet, EntryType.TRANSFER_REFUND, transfer.amount_minor)
    failed = msgspec.structs.replace(
        transfer,
        state=state,
        from_balance_minor=after.balance_minor,
        reason=command.reason,
    )
    facts = (
        Fact(
            EventType.TRANSFER_COMPENSATED,
            _step(transfer, command.operation_id, after, command.reason),
        ),
        Fact(EventType.TRANSFER_FAILED, _step(transfer, reason=command.reason)),
    )
    after = msgspec.structs.replace(after, version=after.version + 1)
    return Posted(after, facts, entry, failed)


def _in_minor(command: ask.Ask, wallet: Wallet) -> int | Rejected:
    try:
        return command.amount.to_minor(wallet.currency)
    except InvalidAmount as wrong:
        return Rejected(RejectionReason.INVALID_AMOUNT, wallet.currency, detail=str(wrong))


def _wrong_currency(wallet: Wallet, currency: str) -> Rejected | None:
    if wallet.currency == currency:
        return None
    return Rejected(RejectionReason.CURRENCY_MISMATCH, wallet.currency)


def _is_open(wallet: Wallet) -> Rejected | None:
    match wallet.status:
        case WalletStatus.ACTIVE:
            return None
        case WalletStatus.FROZEN:
            return Rejected(RejectionReason.WALLET_FROZEN)
        case WalletStatus.CLOSED:
            return Rejected(RejectionReason.WALLET_CLOSED)


def _may_enter(wallet: Wallet, amount_minor: int) -> Rejected | None:
    if refused := _is_open(wallet):
        return refused
    if wallet.balance_minor + amount_minor > MAX_MINOR:
        return Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, wallet.currency)
    return None


def _may_leave(wallet: Wallet, amount_minor: int) -> Rejected | None:
    if refused := _is_open(wallet):
        return refused
    if amount_minor > wallet.available_minor:
        return Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            wallet.currency,
            required_minor=amount_minor,
            available_minor=wallet.available_minor,
        )
    return None


def _post(
    wallet: Wallet, entry_type: EntryType, amount_minor: int, facts_before: int = 0
) -> tuple[Wallet, Entry]:
    """Move money on one wallet. The entry's event comes after `facts_before` other facts."""
    balance_minor = wallet.balance_minor + amount_minor
    assert wallet.held_minor <= balance_minor <= MAX_MINOR, "checked before posting"
    version = wallet.version + facts_before + 1
    after = msgspec.structs.replace(wallet, balance_minor=balance_minor, version=version)
    return after, Entry(entry_type, amount_minor, balance_minor, version)


def _move(
    wallet: Wallet,
    command: ask.Deposit | ask.Withdraw,
    entry_type: EntryType,
    event_type: EventType,
    amount_minor: int,
) -> Posted:
    after, entry = _post(wallet, entry_type, amount_minor)
    movement = Movement(
        amount=render(abs(amount_minor), wallet.currency),
        currency=wallet.currency,
        new_balance=render(after.balance_minor, wallet.currency),
        request_id=command.request_id,
        operation_id=command.operation_id,
    )
    return Posted(after, (Fact(event_type, movement),), entry)


def _step(
    transfer: Transfer,
    operation_id: str | None = None,
    after: Wallet | None = None,
    reason: str | None = None,
) -> Step:
    return Step(
        amount=render(transfer.amount_minor, transfer.currency),
        currency=transfer.currency,
        from_wallet_id=transfer.from_wallet_id,
        to_wallet_id=transfer.to_wallet_id,
        request_id=transfer.request_id,
        operation_id=operation_id,
        new_balance=None if after is None else render(after.balance_minor, after.currency),
        reason=reason,
    )


def _both(
    wallet: Wallet | None, transfer: Transfer | None, transfer_id: str
) -> tuple[Wallet, Transfer]:
    if wallet is None or transfer is None or transfer.from_wallet_id != wallet.id:
        raise InvariantViolated(f"a step of transfer {transfer_id} found no sender or no transfer")
    assert transfer.id == transfer_id, "a step continues its own transfer"
    return wallet, transfer
