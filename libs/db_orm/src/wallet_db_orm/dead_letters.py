"""This module is where letters rest that could not be delivered while there is no broker."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.ids import new_id


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was given up on: `body` is byte-equal to what was delivered."""

    id: str
    queue: str
    routing_key: str
    body: bytes
    error: str
    error_class: str
    attempts: int
    replays: int
    first_failed_at: datetime
    last_failed_at: datetime


async def keep(
    engine: AsyncEngine,
    *,
    queue: str,
    routing_key: str,
    body: bytes,
    error: str,
    error_class: str,
    attempts: int,
) -> str:
    """Store a letter and return its id."""
    letter_id = new_id()
    async with engine.begin() as connection:
        await connection.execute(
            _KEEP,
            {
                "id": letter_id,
                "queue": queue,
                "routing_key": routing_key,
                "body": body,
                "error": error,
                "error_class": error_class,
                "attempts": attempts,
            },
        )
    return letter_id


async def letters(engine: AsyncEngine, *, limit: int = 1_000) -> Sequence[Letter]:
    """Return the letters, oldest first."""
    async with engine.connect() as connection:
        return [_letter(row) for row in await connection.execute(_LETTERS, {"limit": limit})]


async def put_back(engine: AsyncEngine, letter_id: str, wallet_id: str, event_id: str) -> bool:
    """Queue the letter's event again and drop the letter; False if it is no event of ours."""
    async with engine.begin() as connection:
        queued = await connection.execute(
            _PUT_BACK, {"id": letter_id, "wallet_id": wallet_id, "event_id": event_id}
        )
        return queued.rowcount == 1


async def drop(engine: AsyncEngine, letter_id: str) -> bool:
    """Throw a letter away; False if there is none."""
    async with engine.begin() as connection:
        return (await connection.execute(_DROP, {"id": letter_id})).rowcount == 1


_KEEP: Final = text("""
INSERT INTO dead_letters (id, queue, routing_key, body, error, error_class, attempts, replays,
    first_failed_at, last_failed_at)
VALUES (:id, :queue, :routing_key, :body, :error, :error_class, :attempts, 0,
    clock_timestamp(), clock_timestamp())
""")

_LETTERS: Final = text("SELECT * FROM dead_letters ORDER BY id LIMIT :limit")

_PUT_BACK: Final = text("""
WITH letter AS (
    DELETE FROM dead_letters
    WHERE id = :id
        AND EXISTS (SELECT FROM events WHERE wallet_id = :wallet_id AND id = :event_id)
    RETURNING id
)
INSERT INTO outbox (wallet_id, event_id) SELECT :wallet_id, :event_id FROM letter
""")

_DROP: Final = text("DELETE FROM dead_letters WHERE id = :id")


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
