"""This module is where what a batch noted becomes rows, each as its statement's columns have it."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.json import encode

from wallet_common.commands import OpenWallet, PlaceHold, ReverseOperation
from wallet_common.fx import Exchange
from wallet_common.holds import Hold
from wallet_common.operations import Operation
from wallet_common.wallet import Back, Wallet
from wallet_db_orm.orders import Order
from wallet_db_orm.rows import StoredTransfer
from wallet_db_orm.statements import Record


def operation(kept: Operation) -> Record:
    """Return the values of `statements.OPERATION_COLUMNS`."""
    meaning, told = encode(kept.meaning), encode(kept.outcome)
    return (kept.wallet_id, kept.request_id, kept.operation_id, kept.type) + (
        meaning.decode(),
        told.decode(),
        kept.trace_id,
        kept.audit_id,
    )


def transfer(stored: StoredTransfer, now: datetime) -> Record:
    """Return the values of `statements.STARTED_COLUMNS`."""
    begun = stored.transfer
    return (
        *(begun.from_wallet_id, begun.id, begun.to_wallet_id, begun.amount_minor),
        *(begun.currency, begun.state, begun.request_id, begun.from_balance_minor),
        *(begun.reference, begun.metadata, stored.trace_id, stored.audit_id),
        *(encode(stored.audit).decode() if stored.audit else None, begun.reverses, now),
        *(*_terms(begun.exchange), begun.fee_minor),
    )


def _terms(terms: Exchange | None) -> Record:
    if terms is None:
        return (None,) * 5
    return (terms.quote_id, terms.rate, terms.to_currency, terms.to_minor, terms.residue)


def hold(placed: Hold, command: PlaceHold, order: Order, now: datetime) -> Record:
    """Return the values of `rare.PLACED_COLUMNS`."""
    return (
        (placed.wallet_id, placed.id, placed.currency, placed.amount_minor, placed.captured_minor)
        + (placed.released_minor, placed.expired_minor, placed.status, placed.expires_at)
        + (command.request_id, command.reference, command.metadata, order.trace_id, now)
    )


def index(wallet: Wallet, command: OpenWallet) -> Sequence[Record]:
    """Return the values of `statements.INDEXED_COLUMNS`."""
    return [
        (wallet.id, wallet.owner_id, each.key, each.digest, each.master_id)
        for each in command.index
    ]


def reversal(command: ReverseOperation, back: Back, now: datetime) -> Record:
    """Return the values of `rare.REVERSED_COLUMNS`."""
    return (command.wallet_id, command.reverses, command.operation_id, back.amount_minor) + (
        command.original_minor,
        now,
    )
