"""
This module is where the books are proved: every invariant is asked, none may find anything.

All of it runs in one REPEATABLE READ READ ONLY snapshot, which two sessions share, so it sees one
committed instant, uses two processors, and can run under load.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from time import perf_counter
from typing import Any, Final, Literal

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Driver, statement
from wallet_db_orm.examination import Examination, Scope, Tally
from wallet_db_orm.invariants import Check, checks, promised
from wallet_db_orm.reading import counted

_SESSIONS: Final = 2
# A proof reads all there is, at its leisure. What does not fit into the memory goes to disk.
_LEISURE: Final = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "0",
    "enable_seqscan": "on",
    "work_mem": "'64MB'",
    # The other processor has the other session.
    "max_parallel_workers_per_gather": "0",
}

# A value that is none of its kind, or a page that is damaged: no fault of the proof, but a finding.
_UNREADABLE: Final = (
    asyncpg.DataError,
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
)


class Finding(msgspec.Struct, frozen=True):
    """
    What one invariant's check found.

    `seconds` is the time of the reading that looked at it, which others may share.
    """

    id: str
    name: str
    checked: int
    violations: Sequence[dict[str, Any]]
    seconds: float


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """The proof, or what stands against it: of the books as they were at `snapshot_at`."""

    ok: bool
    invariants: Sequence[Finding]
    mode: Literal["whole", "incremental"]
    snapshot_at: datetime
    seconds: float


async def verify(
    engine: AsyncEngine,
    *,
    at_rest: bool = False,
    outside: Sequence[Examination] = (),
    progress: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """
    Check every invariant in one snapshot; with `at_rest` also those that hold once all is quiet.

    `outside` are checks against what is kept outside the database. `progress` is told each finding
    as it comes.
    """
    async with snapshot(engine) as shared:
        asked = (*checks(at_rest=at_rest, is_whole=True), *outside)
        return await shared.prove(Scope(), asked, progress)


class Snapshot:
    """One committed instant, and the sessions that see it."""

    def __init__(self, sessions: Sequence[Driver], taken_at: datetime) -> None:
        self.sessions = sessions
        self.taken_at = taken_at

    async def prove(
        self, scope: Scope, asked: Sequence[Check], progress: Callable[[Finding], None]
    ) -> Report:
        """Carry out the checks on what `scope` says."""
        started_s = perf_counter()
        found: dict[str, Finding] = {}
        waiting = deque(asked)

        async def work(session: Driver) -> None:
            while waiting:
                for finding in await _look(session, scope, waiting.popleft()):
                    found[finding.id] = finding
                    progress(finding)

        try:
            async with asyncio.TaskGroup() as group:
                for session in self.sessions:
                    group.create_task(work(session))
        except BaseExceptionGroup as failed:
            # One reason is enough, and callers know it by its own class.
            raise failed.exceptions[0] from failed
        findings = [found[name] for check in asked for name, _ in promised(check)]
        return Report(
            ok=all(not each.violations for each in findings),
            invariants=findings,
            mode="whole" if scope.is_whole else "incremental",
            snapshot_at=self.taken_at,
            seconds=round(perf_counter() - started_s, 3),
        )


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[Snapshot]:
    """Take the snapshot and hold it until the block ends."""
    async with _session(engine) as first:
        # Takes no snapshot: what we see comes before an archive or after it, never in between.
        await first.execute("LOCK TABLE archived_partitions IN ACCESS SHARE MODE")
        name, taken_at = await first.fetchrow("SELECT pg_export_snapshot(), clock_timestamp()")
        async with _session(engine, name) as second:
            yield Snapshot((first, second), taken_at)


@asynccontextmanager
async def _session(engine: AsyncEngine, shared: str | None = None) -> AsyncIterator[Driver]:
    async with (
        statement(engine) as driver,
        driver.transaction(isolation="repeatable_read", readonly=True),
    ):
        if shared is not None:
            await driver.execute(f"SET TRANSACTION SNAPSHOT '{shared}'")
        for name, value in _LEISURE.items():
            await driver.execute(f"SET LOCAL {name} = {value}")
        yield driver


async def _look(driver: Driver, scope: Scope, check: Check) -> list[Finding]:
    started_s = perf_counter()
    tallies = {name: Tally() for name, _ in promised(check)}
    try:
        # A savepoint: whatever cannot be read here, the others are asked all the same.
        async with driver.transaction():
            await _ask(driver, scope, check, tallies)
    except _UNREADABLE as error:
        for tally in tallies.values():
            tally.unreadable(error.args[0])
    seconds = round(perf_counter() - started_s, 3)
    return [
        Finding(name, told, tallies[name].checked, tallies[name].violations, seconds)
        for name, told in promised(check)
    ]


async def _ask(driver: Driver, scope: Scope, check: Check, tallies: dict[str, Tally]) -> None:
    # What is new is found along keys; what is old is read from one end to the other.
    way = "on" if scope.is_whole else "off"
    await driver.execute(f"SET LOCAL enable_seqscan = {way}")
    if isinstance(check, Examination):
        await check.examine(driver, scope, tallies[check.id])
    else:
        await check.read(driver, scope, tallies)
        rows = await counted(driver, scope, {each.counted for each in check.invariants})
        for each in check.invariants:
            tallies[each.id].checked = rows[each.counted]
    await driver.execute("SET LOCAL enable_seqscan = on")
