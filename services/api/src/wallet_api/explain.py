"""This module is where it is told over HTTP why a wallet stands as it does, or stood."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from litestar import get
from litestar.di import NamedDependency

from wallet_api import cursors
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import query, refusals
from wallet_api.past_answers import entry_answer
from wallet_api.past_schemas import EventBehind, ExplainedEntry, Explanation, RequestBehind
from wallet_api.reads import (
    LIMIT_DEFAULT,
    Cursor,
    Instant,
    Limit,
    position,
    theirs,
)
from wallet_api.schemas import FlagAnswer, WalletPath
from wallet_api.strict import instant
from wallet_common.money import render
from wallet_db_orm import explanation, instants, queries


@get(
    "/v1/wallets/{wallet_id:str}/explain",
    responses=refusals(400, 404),
    tags=["past"],
    **query("at", "limit", "cursor"),
)
async def explain_wallet(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    at: Instant = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Explanation:
    """
    Say how the wallet stands, or stood `at` a time, and why: entry by entry, newest first.

    Behind each entry stands who asked for it and how that was answered, the trace, the event that
    told of it, and what the worker made of that.
    """
    asked = None if at is None else instant("at", at)
    engine, when = await instants.caught_up(
        books.database, wallet_id, asked, owner_id=exchange.owner_id
    )
    when = when or datetime.now(UTC)
    wallet = theirs(exchange, await instants.wallet_at(engine, wallet_id, when))
    scope = f"explain:{wallet_id}:{at}"
    below = position(scope, cursor)
    rows = await queries.entries(
        engine,
        wallet_id,
        below_version=min(wallet.version + 1, below or wallet.version + 1),
        since=None,
        until=None,
        entry_type=None,
        limit=limit + 1,
    )
    page = rows[:limit]
    found = await explanation.behind(engine, wallet_id, [row.wallet_version for row in page])
    following = cursors.encode(scope, str(page[-1].wallet_version)) if len(rows) > limit else None
    return Explanation(
        wallet_id=wallet.id,
        currency=wallet.currency,
        at=when,
        version=wallet.version,
        balance=render(wallet.balance_minor, wallet.currency),
        held=render(wallet.held_minor, wallet.currency),
        available=render(wallet.balance_minor - wallet.held_minor, wallet.currency),
        status=wallet.status,
        entries=[_explained(row, found[row.wallet_version]) for row in page],
        next_cursor=following,
    )


def _explained(row: Any, behind: Any) -> ExplainedEntry:  # noqa: ANN401  # of queries, explanation
    return ExplainedEntry(
        entry=entry_answer(row),
        request=None if row.audit_id is None else _request(str(row.audit_id), behind),
        trace_id=row.trace_id,
        event=EventBehind(
            id=str(behind.event_id),
            type=behind.event_type,
            applied_at=behind.processed_at,
            flags=msgspec.json.decode(behind.verdicts or "[]", type=list[FlagAnswer]),
        ),
    )


def _request(audit_id: str, behind: Any) -> RequestBehind:  # noqa: ANN401  # of explanation
    return RequestBehind(
        audit_id=audit_id,
        archive=behind.archive,
        method=behind.method,
        url=behind.url,
        status=behind.answered,
        principal=behind.principal,
        recorded_at=behind.recorded_at,
    )


HANDLERS: Final = (explain_wallet,)
