"""
This module is where the books are proved: every invariant is asked, none may find anything.

All of it runs in one REPEATABLE READ READ ONLY transaction, so it sees one committed instant and
can run under load.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wallet_db_orm.invariants import AT_REST, INVARIANTS, Invariant

# A broken ledger may break everywhere: this many examples are enough to start with.
VIOLATIONS_MAX: Final = 100
_PATIENCE_S: Final = 24 * 3600


class Finding(msgspec.Struct, frozen=True):
    """What one invariant's check found."""

    id: str
    name: str
    checked: int
    violations: Sequence[dict[str, Any]]
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """The proof, or what stands against it."""

    ok: bool
    invariants: Sequence[Finding]


async def verify(
    engine: AsyncEngine,
    *,
    at_rest: bool = False,
    progress: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """
    Check every invariant in one snapshot; with `at_rest` also those that hold once all is quiet.

    `progress` is told each finding as it comes.
    """
    findings = []
    async with engine.connect() as plain:
        connection = await plain.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        # A proof reads all there is, at its leisure.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SET LOCAL enable_seqscan = on"))
        # Takes no snapshot: what we see comes before an archive or after it, never in between.
        await connection.execute(text("LOCK TABLE archived_partitions IN ACCESS SHARE MODE"))
        for invariant in INVARIANTS + (AT_REST if at_rest else ()):
            finding = await _check(connection, invariant)
            findings.append(finding)
            progress(finding)
    return Report(all(not each.violations for each in findings), findings)


async def _check(connection: AsyncConnection, invariant: Invariant) -> Finding:
    started_s = perf_counter()
    # The driver's own limit is that of a request; a proof takes as long as the books are big.
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None, "the snapshot is taken"
    checked = await driver.fetchval(invariant.counted, timeout=_PATIENCE_S)
    found = await driver.fetch(
        f"SELECT * FROM ({invariant.violations}) AS found LIMIT {VIOLATIONS_MAX}",  # noqa: S608
        timeout=_PATIENCE_S,
    )
    violations = [
        {
            key: value if isinstance(value, int) else value and str(value)
            for key, value in row.items()
        }
        for row in found
    ]
    seconds = round(perf_counter() - started_s, 3)
    return Finding(invariant.id, invariant.name, checked, violations, seconds)
