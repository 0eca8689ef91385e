"""This module is where a letter that an operator throws away is kept whole."""

from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import statement, transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.statements import insert_many
from wallet_db_orm.worker_models import discarded_letters


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """A letter as it was, `headers` as JSON text; and who threw it away, for which reason."""

    letter_id: str
    queue: str
    routing_key: str
    headers: str
    body: bytes
    error: str
    error_class: str
    attempts: int
    replays: int
    first_failed_at: str | None
    last_failed_at: str | None
    operator: str
    reason: str


async def keep(engine: AsyncEngine, letter: Discarded) -> None:
    """Keep the letter; it is committed when this returns."""
    async with statement(engine) as connection:
        await connection.execute(_KEEP, *_values(letter))


async def take(engine: AsyncEngine, letter: Discarded) -> bool:
    """Keep a letter of the table and take it out there, both or neither; False if it is gone."""
    async with transaction(engine) as connection:
        if await connection.fetchval(_TAKE, letter.letter_id) is None:
            return False
        await connection.execute(_KEEP, *_values(letter))
    return True


def _values(letter: Discarded) -> list[list[Any]]:
    return [[new_id()], *([getattr(letter, name)] for name in _COLUMNS[1:])]


_COLUMNS: Final = ("id", *Discarded.__struct_fields__)
_KEEP: Final = insert_many(discarded_letters, _COLUMNS)
_TAKE: Final = "DELETE FROM dead_letters WHERE id = $1::uuid RETURNING id"
