"""This module is where a wallet's statement is told over HTTP, as JSON or for a spreadsheet."""

import asyncio
import csv
import io
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from unicodedata import normalize

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery

from wallet_api import paper
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.links import AlsoOnPaper
from wallet_api.openapi import query, refusals
from wallet_api.past_schemas import StatementAnswer, StatementLine
from wallet_api.problems import Problem, busy, invalid
from wallet_api.reads import SinceInstant, UntilInstant, theirs
from wallet_api.schemas import WalletPath
from wallet_api.strict import in_utc, instant
from wallet_common.money import render
from wallet_db_orm import instants

LINES_MAX: Final = 10_000
# So long a statement waits for others to be put on paper.
_PATIENCE_S: Final = 5.0
# What a spreadsheet would take for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@")
_COLUMNS: Final = (
    *("occurredAt", "type", "amount", "balance", "currency", "counterAccount", "reference"),
    *("requestId", "operationId", "transferId", "walletVersion"),
)


class Format(StrEnum):
    """How a statement is written down."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@get(
    "/v1/wallets/{wallet_id:str}/statement",
    responses={
        200: ResponseSpec(StatementAnswer, generate_examples=False, description="The statement"),
        **refusals(400, 404),
    },
    operation_class=AlsoOnPaper,
    tags=["past"],
    **query("from", "to", "format"),
)
async def read_statement(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    since: SinceInstant = None,
    until: UntilInstant = None,
    format: FromQuery[Format] = Format.JSON,  # noqa: A002  # the wire's name
) -> Response[Any]:
    """
    Return all that moved `from` a time on and before `to`, with the balances at both.

    Without `from` it begins with the wallet, without `to` it ends now. `format=csv` is the same for
    a spreadsheet, `format=pdf` for paper.
    """
    begin, end = _span(since, until)
    owner_id = exchange.owner_id
    engine, end = await instants.caught_up(books.database, wallet_id, end, owner_id=owner_id)
    rows = await instants.statement(engine, wallet_id, since=begin, until=end, limit=LINES_MAX + 1)
    first = theirs(exchange, rows[0] if rows else None)
    if begin is not None and begin > first.until:
        raise invalid("from", "must not be in the future")
    lines = [_line(row) for row in rows if row.wallet_version is not None]
    if len(lines) > LINES_MAX:
        detail = f"More than {LINES_MAX} lines: ask for a shorter time."
        raise Problem(400, "statement_too_long", detail)
    told = StatementAnswer(
        wallet_id=first.id,
        currency=first.currency,
        since=in_utc(first.since),
        until=in_utc(first.until),
        opening_balance=render(first.opening_minor, first.currency),
        closing_balance=render(first.closing_minor, first.currency),
        lines=lines,
    )
    if format is Format.JSON:
        return Response(told)
    if format is Format.PDF:
        return Response(
            await printed(books, told),
            media_type="application/pdf",
            headers={"Content-Disposition": 'attachment; filename="statement.pdf"'},
        )
    return Response(
        _sheet(told),
        media_type="text/csv; header=present",
        headers={"Content-Disposition": 'attachment; filename="statement.csv"'},
    )


async def printed(books: Books, told: StatementAnswer) -> bytes:
    """Put a statement on paper, beside all other requests; raises a 503 behind too many others."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await books.press.acquire()
    except TimeoutError:
        raise busy("Other statements are put on paper; send the same request again.") from None
    try:
        return await asyncio.to_thread(paper.pages, told)
    finally:
        books.press.release()


def _span(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Read both ends; raises a 400 if the second is before the first."""
    begin = None if since is None else instant("from", since)
    end = None if until is None else instant("to", until)
    if begin is not None and end is not None and end < begin:
        raise invalid("to", "must not be before from")
    return begin, end


def _line(row: Any) -> StatementLine:  # noqa: ANN401  # of instants.statement
    return StatementLine(
        wallet_version=row.wallet_version,
        occurred_at=row.occurred_at,
        type=row.type,
        amount=render(row.amount_minor, row.currency),
        balance_after=render(row.balance_after_minor, row.currency),
        counter_account=row.counter_account,
        operation_id=str(row.operation_id),
        transfer_id=row.transfer_id and str(row.transfer_id),
        request_id=row.request_id,
        reference=row.reference,
    )


def _sheet(told: StatementAnswer) -> str:
    """Return the statement as RFC 4180 has it: the balances at both ends are lines of their own."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(_COLUMNS)
    writer.writerows(_cells(told))
    return sheet.getvalue()


def _cells(told: StatementAnswer) -> Iterator[list[object]]:
    nothing = [""] * 6
    yield [_time(told.since), "opening_balance", "", told.opening_balance, told.currency, *nothing]
    for line in told.lines:
        yield [
            *(_time(line.occurred_at), line.type, line.amount, line.balance_after, told.currency),
            *(_plain(line.counter_account), _plain(line.reference), _plain(line.request_id)),
            *(line.operation_id, line.transfer_id or "", line.wallet_version),
        ]
    yield [_time(told.until), "closing_balance", "", told.closing_balance, told.currency, *nothing]


def _time(at: datetime) -> str:
    return in_utc(at).isoformat().replace("+00:00", "Z")


def _plain(text: str | None) -> str:
    """Return a caller's text so that no spreadsheet calculates it, however wide it is typed."""
    shown = "".join(filter(str.isprintable, normalize("NFKC", text or "")))
    return f"'{text}" if shown.lstrip().startswith(_FORMULA) else text or ""


HANDLERS: Final = (read_statement,)
