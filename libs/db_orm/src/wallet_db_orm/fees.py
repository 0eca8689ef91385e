"""This module is where fee schedules are kept, each with the audit row of its request."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.schedules import Charged, FeeSchedule
from wallet_db_orm.database import statement, transaction
from wallet_db_orm.statements import RECORD_AUDIT, Record


class Priced(msgspec.Struct, frozen=True):
    """What operations of a kind cost in a currency."""

    operation: Charged
    currency: str
    schedule: FeeSchedule


async def set_fees(engine: AsyncEngine, priced: Priced, audit: Record) -> Priced:
    """
    Record a schedule, from its commit on the one in force, and return it with its id.

    The id is drawn by the database, whose clock all processes share: it tells which came last.
    """
    schedule = priced.schedule
    async with transaction(engine) as connection:
        schedule_id = await connection.fetchval(
            _ADD,
            *(priced.operation, priced.currency, schedule.flat_minor, schedule.percent),
            *(schedule.min_minor, schedule.max_minor, audit[0]),
        )
        await connection.execute(RECORD_AUDIT, [audit])
    return replace(priced, schedule=replace(schedule, id=str(schedule_id)))


async def in_force(engine: AsyncEngine) -> Sequence[Priced]:
    """Return what operations cost now, by operation and currency."""
    async with statement(engine) as connection:
        rows = await connection.fetch(_IN_FORCE)
    return [
        Priced(
            Charged(row.operation),
            row.currency,
            FeeSchedule(
                id=str(row.id),
                flat_minor=row.flat_minor,
                percent=row.percent,
                min_minor=row.min_minor,
                max_minor=row.max_minor,
            ),
        )
        for row in rows
    ]


_ADD: Final = """
INSERT INTO fee_schedules (operation, currency, id, flat_minor, percent, min_minor, max_minor,
    audit_id, recorded_at)
VALUES ($1, $2, uuidv7(), $3, $4, $5, $6, $7, clock_timestamp())
RETURNING id
"""

_IN_FORCE: Final = """
SELECT DISTINCT ON (operation, currency) * FROM fee_schedules
ORDER BY operation, currency, id DESC
"""
