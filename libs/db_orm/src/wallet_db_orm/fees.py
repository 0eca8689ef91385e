"""This module is where fee schedules are kept, each with the audit row of its request."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.schedules import Charged, FeeSchedule
from wallet_db_orm.database import statement, transaction
from wallet_db_orm.statements import AUDIT_COLUMNS, RECORD_AUDIT, transpose


class Priced(msgspec.Struct, frozen=True):
    """What operations of a kind cost in a currency."""

    operation: Charged
    currency: str
    schedule: FeeSchedule


async def set_fees(engine: AsyncEngine, priced: Priced, audit: Sequence[object]) -> None:
    """Record a schedule: from its commit on it is the one in force."""
    schedule = priced.schedule
    async with transaction(engine) as connection:
        await connection.execute(
            _ADD,
            *(priced.operation, priced.currency, schedule.id, schedule.flat_minor),
            *(schedule.percent, schedule.min_minor, schedule.max_minor, audit[0]),
        )
        await connection.execute(RECORD_AUDIT, *transpose([audit], AUDIT_COLUMNS))


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
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp())
"""

_IN_FORCE: Final = """
SELECT DISTINCT ON (operation, currency) * FROM fee_schedules
ORDER BY operation, currency, id DESC
"""
