"""
This module is where the rules of a transfer's steps live, each about the one wallet it touches.

A transfer that reverses another goes through frozen wallets: it puts right what should not have
been, as a refund does. It does not begin where one of them is closed.
"""

import msgspec

from wallet_common import commands as ask, conversion
from wallet_common.errors import InvariantViolated
from wallet_common.facts import EventType, Fact
from wallet_common.fees import charge, fee_of, give_back
from wallet_common.fx import Exchange
from wallet_common.money import render
from wallet_common.operations import Outcome
from wallet_common.payloads import Step
from wallet_common.postings import (
    closed,
    in_minor,
    may_come,
    may_leave,
    not_open,
    post,
    too_full,
    too_poor,
    wrong_currency,
)
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import (
    Direction,
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
)


def debit(
    wallet: Wallet | None,
    command: ask.DebitTransfer,
    around: Surroundings,
    *,
    is_assured: bool = False,
) -> Posted | Rejected:
    """
    Start a transfer: the sender pays, and the money is on its way.

    It is assured that what a hold has bound may leave, and what is forced: whatever the wallet has
    or may by now.
    """
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    if refused := conversion.misquoted(wallet, command, around.quote):
        return refused
    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if command.to_wallet_id == wallet.id:
        return Rejected(RejectionReason.SAME_WALLET)
    fee_minor = fee_of(around.fees, amount_minor)
    costs = (amount_minor, fee_minor)
    if refused := _unpayable(wallet, command, costs, around, is_assured=is_assured):
        return refused

    terms = around.quote.terms if around.quote else None
    paid = charge(wallet, command, around.fees, fee_minor)
    after, entry = post(
        paid.wallet,
        EntryType.TRANSFER_DEBIT,
        -amount_minor,
        facts_before=1,
        changes_currency=terms is not None,
    )
    transfer = _begun(after, command, costs, terms)
    debited = msgspec.structs.replace(transfer, state=transfer.moved(TransferState.DEBITED))
    facts = (
        Fact(EventType.TRANSFER_INITIATED, _step(transfer)),
        Fact(EventType.TRANSFER_DEBITED, _step(transfer, command.operation_id, after)),
    )
    return Posted(after, paid.facts + facts, entry, debited, fee=paid.entry)


def _begun(
    after: Wallet, command: ask.DebitTransfer, costs: tuple[int, int], terms: Exchange | None
) -> Transfer:
    amount_minor, fee_minor = costs
    return Transfer(
        id=command.operation_id,
        from_wallet_id=after.id,
        to_wallet_id=command.to_wallet_id,
        amount_minor=amount_minor,
        currency=after.currency,
        request_id=command.request_id,
        state=TransferState.INITIATED,
        from_balance_minor=after.balance_minor,
        reference=command.reference,
        metadata=command.metadata,
        reverses=command.reverses,
        exchange=terms,
        fee_minor=fee_minor,
    )


def _unpayable(
    wallet: Wallet,
    command: ask.DebitTransfer,
    costs: tuple[int, int],
    around: Surroundings,
    *,
    is_assured: bool,
) -> Rejected | None:
    """Say why the sender cannot pay amount and fee, or the recipient could not be paid."""
    amount_minor, fee_minor = costs
    # A look without a lock: it refuses hopeless transfers, only the credit step decides.
    recipient = around.recipient
    if recipient is None:
        return Rejected(RejectionReason.RECIPIENT_NOT_FOUND)
    if refused := conversion.unfit(wallet, recipient, command, amount_minor, around):
        return refused
    if ask.is_reversal(command):
        return closed(wallet, recipient) or (None if is_assured else too_poor(wallet, amount_minor))
    if is_assured:
        return _unreachable(recipient) or not_open(wallet, Direction.OUT)
    return _unreachable(recipient) or may_leave(wallet, amount_minor, around, fee_minor)


def _unreachable(recipient: Wallet) -> Rejected | None:
    refused = not_open(recipient, Direction.IN)
    if refused is None:
        return None
    detail = f"The recipient's wallet is {recipient.status.value}."
    return msgspec.structs.replace(refused, detail=detail)


def credit_of(transfer: Transfer, operation_id: str) -> ask.CreditTransfer:
    """Return the step that brings a debited transfer's money to its recipient."""
    amount_minor, currency = transfer.arrives
    return ask.CreditTransfer(
        wallet_id=transfer.to_wallet_id,
        transfer_id=transfer.id,
        operation_id=operation_id,
        from_wallet_id=transfer.from_wallet_id,
        amount_minor=amount_minor,
        currency=currency,
        request_id=transfer.request_id,
        reference=transfer.reference,
        metadata=transfer.metadata,
        reverses=transfer.reverses,
        exchange=transfer.exchange,
    )


def end_of(
    transfer: Transfer, credited: Outcome, operation_id: str
) -> ask.CompleteTransfer | ask.RefundTransfer:
    """Return the step that ends a transfer, as the recipient's answer to its credit has it."""
    if isinstance(credited, Rejected):
        return ask.RefundTransfer(
            wallet_id=transfer.from_wallet_id,
            transfer_id=transfer.id,
            operation_id=operation_id,
            reason=credited.reason.value,
            request_id=transfer.request_id,
            reference=transfer.reference,
            metadata=transfer.metadata,
        )
    return ask.CompleteTransfer(
        wallet_id=transfer.from_wallet_id,
        transfer_id=transfer.id,
        to_balance_minor=credited.balance_minor,
    )


def credit(wallet: Wallet | None, command: ask.CreditTransfer) -> Posted | Rejected:
    """Give the recipient the money."""
    assert command.amount_minor > 0, "the debit checked the amount"
    if wallet is None:
        return Rejected(RejectionReason.RECIPIENT_NOT_FOUND)
    refused = wrong_currency(wallet, command.currency) or (
        too_full(wallet, command.amount_minor)
        if ask.is_reversal(command)
        else may_come(wallet, command.amount_minor, is_step=True)
    )
    if refused:
        return refused
    after, entry = post(
        wallet,
        EntryType.TRANSFER_CREDIT,
        command.amount_minor,
        changes_currency=command.exchange is not None,
    )
    step = Step(
        amount=render(command.amount_minor, command.currency),
        currency=command.currency,
        from_wallet_id=command.from_wallet_id,
        to_wallet_id=wallet.id,
        request_id=command.request_id,
        operation_id=command.operation_id,
        new_balance=render(after.balance_minor, after.currency),
        exchange=conversion.told(command.exchange),
    )
    return Posted(after, (Fact(EventType.TRANSFER_CREDITED, step),), entry)


def complete(
    wallet: Wallet | None, command: ask.CompleteTransfer, transfer: Transfer | None
) -> Posted:
    """Note on the sender's side that the recipient has it."""
    wallet, transfer = _both(wallet, transfer, command.transfer_id)
    completed = msgspec.structs.replace(
        transfer,
        state=transfer.moved(TransferState.COMPLETED),
        to_balance_minor=command.to_balance_minor,
    )
    after = msgspec.structs.replace(wallet, version=wallet.version + 1)
    fact = Fact(EventType.TRANSFER_COMPLETED, _step(transfer, transfer.id))
    return Posted(after, (fact,), transfer=completed)


def refund(
    wallet: Wallet | None, command: ask.RefundTransfer, transfer: Transfer | None
) -> Posted | Rejected:
    """Give the sender back what the recipient could not take."""
    wallet, transfer = _both(wallet, transfer, command.transfer_id)
    state = transfer.moved(TransferState.COMPENSATED, TransferState.FAILED)
    # A frozen or closed sender gets its own money back all the same. Only a wallet that was filled
    # to the brim meanwhile makes the money wait in @transit, where recovery asks again.
    if refused := too_full(wallet, transfer.amount_minor + transfer.fee_minor):
        return refused
    back = give_back(wallet, command, transfer.fee_minor)
    after, entry = post(
        back.wallet,
        EntryType.TRANSFER_REFUND,
        transfer.amount_minor,
        changes_currency=transfer.exchange is not None,
    )
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
    return Posted(after, back.facts + facts, entry, failed, fee=back.entry)


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
        exchange=conversion.told(transfer.exchange),
    )


def _both(
    wallet: Wallet | None, transfer: Transfer | None, transfer_id: str
) -> tuple[Wallet, Transfer]:
    if wallet is None or transfer is None or transfer.from_wallet_id != wallet.id:
        raise InvariantViolated(f"a step of transfer {transfer_id} found no sender or no transfer")
    assert transfer.id == transfer_id, "a step continues its own transfer"
    return wallet, transfer
