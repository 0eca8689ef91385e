"""
This module is where a month of the audit leaves the database for a file, and is remembered.

Money is never archived: the books are proved from the first entry, and a key is remembered for
ever. See docs/adr/0013-growth-and-retention.md.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import chain
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.invariants_of_chains import COVERED, digest_of
from wallet_db_orm.partitions import PATIENCE_S, Partition, insist, partitions_of
from wallet_db_orm.storage import AUDIT, LOCK_TIMEOUT_MS


class Archived(msgspec.Struct, frozen=True):
    """What `archived_partitions` remembers of a partition whose rows left for a file."""

    name: str
    from_id: UUID
    to_id: UUID
    rows: int
    operations: int
    sha256: str
    archived_at: datetime


class Exported(msgspec.Struct, frozen=True):
    """How many rows were written out, and how many operations have their audit row among them."""

    rows: int
    operations: int


class NotArchivable(Exception):
    """The partition has to stay; the message says why."""


async def archived(engine: AsyncEngine) -> Sequence[Archived]:
    """Return what has been archived, in the order of the ids."""
    async with transaction(engine) as driver:
        rows = await driver.fetch("SELECT * FROM archived_partitions ORDER BY from_id")
    return [Archived(**dict(row)) for row in rows]


async def may_drop(engine: AsyncEngine) -> bool:
    """Whether this role may take a partition out: only the owner of the tables may."""
    async with transaction(engine) as driver:
        return bool(await driver.fetchval(_IS_OWNER))


async def export(
    engine: AsyncEngine, name: str, write: Callable[[bytes], Awaitable[None]]
) -> Exported:
    """
    Write a partition out as CSV with a header, in the order of the ids; `write` takes it in pieces.

    Raises NotArchivable if there is no partition of that name.
    """
    async with transaction(engine) as driver:
        await driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await driver.execute("SET LOCAL statement_timeout = 0")
        await _partition(driver, name)
        operations: int = await driver.fetchval(
            f"SELECT count(*) FROM operations AS o JOIN {name} AS a ON a.id = o.audit_id",  # noqa: S608  # a partition's name
            timeout=PATIENCE_S,
        )
        told: str = await driver.copy_from_query(
            f"SELECT * FROM {name} ORDER BY id",  # noqa: S608  # as above
            output=write,
            format="csv",
            header=True,
            timeout=PATIENCE_S,
        )
    return Exported(int(told.removeprefix("COPY ")), operations)


async def drop(engine: AsyncEngine, name: str, exported: Exported, sha256: str) -> Archived:
    """
    Take an exported partition out of the database, and remember that it was there.

    Raises NotArchivable, with nothing done, if it is not what was exported any more or if an
    operation lacks its audit row in it: that must come to light first. Raises Busy while the
    locks are not to be had: a proof (`verify`) is waited for, as it has to see either the rows or
    the note that they are in a file.
    """

    async def attempt() -> Archived:
        async with transaction(engine) as driver:
            return await _drop(driver, name, exported, sha256)

    async with transaction(engine) as driver:
        await driver.execute("SET LOCAL statement_timeout = 0")
        partition = await _partition(driver, name)
        lost: int = await driver.fetchval(
            _LOST, partition.from_id, partition.to_id, timeout=PATIENCE_S
        )
        waiting: int = await driver.fetchval(_WAITING, partition.from_id, partition.to_id)
    if waiting:
        raise NotArchivable(f"{waiting} rows of {name} have no seal yet: a worker seals them")
    if lost:
        raise NotArchivable(f"{lost} operations of {name} lack their audit row: see `verify`, A7")
    return await insist(attempt)


async def contradictions(engine: AsyncEngine, name: str, file: Path) -> tuple[int, list[UUID]]:
    """
    Hold an archive's file against the seals; return its rows, and the ids of those that are off.

    Off is a row that is not as it was sealed, one that was never sealed, and a sealed one that the
    file lacks. Raises NotArchivable if nothing of that name was archived, PostgresError if the
    file is no such file.
    """
    async with transaction(engine) as driver:
        await driver.execute("SET LOCAL statement_timeout = 0")
        noted = await driver.fetchrow("SELECT * FROM archived_partitions WHERE name = $1", name)
        if noted is None:
            raise NotArchivable(f"no {name} was archived and dropped; see `wallet partitions`")
        await driver.execute(f"CREATE TEMP TABLE archive_file (LIKE {AUDIT}) ON COMMIT DROP")
        copied: str = await driver.copy_to_table(
            "archive_file", source=file, format="csv", header=True, timeout=PATIENCE_S
        )
        rows = await driver.fetch(_OFF, noted.from_id, noted.to_id, timeout=PATIENCE_S)
    return int(copied.removeprefix("COPY ")), [row["id"] for row in rows]


async def _partition(driver: Driver, name: str) -> Partition:
    for partition in await partitions_of(driver):
        if partition.name == name and partition.to_id is not None:
            return partition
    raise NotArchivable(f"{name} is no partition of {AUDIT} with an end")


async def _drop(driver: Driver, name: str, exported: Exported, sha256: str) -> Archived:
    await driver.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    await driver.execute("SET LOCAL statement_timeout = 0")
    partition = await _partition(driver, name)
    # A proof holds this from before its snapshot to its end.
    await driver.execute("LOCK TABLE archived_partitions IN ACCESS EXCLUSIVE MODE")
    # From here on nobody adds a row, however late; so old a month has no other writers.
    await driver.execute(f"LOCK TABLE {name} IN SHARE MODE")
    rows = await driver.fetchval(f"SELECT count(*) FROM {name}", timeout=PATIENCE_S)  # noqa: S608
    if rows != exported.rows:
        raise NotArchivable(f"{name} has {rows} rows, {exported.rows} were written: archive again")
    await driver.execute(f"ALTER TABLE {AUDIT} DETACH PARTITION {name}")
    await driver.execute(f"DROP TABLE {name}")
    noted = await driver.fetchrow(
        _NOTE,
        *(name, partition.from_id, partition.to_id),
        *(exported.rows, exported.operations, sha256),
    )
    return Archived(**dict(noted))


_IS_OWNER: Final = f"""
SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = '{AUDIT}'::regclass
"""  # noqa: S608  # a constant

_LOST: Final = """
SELECT count(*) FROM operations AS o
WHERE o.audit_id >= $1 AND o.audit_id < $2
    AND NOT EXISTS (SELECT FROM api_audit AS a WHERE a.id = o.audit_id)
    AND NOT EXISTS (
        SELECT FROM transfers AS t WHERE t.audit_id = o.audit_id AND t.audit IS NOT NULL)
"""

_WAITING: Final = """
SELECT count(*) FROM unsealed_audit CROSS JOIN LATERAL unnest(ids) AS u (id)
WHERE u.id >= $1 AND u.id < $2
"""

_OFF: Final = f"""
SELECT coalesce(a.id, c.id) AS id
FROM (SELECT id, {digest_of(chain.AUDIT)} AS digest FROM archive_file) AS a
FULL JOIN (SELECT * FROM ({COVERED}) AS c WHERE id >= $1 AND id < $2) AS c ON c.id = a.id
WHERE a.digest IS DISTINCT FROM c.digest
ORDER BY 1
"""  # noqa: S608  # constants

# Under the lock: the times are in the order of writing, which checkpoints sign.
_NOTE: Final = """
INSERT INTO archived_partitions (name, from_id, to_id, rows, operations, sha256, archived_at)
VALUES ($1, $2, $3, $4, $5, $6, greatest(clock_timestamp(), (
    SELECT max(archived_at) + interval '1 microsecond' FROM archived_partitions
))) RETURNING *
"""
