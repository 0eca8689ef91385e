"""
This module is where the events' contract lives: the envelope, the types, reading and writing.

An event is written as an `Envelope` around an already encoded payload and read as one of the
tagged union `Event`, so that adding a type breaks the build until every consumer handles it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from wallet_common.currencies import is_currency
from wallet_common.errors import InvalidAmount, Poison
from wallet_common.facts import EventType
from wallet_common.money import MAX_MINOR, parse_told
from wallet_common.payloads import (
    FeeTold,
    HoldStep,
    LimitsTold,
    Movement,
    Opening,
    Payload,
    Reversal,
    Standing,
    Step,
    Verdict,
)

SCHEMA_VERSION: Final = 1


class Envelope(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An event as it goes over the wire: times are UTC, `payload` is encoded JSON."""

    id: str
    type: str
    schema_version: int = SCHEMA_VERSION
    occurred_at: datetime
    wallet_id: str
    wallet_version: int | None
    transfer_id: str | None
    audit_id: str | None
    trace_id: str | None
    payload: msgspec.Raw


# Text that the database can store and a log line can show. `$` alone would let a line break pass,
# and `\\Z` is no JSON Schema.
_EventId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}$(?!\n)")]
_WalletId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$(?!\n)")]
_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Version = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINOR)]


class _Read(msgspec.Struct, frozen=True, rename="camel", kw_only=True, tag_field="type"):
    """What a consumer needs of an envelope; fields it does not know are let through."""

    id: _EventId
    wallet_id: _WalletId
    occurred_at: _Time
    schema_version: int = SCHEMA_VERSION
    wallet_version: _Version | None = None
    transfer_id: _Text | None = None
    audit_id: _Text | None = None
    trace_id: _Text | None = None


class WalletCreated(_Read, frozen=True, kw_only=True, tag=EventType.WALLET_CREATED.value):
    """A wallet exists."""

    payload: Opening


class FundsDeposited(_Read, frozen=True, kw_only=True, tag=EventType.FUNDS_DEPOSITED.value):
    """Money came in from outside."""

    payload: Movement


class FundsWithdrawn(_Read, frozen=True, kw_only=True, tag=EventType.FUNDS_WITHDRAWN.value):
    """Money left to the outside."""

    payload: Movement


class DepositReversed(_Read, frozen=True, kw_only=True, tag=EventType.DEPOSIT_REVERSED.value):
    """A deposit was taken back to the outside: it should not have been."""

    payload: Reversal


class WithdrawalReversed(_Read, frozen=True, kw_only=True, tag=EventType.WITHDRAWAL_REVERSED.value):
    """What had left came back from the outside: it should not have gone."""

    payload: Reversal


class TransferInitiated(_Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_INITIATED.value):
    """The sender asked for a transfer that can be paid."""

    payload: Step


class TransferDebited(_Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_DEBITED.value):
    """The sender's money is on its way."""

    payload: Step


class TransferCredited(_Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_CREDITED.value):
    """The recipient has the money."""

    payload: Step


class TransferCompleted(_Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_COMPLETED.value):
    """The sender's side knows that the recipient has it."""

    payload: Step


class TransferCompensated(
    _Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_COMPENSATED.value
):
    """The sender has the money back."""

    payload: Step


class TransferFailed(_Read, frozen=True, kw_only=True, tag=EventType.TRANSFER_FAILED.value):
    """The transfer ended without effect."""

    payload: Step


class WalletFrozen(_Read, frozen=True, kw_only=True, tag=EventType.WALLET_FROZEN.value):
    """Money may not move on the wallet, the way that `direction` says."""

    payload: Standing


class WalletUnfrozen(_Read, frozen=True, kw_only=True, tag=EventType.WALLET_UNFROZEN.value):
    """Money may move on the wallet again."""

    payload: Standing


class WalletClosed(_Read, frozen=True, kw_only=True, tag=EventType.WALLET_CLOSED.value):
    """The wallet is empty and stays so."""

    payload: Standing


class LimitsChanged(_Read, frozen=True, kw_only=True, tag=EventType.LIMITS_CHANGED.value):
    """The wallet has these limits from now on, and no others."""

    payload: LimitsTold


class HoldPlaced(_Read, frozen=True, kw_only=True, tag=EventType.HOLD_PLACED.value):
    """Money of the wallet is bound: it stays in the balance and is not available."""

    payload: HoldStep


class HoldCaptured(_Read, frozen=True, kw_only=True, tag=EventType.HOLD_CAPTURED.value):
    """Bound money left to the outside, or pays for the transfer that `transfer_id` names."""

    payload: HoldStep


class HoldReleased(_Read, frozen=True, kw_only=True, tag=EventType.HOLD_RELEASED.value):
    """Bound money is available again."""

    payload: HoldStep


class HoldExpired(_Read, frozen=True, kw_only=True, tag=EventType.HOLD_EXPIRED.value):
    """The hold's time was over at `expires_at`: what it still bound is available again."""

    payload: HoldStep


class FeeCharged(_Read, frozen=True, kw_only=True, tag=EventType.FEE_CHARGED.value):
    """What the operation costs has left the wallet."""

    payload: FeeTold


class FeeRefunded(_Read, frozen=True, kw_only=True, tag=EventType.FEE_REFUNDED.value):
    """A fee came back, with the transfer that it was for."""

    payload: FeeTold


class WalletFlagged(_Read, frozen=True, kw_only=True, tag=EventType.WALLET_FLAGGED.value):
    """A fraud rule matched: the worker's verdict, no step of the wallet (no wallet version)."""

    payload: Verdict


Event = (
    WalletCreated
    | FundsDeposited
    | FundsWithdrawn
    | DepositReversed
    | WithdrawalReversed
    | TransferInitiated
    | TransferDebited
    | TransferCredited
    | TransferCompleted
    | TransferCompensated
    | TransferFailed
    | WalletFrozen
    | WalletUnfrozen
    | WalletClosed
    | LimitsChanged
    | HoldPlaced
    | HoldCaptured
    | HoldReleased
    | HoldExpired
    | FeeCharged
    | FeeRefunded
    | WalletFlagged
)

_FIRST_DAY: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST_DAY: Final = datetime(9999, 12, 30, tzinfo=UTC)
_DECODER: Final = msgspec.json.Decoder(Event)
_ENCODER: Final = msgspec.json.Encoder()


def encode(message: Envelope | Payload) -> bytes:
    """Write an envelope or a payload as JSON."""
    return _ENCODER.encode(message)


def decode(body: bytes) -> Event:
    """Read an event; raises Poison, saying why, for what no retry will make readable."""
    try:
        event: Event = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as unreadable:
        raise Poison(str(unreadable)) from unreadable
    if event.schema_version != SCHEMA_VERSION:
        message = f"schemaVersion {event.schema_version} is not known here"
        raise Poison(message)
    # Within a day of the calendar's ends an instant may have no UTC.
    if not _FIRST_DAY <= event.occurred_at <= _LAST_DAY:
        message = "occurredAt is out of range"
        raise Poison(message)
    _check_money(event.payload)
    return event


def amount_minor(payload: Movement | Step) -> int:
    """Return the payload's amount in minor units of its currency."""
    return parse_told(payload.amount).to_minor(payload.currency)


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each event type, by type: the shapes that docs/events publishes."""
    members = Event.__args__
    return {str(member.__struct_config__.tag): msgspec.json.schema(member) for member in members}


def _check_money(payload: Payload) -> None:
    if not is_currency(payload.currency):
        message = f"unknown currency {payload.currency!r}"
        raise Poison(message)
    if isinstance(payload, (Movement, Step)):
        try:
            amount_minor(payload)
        except InvalidAmount as wrong:
            message = f"payload.amount: {wrong}"
            raise Poison(message) from wrong
