"""This module is where rows become the domain's values again."""

from collections.abc import Sequence
from typing import Any

import msgspec

from wallet_common.events import Envelope
from wallet_common.fx import Exchange, Quote
from wallet_common.holds import Hold, HoldStatus
from wallet_common.limits import NO_LIMITS, Limits
from wallet_common.operations import Operation, Outcome
from wallet_common.schedules import FeeSchedule
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Direction, Wallet, WalletStatus
from wallet_db_orm.audit import DeferredAudit

_STATUSES = {status.value: status for status in WalletStatus}
_OUTCOME = msgspec.json.Decoder(Outcome)
_MEANING = msgspec.json.Decoder(dict[str, str])
_LIMITS = msgspec.json.Decoder(Limits)
_AUDIT = msgspec.json.Decoder(DeferredAudit)


class _InForce(FeeSchedule, frozen=True, kw_only=True):
    operation: str
    currency: str


_FEES = msgspec.json.Decoder(list[_InForce])


class StoredTransfer(msgspec.Struct, frozen=True):
    """A transfer with its origin; `audit` is there until its end has written it."""

    transfer: Transfer
    trace_id: str
    audit_id: str | None
    audit: DeferredAudit | None


class StoredHold(msgspec.Struct, frozen=True):
    """A hold with its origin; `reference` and `metadata` are for the entries of its captures."""

    hold: Hold
    request_id: str
    trace_id: str
    reference: str | None = None
    metadata: str | None = None


def wallet_of(row: Sequence[Any]) -> Wallet:
    """Read a row of `statements.READ_WALLETS`, or of LOCK_WALLETS, which ends with the head."""
    wallet_id, currency, owner_id, balance_minor, held_minor, status, version, *stands = row[:10]
    frozen, floor_minor, limits = stands
    return Wallet(
        *(wallet_id, currency, owner_id, balance_minor, held_minor, _STATUSES[status], version),
        *(frozen and Direction(frozen), floor_minor, limits_of(limits)),
    )


def limits_of(text: str | None) -> Limits:
    """Read the column `limits` of `wallets`."""
    return _LIMITS.decode(text) if text else NO_LIMITS


def fees_of(text: str | None) -> dict[tuple[str, str], FeeSchedule]:
    """Read the column `fees` of `statements.LOOK_UP`: schedules by operation and currency."""
    if text is None:
        return {}
    return {(each.operation, each.currency): each for each in _FEES.decode(text)}


def operation_of(row: Any) -> Operation:  # noqa: ANN401  # the driver's or SQLAlchemy's
    """Read a row of `operations`."""
    return Operation(
        wallet_id=row.wallet_id,
        request_id=row.request_id,
        operation_id=str(row.operation_id),
        type=row.type,
        meaning=_MEANING.decode(row.meaning),
        outcome=_OUTCOME.decode(row.outcome),
        trace_id=row.trace_id,
        audit_id=row.audit_id and str(row.audit_id),
        occurred_at=row.occurred_at,
    )


def stored_transfer_of(row: Any) -> StoredTransfer:  # noqa: ANN401  # the driver's or SQLAlchemy's
    """Read a row of `transfers`."""
    transfer = Transfer(
        id=str(row.id),
        from_wallet_id=row.from_wallet_id,
        to_wallet_id=row.to_wallet_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        request_id=row.request_id,
        state=TransferState(row.state),
        from_balance_minor=row.from_balance_minor,
        to_balance_minor=row.to_balance_minor,
        reason=row.reason,
        reference=row.reference,
        metadata=row.metadata,
        reverses=row.reverses and str(row.reverses),
        exchange=None if row.quote_id is None else _exchange_of(row),
        fee_minor=row.fee_minor,
    )
    audit = _AUDIT.decode(row.audit) if row.audit else None
    return StoredTransfer(transfer, row.trace_id, row.audit_id and str(row.audit_id), audit)


def _exchange_of(row: Any) -> Exchange:  # noqa: ANN401  # of `transfers`
    return Exchange(
        quote_id=str(row.quote_id),
        rate=row.rate,
        from_currency=row.currency,
        from_minor=row.amount_minor,
        to_currency=row.to_currency,
        to_minor=row.to_amount_minor,
        residue=row.residue,
    )


def quote_of(row: Any) -> Quote:  # noqa: ANN401  # the driver's or SQLAlchemy's
    """Read a row of `fx_quotes`."""
    terms = Exchange(
        quote_id=str(row.id),
        rate=row.rate,
        from_currency=row.from_currency,
        from_minor=row.from_minor,
        to_currency=row.to_currency,
        to_minor=row.to_minor,
        residue=row.residue,
    )
    return Quote(
        terms=terms,
        expires_at=row.expires_at,
        owner_id=row.owner_id,
        transfer_id=row.transfer_id and str(row.transfer_id),
    )


def stored_hold_of(row: Any) -> StoredHold:  # noqa: ANN401  # the driver's or SQLAlchemy's
    """Read a row of `holds`."""
    hold = Hold(
        id=str(row.id),
        wallet_id=row.wallet_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        captured_minor=row.captured_minor,
        released_minor=row.released_minor,
        expired_minor=row.expired_minor,
        status=HoldStatus(row.status),
        expires_at=row.expires_at,
    )
    return StoredHold(hold, row.request_id, row.trace_id, row.reference, row.metadata)


def envelope_of(row: Any) -> Envelope:  # noqa: ANN401  # the driver's or SQLAlchemy's
    """Read a row of `events` as it goes over the wire."""
    return Envelope(
        id=str(row.id),
        type=row.type,
        occurred_at=row.occurred_at,
        wallet_id=row.wallet_id,
        wallet_version=row.wallet_version,
        transfer_id=row.transfer_id and str(row.transfer_id),
        audit_id=row.audit_id and str(row.audit_id),
        trace_id=row.trace_id,
        payload=msgspec.Raw(row.payload.encode()),
    )
