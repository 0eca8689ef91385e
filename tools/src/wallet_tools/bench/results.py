"""This module is where it is laid out what a benchmark found, as its JSON file has it."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from wallet_tools.bench.figures import Spread, ratio, spread
from wallet_tools.bench.plan import Cell, Load

# Of each of these a summary has the spread over the alternations, where they were measured.
FIGURES: Final = (
    "operations_per_second",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "tail",
    "ratio",
    "latency_ratio",
    "api_us",
    "postgres_us",
    "worker_us",
    "broker_us",
    "generator_us",
    "transactions",
    "stat_commits",
    "wal_bytes",
    "table_bytes",
    "idle_share",
    "steal_share",
    "other_share",
    "rss_mib",
    "backlog_at_end",
    "lag_p50_ms",
    "lag_p99_ms",
    "lateness_p99_ms",
)


class ReferenceRun(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One run of what a load is held against; latencies in milliseconds."""

    session: str
    name: str
    connections: int
    operations_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Alternation(msgspec.Struct, rename="camel", kw_only=True):
    """
    One run of a load. `_ms` are milliseconds, `_us` microseconds of CPU per operation.

    `transactions` (those that write), `stat_commits`, `wal_bytes` and `table_bytes` are per
    operation too; shares are of the whole machine, from 0 to 1. `problem` says why the figures
    do not count; it is empty if they do.
    """

    session: str
    subject: str
    load: Load
    connections: int
    share: float | None
    number: int
    generator: str
    operations: int
    seconds: float
    operations_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    api_us: float
    postgres_us: float
    worker_us: float
    broker_us: float
    generator_us: float
    transactions: float
    stat_commits: float
    wal_bytes: float
    table_bytes: float
    idle_share: float
    steal_share: float
    other_share: float
    rss_mib: float
    problem: str
    rate: float | None = None
    lateness_p99_ms: float | None = None
    backlog: list[tuple[float, int]] = msgspec.field(default_factory=list)
    backlog_at_end: int | None = None
    is_backlog_growing: bool | None = None
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    references: list[ReferenceRun] = msgspec.field(default_factory=list)
    ratio: float | None = None
    latency_ratio: float | None = None
    tail: float = math.nan

    @property
    def cell(self) -> Cell:
        return Cell(self.load, self.connections, self.share)

    def hold_against(self, references: list[ReferenceRun]) -> None:
        """Note the reference runs next to this one, and the ratios to their mean."""
        self.references = references
        speeds = [each.operations_per_second for each in references]
        self.ratio = ratio(self.operations_per_second, speeds)
        self.latency_ratio = ratio(self.p50_ms, [each.p50_ms for each in references])


class Summary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A cell of one subject in one session: the spread of each figure over its alternations."""

    session: str
    subject: str
    load: Load
    connections: int
    share: float | None
    figures: dict[str, Spread]
    is_backlog_growing: bool
    problems: list[str]

    @property
    def cell(self) -> Cell:
        return Cell(self.load, self.connections, self.share)

    def median(self, figure: str) -> float:
        """Return the median of a figure; NaN if it was not measured."""
        found = self.figures.get(figure)
        return math.nan if found is None else found.median


class Verdict(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A target and what became of it: met, missed, not measured or invalid."""

    session: str
    subject: str
    claim: str
    required: str
    measured: float | None
    verdict: str


class Proof(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What `wallet verify` of a subject said at the end."""

    subject: str
    is_proved: bool
    said: str


class Comparison(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One cell on two subjects: operations per second of the first against the second."""

    session: str
    load: Load
    connections: int
    share: float | None
    ratio: Spread | None
    remark: str


class Results(msgspec.Struct, rename="camel", kw_only=True):
    """Everything, as it is written to the JSON file."""

    machine: dict[str, Any]
    method: dict[str, Any]
    references: list[ReferenceRun] = msgspec.field(default_factory=list)
    alternations: list[Alternation] = msgspec.field(default_factory=list)
    summaries: list[Summary] = msgspec.field(default_factory=list)
    comparisons: list[Comparison] = msgspec.field(default_factory=list)
    targets: list[Verdict] = msgspec.field(default_factory=list)
    proofs: list[Proof] = msgspec.field(default_factory=list)
    remarks: list[str] = msgspec.field(default_factory=list)
    failure: str = ""

    @property
    def problems(self) -> list[str]:
        """Return why the figures do not count; nothing if they do."""
        found = [f"it was not finished: {self.failure}"] if self.failure else []
        found += [
            f"{each.session}, {each.subject}, {each.cell.label}, alternation {each.number + 1}:"
            f" {each.problem}"
            for each in self.alternations
            if each.problem
        ]
        return found + [
            f"{each.subject}: the books are not proved, see above"
            for each in self.proofs
            if not each.is_proved
        ]


def summarize(alternations: Iterable[Alternation]) -> list[Summary]:
    """Return one summary for each session, subject and cell, in the order of their first run."""
    groups: dict[tuple[str, str, Cell], list[Alternation]] = {}
    for each in alternations:
        groups.setdefault((each.session, each.subject, each.cell), []).append(each)
    return [_summary(*key, group) for key, group in groups.items()]


def _summary(
    session: str, subject: str, cell: Cell, alternations: Sequence[Alternation]
) -> Summary:
    figures: dict[str, Spread] = {}
    for name in FIGURES:
        values = [getattr(each, name) for each in alternations]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if known:
            figures[name] = spread(known)
    return Summary(
        session=session,
        subject=subject,
        load=cell.load,
        connections=cell.connections,
        share=cell.share,
        figures=figures,
        is_backlog_growing=any(each.is_backlog_growing for each in alternations),
        problems=[each.problem for each in alternations if each.problem],
    )


def compare(alternations: Sequence[Alternation], first: str, second: str) -> list[Comparison]:
    """Return, for each cell, the ratios of the two subjects' runs of the same alternation."""
    found: dict[tuple[str, Cell], dict[str, dict[int, float]]] = {}
    for each in alternations:
        of_subject = found.setdefault((each.session, each.cell), {}).setdefault(each.subject, {})
        of_subject[each.number] = each.operations_per_second
    comparisons = []
    for (session, cell), by_subject in found.items():
        ours, theirs = by_subject.get(first, {}), by_subject.get(second, {})
        ratios = [ours[at] / theirs[at] for at in ours if theirs.get(at)]
        missing = first if not ours else second
        comparisons.append(
            Comparison(
                session=session,
                load=cell.load,
                connections=cell.connections,
                share=cell.share,
                ratio=spread(ratios) if ratios else None,
                remark="" if ratios else f"not in this revision: {missing}",
            )
        )
    return comparisons
