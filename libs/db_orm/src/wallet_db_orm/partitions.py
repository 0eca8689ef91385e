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
from wallet_db_orm.storage import AUDIT, AUDIT_REST, audit_partition

# So many months beyond this one have their partition: how long nobody has to look after it.
MONTHS_AHEAD: Final = 3
KEEP_MONTHS: Final = 12
# A running month's rows are moved out of the rest while its writers wait: some tenths of a second.
MOVED_MAX: Final = 50_000
# Rows of the rest that may be read while its writers wait: 300 000 took 0.09 s.
READ_MAX: Final = 2_000_000
LOCK_TIMEOUT_MS: Final = 200
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

        async def create(month: datetime = month) -> bool | None:
            async with transaction(engine) as driver:
                return await _create(driver, month)

        made = await insist(create)
        if made is not None:
            (created if made else postponed).append(_name(month))
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


async def _create(driver: Driver, month: datetime) -> bool | None:
    """Make one month's partition; None if it is there by now, False if the month has to wait."""
    name, from_id, to_id = _name(month), first_id(month), first_id(month_after(month, 1))
    await driver.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    # Others who want to attach wait here; writers do not.
    await driver.execute(f"LOCK TABLE ONLY {AUDIT} IN SHARE UPDATE EXCLUSIVE MODE")
    if await driver.fetchval("SELECT to_regclass($1)", name):
        return None
    await driver.execute(f"LOCK TABLE {AUDIT_REST} IN ACCESS EXCLUSIVE MODE")
    is_past = to_id <= first_id(await driver.fetchval("SELECT now()"))
    waiting: int = await driver.fetchval(_WAITING, from_id, to_id, MOVED_MAX + 1)
    # All of the rest is read under this lock, and what of it is the month's is moved: writers to
    # the rest wait meanwhile. Where that takes long it is done once nothing comes for the month.
    is_long = waiting > MOVED_MAX or await driver.fetchval(_IS_LONG, READ_MAX)
    if is_long and not is_past:
        return False
    for statement in audit_partition(name):
        await driver.execute(statement)
    await driver.execute("SET LOCAL statement_timeout = 0")
    if waiting:
        await _move(driver, name, from_id, to_id)
    bounds = f"FROM ('{from_id}') TO ('{to_id}')"
    attach = f"ALTER TABLE {AUDIT} ATTACH PARTITION {name} FOR VALUES {bounds}"
    await driver.execute(attach, timeout=PATIENCE_S)
    return True


async def _move(driver: Driver, name: str, from_id: UUID, to_id: UUID) -> None:
    """Bring the month's rows from the rest, which is locked: nobody sees it without its refusal."""
    where = f"FROM {AUDIT_REST} WHERE id >= $1 AND id < $2"
    copied = await driver.execute(
        f"INSERT INTO {name} SELECT * {where}",
        *(from_id, to_id),
        timeout=PATIENCE_S,
    )
    await driver.execute(f"ALTER TABLE {AUDIT_REST} DISABLE TRIGGER append_only_rows")
    deleted = await driver.execute(f"DELETE {where}", from_id, to_id, timeout=PATIENCE_S)
    await driver.execute(f"ALTER TABLE {AUDIT_REST} ENABLE ALWAYS TRIGGER append_only_rows")
    assert copied.split()[-1] == deleted.split()[-1], "a row is moved, never lost"


def _name(month: datetime) -> str:
    return f"{AUDIT}_{month:%Y_%m}"


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

_IS_LONG: Final = "SELECT EXISTS (SELECT FROM api_audit_rest OFFSET $1)"

_WAITING: Final = """
SELECT count(*) FROM (
    SELECT FROM api_audit_rest WHERE id >= $1 AND id < $2 LIMIT $3
) AS found
"""
