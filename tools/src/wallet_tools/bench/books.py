"""This module is where the wallet's database is asked what a load left behind."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from wallet_tools.bench.figures import BenchFailed

SETTLE_S: Final = 15.0
STANDSTILL_S: Final = 120.0
# Of 16 MiB each.
_LOG_FILES: Final = 192
# Rows pass through it; what it has grown by is gone once they are published.
_TRANSIENT: Final = "outbox"
_SIZE: Final = f"""
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.relname <> '{_TRANSIENT}'
        AND n.nspname !~ '^(pg_|information_schema)'
"""  # noqa: S608  # our own name
_ENTRIES: Final = "SELECT (SELECT count(*) FROM ledger_entries) + (SELECT count(*) FROM holds)"
_WORKER_IS_IN_TRANSACTION: Final = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE application_name IN ('wallet-worker', 'wallet-relay') AND xact_start IS NOT NULL
)
"""
_LAG: Final = """
    SELECT count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP
        (ORDER BY extract(epoch FROM p.processed_at - e.occurred_at) * 1000)
    FROM events e JOIN processed_events p
        ON p.wallet_id = e.wallet_id AND p.event_id = e.id::text
    WHERE e.occurred_at >= $1 AND e.wallet_version IS NOT NULL
"""
_WITHOUT_EFFECT: Final = """
    SELECT (SELECT count(*) FROM events WHERE wallet_version IS NOT NULL)
        - (SELECT count(*) FROM processed_events)
        + (SELECT count(*) FROM transfers WHERE state = 'debited')
"""


@dataclass(frozen=True, slots=True)
class Page:
    """
    Where the books stand: entries, write transactions, WAL and table bytes so far.

    `transactions` are the ids given out in the whole server: only who writes gets one, and it is
    known at once. `stat_commits` (pg_stat_database) knows those that only read as well, but each
    session tells of them up to ten seconds late.
    """

    entries: int
    transactions: int
    stat_commits: int
    wal_bytes: int
    table_bytes: int


@dataclass(frozen=True, slots=True)
class Lag:
    """From an event's time to its effect, in milliseconds, over so many events."""

    events: int
    p50_ms: float
    p99_ms: float


class Books:
    """Two connections as the superuser: one into the books, one beside them that counts."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._inside = self._connect(url)
        # What is asked about transactions must not be one of those it counts.
        self._outside = self._connect(database_url(url, "postgres"))
        self._name = urlsplit(url).path.lstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        for connection in (self._inside, self._outside):
            connection.terminate()
        self._runner.close()

    def opened(self) -> Page:
        """Read before a load: what this costs itself comes before what is counted."""
        entries, size = self.entries(), self._value(self._inside, _SIZE)
        return self._page(entries, size)

    def closed(self, opened: Page, entries_min: int, entries_max: int) -> tuple[Page, str]:
        """Read after a load, when the last request has had its effect; also what is wrong."""
        counted = self._page(0, 0)
        deadline = time.monotonic() + SETTLE_S
        before, now = -1, self.entries()
        while not (grown := now - opened.entries) >= entries_min or now != before:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)  # The database cannot tell us: a request of the load still commits.
            before, now = now, self.entries()
        wrong = ""
        if not entries_min <= grown <= entries_max:
            exact = entries_min == entries_max
            expected = f"{entries_max}" if exact else f"{entries_min} to {entries_max}"
            wrong = f"{grown} new ledger entries, expected {expected}"
        size = self._value(self._inside, _SIZE)
        page = Page(now, counted.transactions, counted.stat_commits, counted.wal_bytes, size)
        return page, wrong

    def entries(self) -> int:
        """Return how many entries of the ledger and holds there are."""
        return self._value(self._inside, _ENTRIES)

    def backlog(self) -> int:
        """Return how many events have not left yet."""
        return self._value(self._inside, "SELECT count(*) FROM outbox")

    def worker_is_in_transaction(self) -> bool:
        return bool(self._value(self._inside, _WORKER_IS_IN_TRANSACTION))

    def now(self) -> Any:  # noqa: ANN401  # an instant, as the driver has it
        return self._run(self._inside.fetchval("SELECT clock_timestamp()"))

    def lag(self, since: Any) -> Lag:  # noqa: ANN401  # as `now` gave it
        """Tell how late the events since then took effect; call it when all of them have."""
        row = self._run(self._inside.fetchrow(_LAG, since))
        p50, p99 = row[1] or (math.nan, math.nan)
        return Lag(row[0], float(p50), float(p99))

    def drain(self, say: Callable[[str], None]) -> None:
        """
        Wait until every event has taken effect, telling how it goes.

        Raises:
            BenchFailed: nothing moves any more.
        """
        before, told, moved = (-1, -1), time.monotonic(), time.monotonic()
        while True:
            backlog = self.backlog()
            # What has left may still be on its way through the broker.
            waiting = (backlog, 0 if backlog else self._value(self._inside, _WITHOUT_EFFECT))
            if waiting == (0, 0):
                return
            now = time.monotonic()
            moved = now if waiting != before else moved
            where = "in the outbox" if backlog else "sent, and without effect yet"
            what = f"{sum(waiting):,} events {where}"
            if now - moved > STANDSTILL_S:
                raise BenchFailed(f"the worker stands still: {what}")
            if now - told > 5:
                say(f"draining: {what}")
                told = now
            before = waiting
            time.sleep(0.2)  # The worker is another process: all there is to see is its effect.

    def show(self, names: list[str]) -> dict[str, str]:
        """Return settings of the server by name."""
        return {
            name: str(self._run(self._outside.fetchval(f"SHOW {name}")))  # our own names
            for name in names
        }

    def ask(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401  # asyncpg has no types
        """Return the one value that a query of the books gives."""
        return self._run(self._inside.fetchval(sql, *arguments))

    def execute(self, sql: str) -> None:
        """Run one statement in the database `postgres`."""
        self._run(self._outside.execute(sql))

    def lay_in_log(self) -> None:
        """
        Give the server log files to write over, as one has them that has run for a while.

        Else it makes each when it needs it, 16 MiB of zeros, while everybody's COMMIT waits.
        """
        self.execute("ALTER SYSTEM SET min_wal_size = '3GB'")
        self.execute("SELECT pg_reload_conf()")
        for _ in range(_LOG_FILES):
            self.execute("SELECT pg_logical_emit_message(true, '', '')")
            self.execute("SELECT pg_switch_wal()")
        self.execute("CHECKPOINT")

    def analyze(self) -> None:
        """Give the planner what it would know of any table that has lived for a minute."""
        self._run(self._inside.execute("ANALYZE"))

    def _page(self, entries: int, size: int) -> Page:
        row = self._run(
            self._outside.fetchrow(
                "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
                " (SELECT xact_commit FROM pg_stat_database WHERE datname = $1),"
                " (pg_current_wal_insert_lsn() - '0/0')::bigint",
                self._name,
            )
        )
        return Page(entries, row[0], row[1], row[2], size)

    def _value(self, connection: Any, sql: str) -> int:  # noqa: ANN401  # asyncpg has no types
        value: int = self._run(connection.fetchval(sql))
        return value

    def _connect(self, url: str) -> Any:  # noqa: ANN401  # asyncpg has no types
        return self._run(asyncpg.connect(url, server_settings={"application_name": "bench"}))

    def _run(self, awaitable: Any) -> Any:  # noqa: ANN401  # asyncpg has no types
        try:
            return self._runner.run(awaitable)
        except (OSError, asyncpg.PostgresError) as error:
            raise BenchFailed(f"the database did not answer: {error}") from error


def database_url(url: str, name: str) -> str:
    """Return the same address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
