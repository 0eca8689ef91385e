"""This module is where one run is measured: the load, what it cost, and what it left behind."""

import itertools
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

from wallet_tools.bench import meters
from wallet_tools.bench.books import Books, Page
from wallet_tools.bench.figures import BenchFailed, is_growing
from wallet_tools.bench.generator import Order, Tally, prepared
from wallet_tools.bench.plan import PEAK_CONNECTIONS, Cell, Load, Reference, Run
from wallet_tools.bench.reference import Pgbench
from wallet_tools.bench.results import Alternation, ReferenceRun
from wallet_tools.bench.subject import Subject
from wallet_tools.bench.traffic import HOLD_WALLETS, Traffic, traffic_of

_LOOK_AT_BACKLOG_S: Final = 0.25
_FUNDING_CONNECTIONS: Final = 64


@dataclass(slots=True)
class Measured:
    """A load on a subject: what came of it, between two pages of the books."""

    tally: Tally
    cost: meters.Cost
    opened: Page
    closed: Page
    problem: str
    backlog: list[tuple[float, int]]


@dataclass(slots=True)
class Bed:
    """Everything that stands ready while a session measures; one run at a time."""

    session: str
    seconds: int
    wallets: int
    subjects: list[Subject]
    books: list[Books]
    pgbench: Pgbench
    bare_url: str
    wrk: str | None
    peaks: dict[int, float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def reference(self, reference: Reference) -> ReferenceRun:
        """Run what loads are held against."""
        match reference.name:
            case "pgbench":
                told = self.pgbench.run(reference.connections, self.seconds)
                speed = told.operations_per_second
                latencies = (told.p50_ms, told.p95_ms, told.p99_ms)
            case "bare":
                traffic = self._traffic(Cell(Load.READS, reference.connections))
                order = self._order(self.bare_url, traffic, reference.connections)
                with prepared(order, self.wrk) as load:
                    tally = load.run()
                if tally.failure:
                    raise BenchFailed(f"the bare handler failed: {tally.failure}")
                speed, latencies = _speed(tally), _latencies(tally)
            case _:
                tally = self._peak(reference.subject)
                speed, latencies = _speed(tally), _latencies(tally)
                self.peaks[reference.subject] = speed
        return ReferenceRun(
            session=self.session,
            name=reference.name,
            connections=reference.connections,
            operations_per_second=speed,
            p50_ms=latencies[0],
            p95_ms=latencies[1],
            p99_ms=latencies[2],
        )

    def run(self, run: Run) -> Alternation:
        """Run a load once on its subject."""
        cell, subject, books = run.cell, self.subjects[run.subject], self.books[run.subject]
        traffic = self._traffic(cell)
        rate = None if cell.share is None else cell.share * self.peaks[run.subject]
        order = self._order(subject.run().api, traffic, cell.connections, rate)
        since = books.now()
        # Open loops are ours alone: only there a request has a time when it was due.
        measured = self._measure(run.subject, order, sees_backlog=cell.load is Load.PIPELINE)
        found = self._alternation(run, measured, traffic.operations_per_request)
        found.rate = rate
        if cell.load is Load.PIPELINE:
            _tell_pipeline(found, measured, books, since)
        return found

    def fund(self, index: int) -> None:
        """Give every wallet money, so that no withdrawal is refused."""
        for stem, wallets in (("bench", self.wallets), ("hold", HOLD_WALLETS)):
            order = Order(
                url=self.subjects[index].run().api,
                traffic=Traffic("fund", self._prefix(), wallets, stem=stem),
                connections=_FUNDING_CONNECTIONS,
                count=wallets,
            )
            self._must(self._measure(index, order))

    def warm_up(self, index: int) -> None:
        """Run a load that is thrown away: caches, plans and pools are as they will be."""
        traffic = self._traffic(Cell(Load.COLD, PEAK_CONNECTIONS))
        order = self._order(self.subjects[index].run().api, traffic, PEAK_CONNECTIONS)
        self._must(self._measure(index, order))
        self.books[index].analyze()

    def grow(self, index: int, entries: int, connections: int) -> int:
        """Add ledger entries in batches for some seconds, at most so many; return how many."""
        traffic = Traffic("bulk", self._prefix(), self.wallets, seed=next(self._numbers))
        count = max(1, min(200, math.ceil(entries / traffic.batch)))
        order = Order(
            url=self.subjects[index].run().api,
            traffic=traffic,
            connections=min(connections, count),
            count=count,
        )
        return self._must(self._measure(index, order)).entries_max

    def _peak(self, index: int) -> Tally:
        traffic = self._traffic(Cell(Load.COLD, PEAK_CONNECTIONS))
        order = self._order(self.subjects[index].run().api, traffic, PEAK_CONNECTIONS)
        # With the generator of the open loop, which costs more than wrk: else 90 % of the peak
        # might be more than both can do on this machine.
        return self._must(self._measure(index, order, with_wrk=False))

    def _must(self, measured: Measured) -> Tally:
        if measured.problem:
            raise BenchFailed(measured.problem)
        return measured.tally

    def _measure(
        self, index: int, order: Order, *, with_wrk: bool = True, sees_backlog: bool = False
    ) -> Measured:
        subject, books = self.subjects[index], self.books[index]
        pids = subject.run().pids
        opened = books.opened()
        with prepared(order, self.wrk if with_wrk else None) as load:
            try:
                before = meters.read(pids)
                if sees_backlog:
                    tally, backlog = _watched(load.run, books)
                else:
                    tally, backlog = load.run(), []
                cost = meters.cost(before, meters.read(pids))
            except ProcessLookupError as error:
                raise BenchFailed(f"{subject.name} lost a process under load: {error}") from error
        entries = (tally.entries_min, tally.entries_max)
        closed, wrong = books.closed(opened, *entries)
        problem = "; ".join(part for part in (tally.failure, wrong) if part)
        return Measured(tally, cost, opened, closed, problem, backlog)

    def _alternation(self, run: Run, measured: Measured, per_request: int) -> Alternation:
        tally, cost, subject = measured.tally, measured.cost, self.subjects[run.subject]
        opened, closed = measured.opened, measured.closed
        operations = tally.answered * per_request
        # What was on its way when the time was up has cost something too; it is one in many.
        each = 1 / operations if operations else math.nan
        return Alternation(
            session=self.session,
            subject=subject.name,
            load=run.cell.load,
            connections=run.cell.connections,
            share=run.cell.share,
            number=run.alternation,
            generator=tally.generator,
            operations=operations,
            seconds=tally.seconds,
            operations_per_second=operations / tally.seconds,
            p50_ms=tally.p50_ms,
            p95_ms=tally.p95_ms,
            p99_ms=tally.p99_ms,
            tail=tally.p99_ms / tally.p50_ms if tally.p50_ms else math.nan,
            api_us=cost.api_us * each,
            postgres_us=cost.postgres_us * each,
            worker_us=cost.worker_us * each,
            broker_us=cost.broker_us * each,
            generator_us=cost.generator_us * each,
            transactions=(closed.transactions - opened.transactions) * each,
            stat_commits=(closed.stat_commits - opened.stat_commits) * each,
            wal_bytes=(closed.wal_bytes - opened.wal_bytes) * each,
            table_bytes=(closed.table_bytes - opened.table_bytes) * each,
            idle_share=cost.idle_share,
            steal_share=cost.steal_share,
            other_share=cost.other_share,
            rss_mib=meters.rss_max_mib(subject.run().pids.api),
            problem=measured.problem,
            lateness_p99_ms=tally.lateness_p99_ms,
        )

    def _traffic(self, cell: Cell) -> Traffic:
        prefix, seed = self._prefix(), next(self._numbers)
        return traffic_of(cell.load, prefix, self.wallets, cell.connections, seed)

    def _order(
        self, url: str, traffic: Traffic, connections: int, rate: float | None = None
    ) -> Order:
        return Order(
            url=url, traffic=traffic, connections=connections, seconds=self.seconds, rate=rate
        )

    def _prefix(self) -> str:
        # Unique in all runs on this machine: request ids are remembered for ever.
        return f"b{time.time_ns() // 1_000_000:x}-{next(self._numbers)}"


def _watched(send: Any, books: Books) -> tuple[Tally, list[tuple[float, int]]]:  # noqa: ANN401
    """Send a load and look meanwhile how many events have not left yet: (seconds, rows)."""
    began, samples = time.monotonic(), []
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        while not wait([sending], timeout=_LOOK_AT_BACKLOG_S).done:
            samples.append((time.monotonic() - began, books.backlog()))
        return sending.result(), samples


def _tell_pipeline(found: Alternation, measured: Measured, books: Books, since: Any) -> None:  # noqa: ANN401
    found.backlog = measured.backlog
    found.backlog_at_end = measured.backlog[-1][1] if measured.backlog else 0
    found.is_backlog_growing = is_growing(measured.backlog, found.operations_per_second)
    books.drain(lambda _: None)
    lag = books.lag(since)
    found.lag_p50_ms, found.lag_p99_ms = lag.p50_ms, lag.p99_ms


def _speed(tally: Tally) -> float:
    return tally.answered / tally.seconds


def _latencies(tally: Tally) -> tuple[float, float, float]:
    return (tally.p50_ms, tally.p95_ms, tally.p99_ms)
