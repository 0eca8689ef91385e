"""
This module is where a proof goes on from the last one, and is kept.

A clean proof is a point: for each wallet its version and balance in the snapshot, and the last
place in the feed. The next one may look only at what lies behind it, found along the primary keys.
See docs/adr/0020-one-proof-one-snapshot.md.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Database, Driver, statement, transaction
from wallet_db_orm.evidence_models import proofs, proven_wallets
from wallet_db_orm.examination import VIOLATIONS_MAX, Examination, Proven, Scope
from wallet_db_orm.ids import new_id
from wallet_db_orm.invariants import checks
from wallet_db_orm.reading import PATIENCE_S
from wallet_db_orm.statements import insert_many, transpose
from wallet_db_orm.verify import Finding, Report, Snapshot, snapshot

# So many wallets are looked up one by one; if more have moved, all are read.
BEHIND_MAX: Final = 100_000
# Any fixed number: who holds this advisory lock proves the books on somebody's behalf.
_LOCK: Final = 7_302_118_020
_WALLETS_AT_ONCE: Final = 5_000


class ProofRunning(Exception):
    """Somebody else is proving these books just now."""


class Proved(msgspec.Struct, frozen=True):
    """A proof, and whether it could be kept."""

    report: Report
    is_kept: bool


class Kept(msgspec.Struct, frozen=True):
    """What is remembered of a proof, but for its details."""

    snapshot_at: datetime
    mode: str
    ok: bool


class LastProofs(msgspec.Struct, frozen=True):
    """The newest proof, the instant of the newest clean whole one, and what time it is there."""

    newest: Kept | None
    whole_at: datetime | None
    now: datetime


async def prove(
    database: Database,
    *,
    incremental: bool,
    asked_by: str,
    outside: Sequence[Examination] = (),
    progress: Callable[[Finding], None] = lambda _: None,
) -> Proved:
    """
    Prove the books on the replica, if there is one, and keep what came of it on the primary.

    An incremental proof looks at what moved since the newest one. It is a whole one all the same
    if there is none yet, if that one found something, or if more than BEHIND_MAX wallets moved.
    Who may not write here, or a database that takes no writes, leaves the proof unkept.
    """
    async with snapshot(database.reads) as shared:
        scope = await _behind(shared) if incremental else Scope()
        asked = (*checks(at_rest=False, is_whole=scope.is_whole), *outside)
        report = await shared.prove(scope, asked, progress)
        return Proved(report, await _keep(database.primary, shared.sessions[0], report, asked_by))


@asynccontextmanager
async def alone(engine: AsyncEngine) -> AsyncIterator[None]:
    """Keep others from proving the same books meanwhile; raises ProofRunning if one does."""
    async with statement(engine) as driver:
        if not await driver.fetchval("SELECT pg_try_advisory_lock($1::bigint)", _LOCK):
            raise ProofRunning
        try:
            yield
        finally:
            await driver.execute("SELECT pg_advisory_unlock($1::bigint)", _LOCK)


async def last(engine: AsyncEngine) -> LastProofs:
    """Return what is known of the latest proofs."""
    async with statement(engine) as driver:
        newest = await driver.fetchrow(_NEWEST)
        whole_at, now = await driver.fetchrow(_LAST_WHOLE)
    kept = Kept(newest["snapshot_at"], newest["mode"], newest["ok"]) if newest else None
    return LastProofs(kept, whole_at, now)


async def _behind(shared: Snapshot) -> Scope:
    """Return what lies behind the newest proof, or everything."""
    driver = shared.sessions[0]
    newest = await driver.fetchrow(_NEWEST)
    if newest is None or not newest["ok"]:
        return Scope()
    rows = await driver.fetch(_MOVED, BEHIND_MAX + 1, timeout=PATIENCE_S)
    if len(rows) > BEHIND_MAX:
        return Scope()
    return Scope([Proven(*row) for row in rows], newest["position"])


async def _keep(engine: AsyncEngine, seen: Driver, report: Report, asked_by: str) -> bool:
    position = await seen.fetchval(_LAST_PLACE)
    try:
        async with transaction(engine) as driver:
            await driver.execute("SET LOCAL statement_timeout = 0")
            await driver.execute(_KEEP, *_row(report, position, asked_by))
            if report.ok:
                await _advance(seen, driver)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError):
        return False
    return True


async def _advance(seen: Driver, driver: Driver) -> None:
    """Note where the wallets were that `seen` saw elsewhere than the point has them."""
    cursor = await seen.cursor(_NEWLY_PROVEN, timeout=PATIENCE_S)
    while rows := await cursor.fetch(_WALLETS_AT_ONCE, timeout=PATIENCE_S):
        await driver.execute(_ADVANCE, *transpose(rows, _PROVEN_COLUMNS), timeout=PATIENCE_S)


def _row(report: Report, position: int, asked_by: str) -> Sequence[Any]:
    violations = [
        {"invariant": each.id, **violation}
        for each in report.invariants
        for violation in each.violations
    ][:VIOLATIONS_MAX]
    checked = {each.id: each.checked for each in report.invariants}
    return [
        *([new_id()], [report.snapshot_at], [report.mode], [report.ok]),
        *([round(report.seconds * 1000)], [position], [asked_by]),
        *([msgspec.json.encode(checked).decode()], [msgspec.json.encode(violations).decode()]),
    ]


_PROOF_COLUMNS: Final = (
    *("id", "snapshot_at", "mode", "ok", "took_ms", "position", "asked_by", "checked"),
    "violations",
)
_KEEP: Final = insert_many(proofs, _PROOF_COLUMNS)
_PROVEN_COLUMNS: Final = ("wallet_id", "version", "balance_minor")
# A point never goes back: a proof of a replica may have seen less than the one before it.
_ADVANCE: Final = insert_many(
    proven_wallets,
    _PROVEN_COLUMNS,
    tail=" ON CONFLICT (wallet_id) DO UPDATE SET version = excluded.version,"
    " balance_minor = excluded.balance_minor WHERE proven_wallets.version < excluded.version",
)
# One that is dated later than now is none (H6): whoever may write here could end all proofs by it.
_PAST: Final = "FROM proofs WHERE snapshot_at <= clock_timestamp()"
_LATEST_FIRST: Final = "ORDER BY snapshot_at DESC, id DESC LIMIT 1"
_NEWEST: Final = f"SELECT * {_PAST} {_LATEST_FIRST}"
_LAST_WHOLE: Final = f"""
SELECT (SELECT snapshot_at {_PAST} AND ok AND mode = 'whole' {_LATEST_FIRST}), clock_timestamp()
"""
_LAST_PLACE: Final = "SELECT coalesce(max(position), 0) FROM feed"
# The one pass over all wallets that an incremental proof takes. A wallet that is gone, or that has
# another balance at the same version, is among them: the invariants say what is wrong with it.
_MOVED: Final = """
SELECT coalesce(w.id, p.wallet_id), coalesce(p.version, 0), coalesce(p.balance_minor, 0)
FROM wallets AS w FULL JOIN proven_wallets AS p ON p.wallet_id = w.id
WHERE w.id IS NULL OR p.wallet_id IS NULL
    OR w.version <> p.version OR w.balance_minor <> p.balance_minor
LIMIT $1
"""
_NEWLY_PROVEN: Final = """
SELECT w.id AS wallet_id, w.version, w.balance_minor
FROM wallets AS w LEFT JOIN proven_wallets AS p ON p.wallet_id = w.id
WHERE p.wallet_id IS NULL OR p.version < w.version
ORDER BY w.id
"""
