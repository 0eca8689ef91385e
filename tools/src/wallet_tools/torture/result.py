"""This module is where it is summed up what a run was, did and found."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from wallet_tools.torture.gauges import Trend
from wallet_tools.torture.history import Attempt, Outcome, Role, Violation
from wallet_tools.torture.plan import Struck


class Exit(IntEnum):
    """How a run ended, as its exit code."""

    CLEAN = 0
    VIOLATED = 1
    FAILED = 2
    NOT_RUN = 3


class Second(msgspec.Struct, frozen=True):
    """One second of the run: answers that say something, those that do not, and how long."""

    at_s: int
    told: int
    unknown: int
    p50_ms: float
    p99_ms: float


class Mark(msgspec.Struct, frozen=True):
    """A fault on the time axis."""

    label: str
    kind: str
    began_s: float
    ended_s: float
    has_hit: bool


class Result(msgspec.Struct, kw_only=True):
    """Everything a report tells."""

    verdict: str
    exit_code: int
    seed: int
    minutes: float
    faults: Sequence[str]
    not_run: Sequence[str]
    missing: Sequence[str]
    machine: dict[str, Any]
    started_at: str
    operations: dict[str, dict[str, int]]
    requests: int
    answered_per_second: float
    latency_ms: dict[str, float]
    kills: dict[str, int]
    hits: dict[str, dict[str, int]]
    unknown_with_effect: int
    unknown_without_effect: int
    lost_with_effect: int
    lost_without_effect: int
    looks: int
    whole_looks: int
    looks_missed: int
    drained_s: Sequence[float]
    events: int
    events_repeated: int
    events_late: int
    audit_lost_in_killed: int
    proved: dict[str, int]
    gauges: dict[str, Trend]
    violations: Sequence[Violation]
    marks: Sequence[Mark]
    seconds: Sequence[Second]


def operations_table(history: Iterable[Attempt]) -> dict[str, dict[str, int]]:
    """Count outcomes by what was asked."""
    table: dict[str, Counter[str]] = {}
    for attempt in history:
        role, verb = attempt.intent.role, attempt.intent.verb
        name = verb.value if role is Role.FIRST else role.value
        table.setdefault(name, Counter())[attempt.answer.outcome.value] += 1
    return {name: dict(table[name]) for name in sorted(table)}


def seconds_of(history: Iterable[Attempt], began: float) -> list[Second]:
    """Return the run second by second, by the time of the answer."""
    latencies: dict[int, list[float]] = {}
    unknown: Counter[int] = Counter()
    for attempt in history:
        answer = attempt.answer
        at_s = math.floor(answer.ended - began)
        if answer.outcome is Outcome.UNKNOWN:
            unknown[at_s] += 1
        else:
            latencies.setdefault(at_s, []).append((answer.ended - answer.began) * 1000)
    every = [at_s for at_s in latencies.keys() | unknown.keys() if at_s >= 0]
    return [
        Second(
            at_s=at_s,
            told=len(latencies.get(at_s, ())),
            unknown=unknown[at_s],
            p50_ms=percentile(latencies.get(at_s, ()), 0.50),
            p99_ms=percentile(latencies.get(at_s, ()), 0.99),
        )
        for at_s in range(max(every, default=-1) + 1)
    ]


def latency_of(history: Iterable[Attempt]) -> dict[str, float]:
    """Return percentiles of the answers that told something, in milliseconds."""
    told = [
        (each.answer.ended - each.answer.began) * 1000
        for each in history
        if each.answer.outcome is not Outcome.UNKNOWN
    ]
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(told, share), 1) for name, share in shares.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share does not exceed; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def marks_of(struck: Iterable[Struck]) -> list[Mark]:
    return [
        Mark(
            each.fault.label,
            each.fault.kind.value,
            round(each.began_s, 2),
            round(each.ended_s, 2),
            each.has_hit,
        )
        for each in sorted(struck, key=lambda each: each.began_s)
    ]


def hits_of(planned: Iterable[str], struck: Iterable[Struck]) -> dict[str, dict[str, int]]:
    """Count each fault by its label: how often it was planned, tried, and hit."""
    table = {
        label: {"planned": count, "hit": 0, "missed": 0}
        for label, count in Counter(planned).items()
    }
    for each in struck:
        table[each.fault.label]["hit" if each.has_hit else "missed"] += 1
    return dict(sorted(table.items()))
