"""This module is where the audit is read: newest first by who looks, in order by who exports it."""

from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask

# A page looks at so many rows at most for those it was asked for; the next one goes on there.
WALK_MAX: Final = 10_000
# A page has so much of a body at most; the export has all of it.
BODY_SHOWN_MAX: Final = 65_536
# What of an export is in memory at a time: rows, and bytes of bodies before the last one.
_STRIDE: Final = 200
_STRIDE_BYTES: Final = 8 * 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ENDLESS: Final = UUID(int=(1 << 128) - 1)


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A row of the audit; a body that is no text is in `body_base64`, and `body` is null."""

    id: UUID
    recorded_at: datetime
    method: str
    url: str
    status: int
    body: str | None
    body_base64: bytes | None
    headers: msgspec.Raw
    client_ip: str | None
    principal: str | None
    wallet_id: str | None
    request_id: str | None
    trace_id: str
    duration_us: int


class ListedRow(AuditRow, frozen=True, kw_only=True):
    """A row on a page; of a body whose `body_bytes` are more than 65 536 it has the beginning."""

    body_bytes: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a row has to have; None: anything. A time counts by when the request arrived."""

    wallet_id: str | None = None
    principal: str | None = None
    status: int | None = None
    method: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Page(msgspec.Struct, frozen=True):
    """What was found, newest first, and below which id to go on; None: there is no more."""

    items: Sequence[ListedRow]
    below: UUID | None


async def page(engine: AsyncEngine, wanted: Wanted, *, below: UUID | None, limit: int) -> Page:
    """Return up to `limit` rows below an id; it may be few, or none, although more come later."""
    end = _ENDLESS if wanted.until is None else _first(wanted.until)
    looked = {
        **msgspec.structs.asdict(wanted),
        "from_id": UUID(int=0) if wanted.since is None else _first(wanted.since),
        "below": end if below is None else min(below, end),
        "walk": WALK_MAX,
        "limit": limit,
        "shown": BODY_SHOWN_MAX,
    }
    del looked["since"], looked["until"]
    rows = (await ask(engine, PAGE, looked)).all()
    items = [
        ListedRow(**_told(row, is_cut=row.body_bytes > BODY_SHOWN_MAX), body_bytes=row.body_bytes)
        for row in rows
        if row.id is not None
    ]
    if len(items) == limit:
        return Page(items, items[-1].id)
    return Page(items, rows[0].walked_to if rows[0].walked == WALK_MAX else None)


async def every(engine: AsyncEngine, since: datetime, until: datetime) -> AsyncIterator[AuditRow]:
    """
    Yield the rows of the requests that arrived in that time, in the order of their ids.

    No snapshot is held meanwhile: a row that is written behind what was yielded is left out.
    """
    place, end = UUID(int=max(0, _first(since).int - 1)), _first(until)
    while True:
        asked = {"after": place, "end": end, "limit": _STRIDE, "size": _STRIDE_BYTES}
        rows = (await ask(engine, STRIDE, asked)).all()
        for row in rows:
            yield AuditRow(**_told(row))
        if not rows:
            return
        place = rows[-1].id


def _first(instant: datetime) -> UUID:
    """Return the least id of that millisecond; of a time before 1970 the least of all."""
    return UUID(int=max(0, (instant - _EPOCH) // timedelta(milliseconds=1)) << 80)


def _told(row: object, *, is_cut: bool = False) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in _COLUMNS}
    body = bytes(told.pop("body"))
    try:
        # A character that was cut in two is left out.
        shown, packed = getincrementaldecoder("utf-8")().decode(body, final=not is_cut), None
    except UnicodeDecodeError:
        shown, packed = None, body
    headers = msgspec.Raw(told.pop("headers").encode())
    return {**told, "body": shown, "body_base64": packed, "headers": headers}


_COLUMNS: Final = (
    *("id", "recorded_at", "method", "url", "body", "headers", "client_ip", "status"),
    *("principal", "wallet_id", "request_id", "trace_id", "duration_us"),
)
_LISTED: Final = ", ".join(f"a.{name}" for name in _COLUMNS)
_SHOWN: Final = _LISTED.replace(
    "a.body", "substr(a.body, 1, :shown) AS body, octet_length(a.body) AS body_bytes"
)

# The walk reads no bodies; those of the rows that are found are read by their ids.
PAGE: Final = text(f"""
WITH places AS MATERIALIZED (
    SELECT id, (CAST(:wallet_id AS text) IS NULL OR wallet_id = :wallet_id)
        AND (CAST(:principal AS text) IS NULL OR principal = :principal)
        AND (CAST(:status AS integer) IS NULL OR status = :status)
        AND (CAST(:method AS text) IS NULL OR method = :method)
        AND (CAST(:request_id AS text) IS NULL OR request_id = :request_id)
        AND (CAST(:trace_id AS text) IS NULL OR trace_id = :trace_id) AS is_wanted
    FROM api_audit WHERE id < :below AND id >= :from_id
    ORDER BY id DESC LIMIT :walk
)
SELECT walk.walked, walk.walked_to, {_SHOWN}
FROM (
    SELECT count(*) AS walked, (SELECT id FROM places ORDER BY id LIMIT 1) AS walked_to FROM places
) AS walk
LEFT JOIN (
    (SELECT id AS found FROM places WHERE is_wanted ORDER BY id DESC LIMIT :limit) AS places
    JOIN api_audit AS a ON a.id = places.found
) ON true
ORDER BY a.id DESC
""")  # noqa: S608  # constants

STRIDE: Final = text(f"""
SELECT {_LISTED} FROM (
    SELECT next.*, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before
    FROM (
        SELECT * FROM api_audit WHERE id > :after AND id < :end ORDER BY id LIMIT :limit
    ) AS next
) AS a WHERE before < :size ORDER BY id
""")  # noqa: S608  # constants
