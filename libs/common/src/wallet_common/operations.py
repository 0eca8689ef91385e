"""This module is where an idempotency key and its outcome become one remembered operation."""

from datetime import datetime

import msgspec

from wallet_common.commands import Ask
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.holds import Hold
from wallet_common.meanings import differing_fields, meaning
from wallet_common.wallet import Posted, Rejected, RejectionReason, WalletStatus


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True, tag="posted"):
    """
    What a posted operation tells its caller: the wallet as this operation left it.

    `fee_minor` is what it cost; less than nothing is what came back.
    """

    currency: str
    balance_minor: int
    version: int
    created: bool = False
    fee_minor: int = 0


class HoldReceipt(Receipt, frozen=True, omit_defaults=True, kw_only=True, tag="held"):
    """What an operation on a hold tells its caller besides: the hold as this operation left it."""

    hold: Hold
    held_minor: int


class ReversalReceipt(Receipt, frozen=True, omit_defaults=True, kw_only=True, tag="reversed"):
    """What a reversal tells besides: how much of which operation it has taken back."""

    reverses: str
    amount_minor: int


class StandingReceipt(Receipt, frozen=True, omit_defaults=True, kw_only=True, tag="stands"):
    """What a freeze, an unfreeze or a closing tells besides: how the wallet stood after it."""

    status: WalletStatus
    held_minor: int


Outcome = Receipt | HoldReceipt | ReversalReceipt | StandingReceipt | Rejected


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """
    The stored pair of idempotency key and outcome, unique by (wallet_id, request_id).

    Every answer to its caller, first or repeated, is rendered from this value; one that tells a
    whole wallet also from its metadata. `type` is deposit, withdraw, transfer and so on, or a
    transfer's step; `meaning` what was asked by wire name.
    """

    wallet_id: str
    request_id: str
    operation_id: str
    type: str
    meaning: dict[str, str]
    outcome: Outcome
    trace_id: str
    audit_id: str | None
    occurred_at: datetime

    @property
    def was_cancelled(self) -> bool:
        """Whether the key was taken so that nothing can happen under it."""
        outcome = self.outcome
        return isinstance(outcome, Rejected) and outcome.reason is RejectionReason.CANCELLED

    def check_same_intent(self, command: Ask) -> None:
        """Raise IdempotencyKeyReused, naming the fields, if `command` means something else."""
        differing = differing_fields(self.meaning, meaning(command))
        if differing:
            raise IdempotencyKeyReused(differing)


def receipt(posted: Posted) -> Receipt:
    """Return what is remembered of a posting."""
    wallet, hold, back = posted.wallet, posted.hold, posted.back
    if back is not None:
        return ReversalReceipt(
            wallet.currency,
            wallet.balance_minor,
            wallet.version,
            reverses=back.reverses,
            amount_minor=back.amount_minor,
        )
    if hold is not None:
        return HoldReceipt(
            wallet.currency,
            wallet.balance_minor,
            wallet.version,
            hold=hold,
            held_minor=wallet.held_minor,
        )
    if posted.entry is None:
        return StandingReceipt(
            wallet.currency,
            wallet.balance_minor,
            wallet.version,
            status=wallet.status,
            held_minor=wallet.held_minor,
        )
    fee_minor = -posted.fee.amount_minor if posted.fee else 0
    return Receipt(wallet.currency, wallet.balance_minor, wallet.version, posted.created, fee_minor)
