"""
This module is where the audit's months are partitions: made ahead, and listed.

Whatever needs a lock that the API could notice asks for it for a moment, then again: a lock that
is waited for makes everybody wait who comes later.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from asyncpg import DeadlockDetectedError, LockNotAvailableError
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.errors import Busy
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.storage import AUDIT

# So many months beyond this one have their partition: how long nobody has to look after it.
MONTHS_AHEAD: Final = 3
KEEP_MONTHS: Final = 12
_TRIES: Final = 50
_PAUSE_S: Final = 0.2
# For the driver, whose own limit is that of a request; the server is told not to have any.
PATIENCE_S: Final = 24 * 3600

_T = TypeVar("_T")


class Partition(msgspec.Struct, frozen=True):
    """A partition: its ids from `from_id` up to below `to_id`; the rest has no bounds."""

    name: str
    from_id: UUID | None
    to_id: UUID | None
    rows_estimated: int
    bytes: int

    def is_archivable(self, now: datetime, keep_months: int = KEEP_MONTHS) -> bool:
        """Whether its last month ended so many months before the running one began."""
        last = first_id(month_after(now, -keep_months))
        return self.to_id is not None and self.to_id <= last


class Ensured(msgspec.Struct, frozen=True):
    """What was made, and the months that must be over first: too many of their rows to move."""

    created: Sequence[str]
    postponed: Sequence[str]


def month_after(instant: datetime, months: int) -> datetime:
    """Return the start of the month that is so many after that of `instant`."""
    years, month = divmod(instant.month - 1 + months, 12)
    return datetime(instant.year + years, month + 1, 1, tzinfo=UTC)


def first_id(instant: datetime) -> UUID:
    """Return the least UUIDv7 of that millisecond."""
    return UUID(int=int(instant.timestamp()) * 1000 << 80)


def instant_of(audit_id: UUID) -> datetime:
    """Return when an id was drawn, by the clock of who drew it."""
    return datetime.fromtimestamp((audit_id.int >> 80) / 1000, UTC)


async def partitions(engine: AsyncEngine) -> Sequence[Partition]:
    """Return the audit's partitions in the order of their ids, the rest at the end."""
    async with transaction(engine) as driver:
        return await partitions_of(driver)


async def ensure(engine: AsyncEngine, *, months_ahead: int = MONTHS_AHEAD) -> Ensured:
    """
    Make the partitions that lack, of this month and `months_ahead` more; safe to call by many.

    A past month that had none, because nobody called for long, gets it too. What the rest holds
    of a month is moved into its partition: of the running month at most MOVED_MAX rows, as its
    writers wait meanwhile; a past month has no writers. Locks the rest, not the other partitions.
    Raises Busy if that lock is not to be had.
    """
    created: list[str] = []
    postponed: list[str] = []
    async with transaction(engine) as driver:
        months = await _missing(driver, months_ahead)
    for month in months:

        async def create(month: datetime = month) -> str:
            async with transaction(engine) as driver:
                await driver.execute("SET LOCAL statement_timeout = 0")
                made: str = await driver.fetchval(_MAKE, month.date(), timeout=PATIENCE_S)
                return made

        made = await insist(create)
        if made != "there":
            (created if made == "made" else postponed).append(f"{AUDIT}_{month:%Y_%m}")
    return Ensured(created, postponed)


async def insist(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Try as long as a lock is not to be had at once, with pauses; Busy if it never is."""
    for _ in range(_TRIES):
        try:
            return await attempt()
        except (LockNotAvailableError, DeadlockDetectedError):
            await asyncio.sleep(_PAUSE_S)
    raise Busy("somebody keeps a lock on the audit; try again later")


async def partitions_of(driver: Driver) -> list[Partition]:
    """Return the same, inside a transaction of the caller's."""
    found = [_read(row) for row in await driver.fetch(_PARTITIONS)]
    return sorted(found, key=lambda each: (each.from_id is None, str(each.from_id)))


def _read(row: Any) -> Partition:  # noqa: ANN401  # the driver's row
    bounds = [UUID(bound) for bound in re.findall(r"'([0-9a-f-]{36})'", row["bounds"])]
    from_id, to_id = bounds or (None, None)
    return Partition(row["name"], from_id, to_id, row["rows"], row["bytes"])


async def _missing(driver: Driver, months_ahead: int) -> list[datetime]:
    """Return the months without a partition; past ones only if the rest has rows of them."""
    now: datetime = await driver.fetchval("SELECT now()")
    there = [(each.from_id, each.to_id) for each in await partitions_of(driver) if each.to_id]
    rows = await driver.fetch("SELECT from_id, to_id FROM archived_partitions")
    gone = [(row["from_id"], row["to_id"]) for row in rows]
    since = min((from_id for from_id, _ in there + gone if from_id), default=None)
    await driver.execute("SET LOCAL statement_timeout = 0")
    before = first_id(month_after(now, 0))
    past = await driver.fetch(_PAST_IN_REST, since, before, timeout=PATIENCE_S)
    months = {month_after(row["month"], 0) for row in past}
    months |= {month_after(now, ahead) for ahead in range(months_ahead + 1)}
    return sorted(
        month
        for month in months
        if not any(from_id <= first_id(month) < to_id for from_id, to_id in there + gone)
    )


# The tables' owner alone could: this function does it for whoever asks (`storage.py`).
_MAKE: Final = "SELECT make_audit_month($1)"

_PARTITIONS: Final = """
SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds,
    greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS rows,
    pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'api_audit'::regclass
"""

# The first 48 bits of an id are the milliseconds of its instant.
_PAST_IN_REST: Final = """
SELECT DISTINCT date_trunc('month', to_timestamp(
    ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000), 'UTC') AS month
FROM api_audit_rest WHERE id >= $1 AND id < $2
"""
