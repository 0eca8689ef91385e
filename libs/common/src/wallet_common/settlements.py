"""
This module is where it is decided what follows from another service's transaction.

A settlement is what we keep of one: its plan, and how it ended here.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

import msgspec

from wallet_common.commands import DebitTransfer, Deposit, ReverseDeposit
from wallet_common.errors import Poison
from wallet_common.messages import Completion, Failure, TransactionType
from wallet_common.money import Amount, from_minor
from wallet_common.operations import Operation
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected, RejectionReason


class SettlementState(StrEnum):
    """How a transaction stands: money may be moving, it has moved for good, or it has not."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    FAILED = "failed"


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is kept of a transaction. Without a `type` there is no plan: its failure was told first.

    A wallet lacks where the user had none; then the transaction has failed.
    """

    transaction_id: str
    type: TransactionType | None = None
    user_id: str | None = None
    recipient_id: str | None = None
    wallet_id: str | None = None
    to_wallet_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    state: SettlementState = SettlementState.ACCEPTED
    reason: str | None = None

    def check_same(self, completion: Completion) -> None:
        """Raise Poison if the transaction was planned as something else."""
        if self.type is None:
            return
        names = ("type", "user_id", "recipient_id", "amount_minor", "currency")
        differing = [each for each in names if getattr(self, each) != getattr(completion, each)]
        if differing:
            raise Poison(f"the transaction is known with another {', '.join(differing)}")


class TransactionFinalized(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What we answer: how a transaction ended here, and why if it failed."""

    transaction_id: str
    user_id: str | None
    status: SettlementState
    success: bool
    reason: str | None
    finalized_at: datetime


def key(transaction_id: str) -> str:
    """Return the key of the transaction's effect; the space keeps it out of reach of clients."""
    return f"transaction {sha256(transaction_id.encode()).hexdigest()}"


def reversal_key(transaction_id: str) -> str:
    """Return the key under which the effect is taken back."""
    return f"reversal {sha256(transaction_id.encode()).hexdigest()}"


def plan(completion: Completion, wallet_id: str | None, to_wallet_id: str | None) -> Settlement:
    """Return what is to be kept before anything is done; without its wallets it has failed."""
    reason = None
    if wallet_id is None:
        reason = RejectionReason.WALLET_NOT_FOUND
    elif completion.type is TransactionType.TRANSFER and to_wallet_id is None:
        reason = RejectionReason.RECIPIENT_NOT_FOUND
    return Settlement(
        transaction_id=completion.transaction_id,
        type=completion.type,
        user_id=completion.user_id,
        recipient_id=completion.recipient_id,
        wallet_id=wallet_id,
        to_wallet_id=to_wallet_id,
        amount_minor=completion.amount_minor,
        currency=completion.currency,
        state=SettlementState.ACCEPTED if reason is None else SettlementState.FAILED,
        reason=reason,
    )


def tombstone(failure: Failure) -> Settlement:
    """Return what is to be kept of a failure that is told before its transaction."""
    return Settlement(
        transaction_id=failure.transaction_id,
        user_id=failure.user_id,
        state=SettlementState.FAILED,
        reason=failure.reason,
    )


def effect(planned: Settlement, operation_id: str) -> Deposit | DebitTransfer:
    """Return the command that carries out an accepted plan."""
    wallet_id, amount = _money(planned)
    request_id, reference = key(planned.transaction_id), planned.transaction_id
    if planned.type is TransactionType.TOPUP:
        return Deposit(
            wallet_id=wallet_id,
            request_id=request_id,
            operation_id=operation_id,
            amount=amount,
            reference=reference,
        )
    assert planned.to_wallet_id is not None, "a plan without it has failed"
    return DebitTransfer(
        wallet_id=wallet_id,
        request_id=request_id,
        operation_id=operation_id,
        amount=amount,
        reference=reference,
        to_wallet_id=planned.to_wallet_id,
    )


def reversal(
    planned: Settlement,
    done: Operation,
    transfer: Transfer | None,
    *,
    operation_id: str,
    reason: str,
) -> ReverseDeposit | DebitTransfer | None:
    """
    Return what takes back what was `done` under the transaction's key; None if that was nothing.

    `transfer` is the transfer that was started, at its end.
    """
    if isinstance(done.outcome, Rejected):
        return None
    wallet_id, amount = _money(planned)
    request_id, reference = reversal_key(planned.transaction_id), planned.transaction_id
    if transfer is None:
        return ReverseDeposit(
            wallet_id=wallet_id,
            request_id=request_id,
            operation_id=operation_id,
            amount=amount,
            reference=reference,
            reverses=done.operation_id,
            reason=reason,
        )
    if transfer.state is not TransferState.COMPLETED:
        return None
    return DebitTransfer(
        wallet_id=transfer.to_wallet_id,
        request_id=request_id,
        operation_id=operation_id,
        amount=amount,
        reference=reference,
        to_wallet_id=transfer.from_wallet_id,
        reverses=transfer.id,
    )


def ending(came: Operation | Transfer) -> tuple[SettlementState, str | None]:
    """Return how the effect of an accepted plan ended, and why if it failed."""
    if isinstance(came, Transfer):
        is_completed, reason = came.state is TransferState.COMPLETED, came.reason
    elif isinstance(came.outcome, Rejected):
        is_completed, reason = False, came.outcome.reason.value
    else:
        is_completed, reason = True, None
    return SettlementState.COMPLETED if is_completed else SettlementState.FAILED, reason


def finalized(
    ended: Settlement, user_id: str | None, finalized_at: datetime
) -> TransactionFinalized:
    """Return the answer that tells of a settlement; `user_id` is for one that never knew it."""
    return TransactionFinalized(
        transaction_id=ended.transaction_id,
        user_id=ended.user_id or user_id,
        status=ended.state,
        success=ended.state is SettlementState.COMPLETED,
        reason=ended.reason,
        finalized_at=finalized_at,
    )


def _money(planned: Settlement) -> tuple[str, Amount]:
    assert planned.wallet_id is not None, "a plan without it has failed"
    assert planned.amount_minor is not None, "a plan is whole"
    assert planned.currency is not None, "a plan is whole"
    return planned.wallet_id, from_minor(planned.amount_minor, planned.currency)
