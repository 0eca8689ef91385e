"""
This module is where events are read again: all that left, by its place, and a wallet's as it comes.

Places are given by the relay, in one order and without a gap (see `outbox.RelaySession.remove`):
whoever has read up to a place has missed nothing before it, and nothing will appear there.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.events import Envelope
from wallet_db_orm.database import Driver, driver_of
from wallet_db_orm.doorbell import Listener
from wallet_db_orm.queries import ask
from wallet_db_orm.rows import envelope_of

# A page looks at so many places at most for the type it was asked for; the next one goes on there.
WALK_MAX: Final = 10_000
# Of one wallet, and of all together, in one look for what is new.
NEW_PER_WALLET_MAX: Final = 50
NEW_MAX: Final = 2_000
_PATIENCE_S: Final = 5.0


class Placed(msgspec.Struct, frozen=True):
    """An event and its place in the feed."""

    position: int
    event: Envelope


class Page(msgspec.Struct, frozen=True):
    """What was found, and how far was looked: the next page starts behind `position`."""

    items: Sequence[Placed]
    position: int


async def page(
    engine: AsyncEngine,
    *,
    after: int,
    wallet_id: str | None,
    event_type: str | None,
    limit: int,
) -> Page:
    """Return up to `limit` events behind the place `after`, in the feed's order."""
    wanted = {
        "after": after,
        "event_type": event_type,
        "walk": limit if event_type is None else WALK_MAX,
        "limit": limit,
    }
    if wallet_id is None:
        rows = (await ask(engine, FEED, wanted)).all()
    else:
        rows = (await ask(engine, WALLETS_FEED, wanted | {"wallet_id": wallet_id})).all()
    items = [Placed(row.position, envelope_of(row)) for row in rows if row.position is not None]
    # A full page ends where its last item is; any other has looked at the whole walk.
    looked_to = items[-1].position if len(items) == limit else rows[0].walked_to
    return Page(items, after if looked_to is None else looked_to)


async def last_position(engine: AsyncEngine) -> int:
    """Return the newest place in the feed, 0 before the first."""
    return int((await ask(engine, LAST, {})).scalar() or 0)


class Tail:
    """Reads what wallets have told last, as soon as it is committed; made by `listening`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._bell = Listener()

    async def new(self, read: Collection[tuple[str, int]]) -> Sequence[tuple[int, Envelope]]:
        """
        Return events behind (wallet id, version), each with the version that was asked for.

        A wallet's come in order and without a gap, at most `NEW_PER_WALLET_MAX` of them; after
        `NEW_MAX` in all, those who were named last may have got none yet.
        """
        self._bell.expect()
        if not read:
            return []
        wallet_ids, versions = zip(*read, strict=True)
        async with asyncio.timeout(_PATIENCE_S):
            rows = await self._driver.fetch(NEW_EVENTS, wallet_ids, versions)
        return [(row["read"], envelope_of(row)) for row in rows]

    async def rest(self, seconds: float) -> None:
        """Return when there may be more than the last look found, or after so many seconds."""
        await self._bell.wait(seconds)

    def wake(self) -> None:
        """End the rest: there is something else to look for."""
        self._bell.hear()

    async def listen(self) -> None:
        await self._bell.attach(self._driver)


@asynccontextmanager
async def listening(engine: AsyncEngine) -> AsyncIterator[Tail]:
    """Yield a tail on a connection of its own, which hears the doorbell and ends with the block."""
    async with engine.connect() as connection:
        tail = Tail(await driver_of(connection))
        try:
            await tail.listen()
            yield tail
        finally:
            await connection.invalidate()


_ENVELOPE: Final = (
    "id, type, occurred_at, wallet_id, wallet_version, transfer_id, audit_id, trace_id, payload"
)

# One walk along the index, twice in one snapshot: how far it goes, and what is found on it. Walking
# stops where the page is full. LATERAL … OFFSET 0: one index probe per place.
_PAGE: Final = f"""
SELECT walk.walked_to, found.*
FROM (SELECT max(position) AS walked_to FROM ({{walk}}) AS places) AS walk
LEFT JOIN LATERAL (
    SELECT places.position, told.*
    FROM ({{walk}}) AS places
    CROSS JOIN LATERAL (
        SELECT {_ENVELOPE} FROM events AS kept
        WHERE kept.wallet_id = places.wallet_id AND kept.id = places.event_id
        OFFSET 0
    ) AS told
    WHERE CAST(:event_type AS text) IS NULL OR told.type = :event_type
    ORDER BY places.position LIMIT :limit
) AS found ON true
ORDER BY found.position
"""  # noqa: S608  # constants

FEED: Final = text(
    _PAGE.format(
        walk="SELECT position, wallet_id, event_id FROM feed WHERE position > :after"
        " ORDER BY position LIMIT :walk"
    )
)

# By both columns of its index, lest a wallet with few events be looked for among all the others'.
WALLETS_FEED: Final = text(
    _PAGE.format(
        walk="SELECT position, wallet_id, event_id FROM feed"
        " WHERE wallet_id = :wallet_id AND (wallet_id, position) > (:wallet_id, :after)"
        " ORDER BY wallet_id, position LIMIT :walk"
    )
)

LAST: Final = text("SELECT position FROM feed ORDER BY position DESC LIMIT 1")

# Versions are given under the wallet's lock: what is behind a version that was seen comes later.
NEW_EVENTS: Final = f"""
SELECT asked.read, told.*
FROM unnest($1::text[], $2::bigint[]) AS asked (wallet_id, read)
CROSS JOIN LATERAL (
    SELECT {_ENVELOPE} FROM events AS kept
    WHERE kept.wallet_id = asked.wallet_id AND kept.wallet_version > asked.read
    ORDER BY kept.wallet_version LIMIT {NEW_PER_WALLET_MAX}
) AS told
LIMIT {NEW_MAX}
"""  # noqa: S608  # constants
