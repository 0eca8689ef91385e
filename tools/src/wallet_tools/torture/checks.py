"""This module is where a run that came to rest is looked at from every side."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import aio_pika
import asyncpg

from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_db_orm.examination import Examination
from wallet_db_orm.verify import Report, verify
from wallet_tools.torture.history import Attempt, Violation
from wallet_tools.torture.parts import Part

_LOG_ROWS: Final = 25
# Of a killed process the last line may be half of one.
_TRACE_ID: Final = re.compile(r'"trace_id": "([^"]+)"')
_LAST_OPERATIONS: Final = 40
# What no log may say: of ours a stack, of the database what its promises rule out.
_WORDS: Final = {
    "api-*": re.compile(r"Traceback|InvariantViolated"),
    "worker-*": re.compile(r"Traceback|InvariantViolated"),
    "postgres.log*": re.compile(r"PANIC|deadlock detected|TRAP:"),
}


async def proved(url: str, against: Sequence[Examination]) -> Report:
    """Prove the books at rest, as `wallet verify --at-rest` does, `against` what is outside too."""
    database = Database(url, application_name="torture-verify", pool_size=2)
    try:
        return await verify(database.primary, at_rest=True, outside=against)
    finally:
        await database.dispose()


def contradictions(report: Report) -> Iterator[Violation]:
    for finding in report.invariants:
        if finding.violations:
            first = finding.violations[0]
            yield Violation(
                id=finding.id,
                what=f"at rest it is not so: {finding.name}",
                wallet=str(first.get("walletId") or ""),
                rows=tuple(str(each) for each in finding.violations[:_LOG_ROWS]),
            )


async def letters(url: str) -> Iterator[Violation]:
    """E8: a fault is no poison: nothing may have been given up on, or still wait."""
    topology = Topology()
    retries = [topology.retry_queue(delay) for delay in topology.retry_delays_ms]
    names = [topology.dead_letter_queue, topology.queue, topology.alone_queue, *retries]
    found = []
    async with await aio_pika.connect(url, timeout=10) as connection:
        for name in names:
            async with connection.channel() as channel:
                queue = await channel.declare_queue(name, passive=True)
                if count := queue.declaration_result.message_count:
                    found.append(Violation(id="E8", what=f"{count} messages rest in {name}"))
    return iter(found)


def rows_that_waited(logs: Path) -> set[str]:
    """Return the trace ids of refusals whose audit row the API kept until it could be written."""
    return {
        named[1]
        for log in sorted(logs.glob("api-*"))
        for line in log.read_text(errors="replace").splitlines()
        if '"audit.waits"' in line and (named := _TRACE_ID.search(line))
    }


def scanned(logs: Path) -> Iterator[Violation]:
    """Yield what the logs say that they must not."""
    for pattern, words in _WORDS.items():
        for log in sorted(logs.glob(pattern)):
            lines = log.read_text(errors="replace").splitlines()
            hits = [number for number, line in enumerate(lines) if words.search(line)]
            if hits:
                first = hits[0]
                rows = tuple(line[:400] for line in lines[max(0, first - 3) : first + _LOG_ROWS])
                yield Violation(
                    id="L0",
                    what=f"{log.name} says so {len(hits)} times: {words.pattern}",
                    rows=rows,
                )


def with_last_operations(
    violations: Iterable[Violation], history: list[Attempt]
) -> Iterator[Violation]:
    """Yield each violation with the last operations of its wallet, to be read by a person."""
    for each in violations:
        rows = each.rows
        if each.wallet:
            concerned = [
                attempt
                for attempt in history
                if each.wallet in {attempt.intent.wallet, attempt.intent.to}
            ]
            last = tuple(attempt.line() for attempt in concerned[-_LAST_OPERATIONS:])
            rows = (*rows, f"the last {len(last)} operations of {each.wallet}:", *last)
        yield Violation(id=each.id, what=each.what, wallet=each.wallet, rows=rows)


def unannounced(parts: Iterable[Part]) -> Iterator[Violation]:
    """P0: no process ends that was not made to."""
    for part in parts:
        for told in part.ended_by_themselves():
            yield Violation(id="P0", what=told)


async def operations_known(url: str) -> set[tuple[str, str]]:
    """Return wallet and key of every operation that the books remember."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows = await connection.fetch("SELECT wallet_id, request_id FROM operations")
    finally:
        connection.terminate()
    return {(row[0], row[1]) for row in rows}


async def events_known(url: str) -> int:
    return await _count(url, "SELECT count(*) FROM events")


async def checkpoints_known(url: str) -> int:
    return await _count(url, "SELECT count(*) FROM checkpoints")


async def _count(url: str, sql: str) -> int:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=15)
    try:
        count: int = await connection.fetchval(sql)
    finally:
        connection.terminate()
    return count
