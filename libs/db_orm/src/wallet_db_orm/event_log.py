"""
This module is where events that have left are read again, in the order of the feed.

A place in the feed is a number, 1, 2, 3 … without a gap; `published_at` grows with it, and no event
is published before it occurred. So the first place of a time is found by halving, without an index
on time.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.events import encode
from wallet_db_orm.feed import last_position
from wallet_db_orm.rows import envelope_of

# So many places are read at a time, however few of their events are wanted.
_STRIDE: Final = 1_000


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which events are wanted: at the places after `after` up to and with `upto`.

    Of those the ones with `since` <= occurredAt < `until`, of one wallet, of one type, if given.
    """

    after: int
    upto: int
    since: datetime | None = None
    until: datetime | None = None
    wallet_id: str | None = None
    type: str | None = None


class Told(msgspec.Struct, frozen=True):
    """An event that has left at `position`; `body` is byte-equal to what went out then."""

    position: int
    event_id: str
    type: str
    body: bytes


async def first_published(engine: AsyncEngine, since: datetime) -> int:
    """
    Return the first place of an event that left at `since` or later; behind the newest if none did.

    Every event that occurred since then is at that place or behind it.
    """
    low, high = 1, await last_position(engine) + 1
    async with engine.connect() as connection:
        while low < high:
            middle = (low + high) // 2
            found = await connection.execute(_IS_BEFORE, {"position": middle, "since": since})
            if found.scalar_one():
                low = middle + 1
            else:
                high = middle
    return low


async def read(engine: AsyncEngine, span: Span) -> AsyncIterator[tuple[int, Sequence[Told]]]:
    """
    Yield the wanted events by and by, each time with the place up to which all have been yielded.

    Bounded in memory and per statement; no transaction stays open meanwhile.
    """
    after = span.after
    while after < span.upto:
        upto = min(after + _STRIDE, span.upto)
        wanted = {**msgspec.structs.asdict(span), "after": after, "upto": upto}
        async with engine.connect() as connection:
            rows = await connection.execute(_READ, wanted)
            told = [
                Told(row.position, str(row.id), row.type, encode(envelope_of(row))) for row in rows
            ]
        yield upto, told
        after = upto


_IS_BEFORE: Final = text("SELECT published_at < :since FROM feed WHERE position = :position")

# LATERAL … OFFSET 0: one index probe per place, whatever the planner thinks of the size of
# `events`.
_READ: Final = text("""
SELECT f.position, e.id, e.type, e.occurred_at, e.wallet_id, e.wallet_version, e.transfer_id,
    e.audit_id, e.trace_id, e.payload
FROM (
    SELECT * FROM feed WHERE position > :after AND position <= :upto
        AND (CAST(:wallet_id AS text) IS NULL OR wallet_id = :wallet_id)
) AS f
CROSS JOIN LATERAL (
    SELECT * FROM events AS kept WHERE kept.wallet_id = f.wallet_id AND kept.id = f.event_id
    OFFSET 0
) AS e
WHERE (CAST(:since AS timestamptz) IS NULL OR e.occurred_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR e.occurred_at < :until)
    AND (CAST(:type AS text) IS NULL OR e.type = :type)
ORDER BY f.position
""")
