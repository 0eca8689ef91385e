"""This module is where it is named what can become true of a wallet."""

from enum import StrEnum

import msgspec

from wallet_common.payloads import (
    FeeTold,
    HoldStep,
    LimitsTold,
    Movement,
    Opening,
    Reversal,
    Standing,
    Step,
)


class EventType(StrEnum):
    """The routing key and the `type` of each event."""

    WALLET_CREATED = "WalletCreated"
    FUNDS_DEPOSITED = "FundsDeposited"
    FUNDS_WITHDRAWN = "FundsWithdrawn"
    DEPOSIT_REVERSED = "DepositReversed"
    WITHDRAWAL_REVERSED = "WithdrawalReversed"
    TRANSFER_INITIATED = "TransferInitiated"
    TRANSFER_DEBITED = "TransferDebited"
    TRANSFER_CREDITED = "TransferCredited"
    TRANSFER_COMPLETED = "TransferCompleted"
    TRANSFER_COMPENSATED = "TransferCompensated"
    TRANSFER_FAILED = "TransferFailed"
    WALLET_FLAGGED = "WalletFlagged"
    WALLET_FROZEN = "WalletFrozen"
    WALLET_UNFROZEN = "WalletUnfrozen"
    WALLET_CLOSED = "WalletClosed"
    LIMITS_CHANGED = "LimitsChanged"
    HOLD_PLACED = "HoldPlaced"
    HOLD_CAPTURED = "HoldCaptured"
    HOLD_RELEASED = "HoldReleased"
    HOLD_EXPIRED = "HoldExpired"
    FEE_CHARGED = "FeeCharged"
    FEE_REFUNDED = "FeeRefunded"


class Fact(msgspec.Struct, frozen=True):
    """What a decision made true of one wallet; the shell gives it an id, a version and a time."""

    type: EventType
    payload: Opening | Movement | Reversal | FeeTold | HoldStep | Step | Standing | LimitsTold
