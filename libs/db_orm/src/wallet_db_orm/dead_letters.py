"""This module is where letters rest that could not be delivered while there is no broker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import transaction

# Any fixed number: who holds this advisory lock has the letters in hand.
_HAND_LOCK: Final = 7_302_118_003


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was given up on: `body` is byte-equal to what was delivered."""

    id: str
    queue: str
    routing_key: str
    body: bytes
    error: str
    error_class: str
    attempts: int
    replays: int = 0
    first_failed_at: datetime
    last_failed_at: datetime


async def keep(engine: AsyncEngine, letter: Letter) -> None:
    """
    Store a letter; its id is that of its event.

    One that is there already, because whoever laid it down died before its event was off the
    outbox, tells of its latest death.
    """
    async with engine.begin() as connection:
        await connection.execute(_KEEP, msgspec.structs.asdict(letter))


async def letters(engine: AsyncEngine, *, after: str | None, limit: int) -> Sequence[Letter]:
    """Return a page of letters, oldest first: those behind the id `after`, or the first."""
    place = {"after": after or _BEFORE_ALL, "limit": limit}
    async with engine.connect() as connection:
        return [_letter(row) for row in await connection.execute(_LETTERS, place)]


async def count(engine: AsyncEngine) -> int:
    """Return how many letters there are."""
    async with engine.connect() as connection:
        return int((await connection.execute(_COUNT)).scalar_one())


async def put_back(engine: AsyncEngine, letter_id: str, wallet_id: str, event_id: str) -> bool:
    """Queue the letter's event again and drop the letter; False if it is no event of ours."""
    async with engine.begin() as connection:
        queued = await connection.execute(
            _PUT_BACK, {"id": letter_id, "wallet_id": wallet_id, "event_id": event_id}
        )
        return queued.rowcount == 1


@asynccontextmanager
async def in_hand(engine: AsyncEngine) -> AsyncIterator[bool]:
    """
    Yield whether the letters are ours alone; if they are, until the end of the block.

    The lock is a transaction's, so it ends with the block and with the holder's connection; one
    that holds on for longer than a transaction may idle has lost it.
    """
    async with transaction(engine) as driver:
        yield bool(await driver.fetchval(_TRY_HAND, _HAND_LOCK))


_KEEP: Final = text("""
INSERT INTO dead_letters (id, queue, routing_key, body, error, error_class, attempts, replays,
    first_failed_at, last_failed_at)
VALUES (:id, :queue, :routing_key, :body, :error, :error_class, :attempts, :replays,
    :first_failed_at, :last_failed_at)
ON CONFLICT (id) DO UPDATE SET error = excluded.error, error_class = excluded.error_class,
    attempts = excluded.attempts, replays = excluded.replays,
    last_failed_at = excluded.last_failed_at
""")

_BEFORE_ALL: Final = "00000000-0000-0000-0000-000000000000"
_LETTERS: Final = text("SELECT * FROM dead_letters WHERE id > :after ORDER BY id LIMIT :limit")
_COUNT: Final = text("SELECT count(*) FROM dead_letters")

_PUT_BACK: Final = text("""
WITH letter AS (
    DELETE FROM dead_letters
    WHERE id = :id
        AND EXISTS (SELECT FROM events WHERE wallet_id = :wallet_id AND id = :event_id)
    RETURNING replays
)
INSERT INTO outbox (wallet_id, event_id, replays)
SELECT :wallet_id, :event_id, replays + 1 FROM letter
""")

_TRY_HAND: Final = "SELECT pg_try_advisory_xact_lock($1::bigint)"


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=str(row.id),
        queue=row.queue,
        routing_key=row.routing_key,
        body=bytes(row.body),
        error=row.error,
        error_class=row.error_class,
        attempts=row.attempts,
        replays=row.replays,
        first_failed_at=row.first_failed_at,
        last_failed_at=row.last_failed_at,
    )
