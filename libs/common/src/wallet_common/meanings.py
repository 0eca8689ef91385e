"""This module is where it is told what a caller meant, so that two requests can be compared."""

from datetime import UTC
from typing import Final

from wallet_common.commands import (
    CancelKey,
    CaptureHold,
    CloseWallet,
    CreditTransfer,
    DebitTransfer,
    Deposit,
    FreezeWallet,
    Keyed,
    PlaceHold,
    RefundTransfer,
    ReleaseHold,
    ReverseDeposit,
    ReverseOperation,
    Reversible,
    UnfreezeWallet,
    Withdraw,
)

_REVERSALS: Final = {
    Reversible.DEPOSIT: "deposit_reversal",
    Reversible.WITHDRAWAL: "withdraw_reversal",
    Reversible.TRANSFER: "transfer_reversal",
}


def meaning(command: Keyed) -> dict[str, str]:
    """
    Return what the caller meant, by wire name: equal meanings are the same intent.

    The meaning of a step, and of a key that is spent, is told by the key alone.
    """
    said: dict[str, str | None] = {"type": operation_type(command)}
    match command:
        case Deposit() | Withdraw() | ReverseDeposit() | DebitTransfer() | PlaceHold():
            said["reference"], said["metadata"] = command.reference, command.metadata_meaning
        case CaptureHold() | ReleaseHold():
            said["holdId"] = command.hold_id
        case ReverseOperation():
            force = "true" if command.force else None
            said |= {"operationId": command.reverses, "reason": command.reason, "force": force}
        case FreezeWallet():
            return _given(said | {"direction": command.direction, "reason": command.reason})
        case UnfreezeWallet() | CloseWallet():
            return _given(said | {"reason": command.reason})
        case CancelKey() | CreditTransfer() | RefundTransfer():
            return {}
    if command.amount is not None:
        said["amount"] = command.amount.canonical()
    match command:
        case Deposit() | Withdraw():
            pass
        case DebitTransfer():
            said["toWalletId"], said["quoteId"] = command.to_wallet_id, command.quote_id
        case CaptureHold() | ReverseOperation():
            said["toWalletId"] = command.to_wallet_id
        case PlaceHold() if command.expires_at is not None:
            said["expiresAt"] = command.expires_at.astimezone(UTC).isoformat()
    return _given(said)


def _given(said: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in said.items() if value is not None}


def operation_type(command: Keyed) -> str:
    """Return the name under which the operation is recorded."""
    match command:
        case Deposit():
            return "deposit"
        case Withdraw():
            return "withdraw"
        case ReverseDeposit():
            return "deposit_reversal"
        case CancelKey():
            return "cancellation"
        case DebitTransfer():
            return "conversion" if command.is_conversion else "transfer"
        case PlaceHold():
            return "hold"
        case CaptureHold():
            return "hold_capture"
        case ReleaseHold():
            return "hold_release"
        case ReverseOperation():
            return _REVERSALS[command.kind]
        case FreezeWallet():
            return "freeze"
        case UnfreezeWallet():
            return "unfreeze"
        case CloseWallet():
            return "close"
        case CreditTransfer():
            return "transfer_credit"
        case RefundTransfer():
            return "transfer_refund"


def differing_fields(first: dict[str, str], second: dict[str, str]) -> tuple[str, ...]:
    """Return the wire names whose values differ, sorted; empty means the same intent."""
    names = first.keys() | second.keys()
    return tuple(sorted(name for name in names if first.get(name) != second.get(name)))
