"""This module is where a batch's own key is held to what was first asked for under it."""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.errors import IdempotencyKeyReused
from wallet_common.meanings import differing_fields
from wallet_db_orm.database import Driver, statement, transaction
from wallet_db_orm.statements import RECORD_AUDIT, Record

_MEANING: Final = msgspec.json.Decoder(dict[str, str])


class BatchKey(msgspec.Struct, frozen=True):
    """
    A caller's key, as the batch's id that follows from it, and what is meant by it.

    `audit_id` is that of the request.
    """

    principal: str
    batch_id: str
    meaning: Mapping[str, str]
    audit_id: str


async def announce(engine: AsyncEngine, key: BatchKey, row: Record) -> None:
    """
    Remember the key and the audit row of a batch whose commands are about to commit by themselves.

    Raises IdempotencyKeyReused, naming the fields, if the key means something else.
    """
    async with transaction(engine) as connection:
        await keep(connection, key)
        await connection.execute(RECORD_AUDIT, [row])


async def keep(connection: Driver, key: BatchKey) -> None:
    """
    Remember the key in the running transaction; raises IdempotencyKeyReused, naming the fields.

    Who comes at the same time is waited for.
    """
    meaning = msgspec.json.encode(key.meaning).decode()
    await connection.execute(_KEEP, key.principal, key.batch_id, meaning, key.audit_id)
    await _check(connection, key)


async def check(engine: AsyncEngine, key: BatchKey) -> None:
    """Raise IdempotencyKeyReused if the key means something else already; remember nothing."""
    async with statement(engine) as connection:
        await _check(connection, key)


async def _check(connection: Driver, key: BatchKey) -> None:
    kept = await connection.fetchval(_KEPT, key.principal, key.batch_id)
    if kept is None:
        return
    if differing := differing_fields(_MEANING.decode(kept), dict(key.meaning)):
        raise IdempotencyKeyReused(differing)


_KEEP: Final = """
INSERT INTO batches (principal, id, meaning, audit_id) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""
_KEPT: Final = "SELECT meaning FROM batches WHERE principal = $1 AND id = $2"
