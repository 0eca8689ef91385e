"""This module is where a request becomes a command's order, and is queued or only rehearsed."""

import asyncio
from functools import partial
from typing import Any

from wallet_api import personal, strict
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.problems import status_of
from wallet_api.schemas import MoneyBody
from wallet_common.commands import Ask, OpenWallet, SetLimits
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Audited, Order
from wallet_db_orm.whole import rehearsed


def asked(exchange: Exchange, books: Books, wallet_id: str, data: MoneyBody) -> dict[str, Any]:
    """Return what the command has; its key comes from body, header or here."""
    return money(books, wallet_id, key(exchange, data.request_id), data)


def key(exchange: Exchange, in_body: str | None) -> str:
    """Return the request's key, from body or header or made here, and note it for the audit."""
    exchange.request_id = strict.idempotency_key(exchange.headers, in_body) or new_id()
    return exchange.request_id


def submit(
    exchange: Exchange,
    books: Books,
    command: Ask | OpenWallet | SetLimits,
    dry_run: str | None,
    *,
    done: int = 201,
) -> asyncio.Future[Applied]:
    """Queue the command, or find out what would come of it; `done` is the status of success."""
    asked_for = _order(exchange, books, command, done)
    exchange.is_rehearsal = dry_run == "true"
    if exchange.is_rehearsal:
        return asyncio.ensure_future(rehearsed(books.database, asked_for))
    return books.lanes.submit(asked_for)


def _order(
    exchange: Exchange, books: Books, command: Ask | OpenWallet | SetLimits, done: int
) -> Order:
    """Return the order of a command, whose making has read the whole body."""
    record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
    audit = Audited(record, partial(status_of, done=done))
    return Order(command, exchange.trace_id, exchange.id, audit, exchange.owner_id)


def money(books: Books, wallet_id: str, request_id: str, data: MoneyBody) -> dict[str, Any]:
    """Return what every command about money has; raises a 400 for a bad amount or metadata."""
    metadata, meaning = strict.metadata(data.metadata)
    personal.keep_out(books.settings.pii_keys, meaning)
    return {
        "wallet_id": wallet_id,
        "request_id": request_id,
        "operation_id": new_id(),
        "amount": strict.amount(data.amount),
        "reference": data.reference,
        "metadata": metadata,
        "metadata_meaning": meaning,
        "pays_fees": True,
    }
