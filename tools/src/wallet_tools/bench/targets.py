"""This module is where it stands what is expected of the service, as ratios from one run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wallet_tools.bench.plan import (
    BULK_CONNECTIONS,
    PEAK_CONNECTIONS,
    PIPELINE_CONNECTIONS,
    Cell,
    Load,
)
from wallet_tools.bench.results import Summary, Verdict


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for the median of a figure in one cell, or for its maximum over all cells."""

    claim: str
    cell: Cell | None
    figure: str
    sign: str
    bound: float

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.sign == ">=" else value < self.bound


TARGETS: Final = (
    Target("cold @64, x pgbench", Cell(Load.COLD, 64), "ratio", ">=", 1.0),
    Target("cold @256, x pgbench", Cell(Load.COLD, 256), "ratio", ">=", 1.2),
    Target("hot @256, x pgbench", Cell(Load.HOT, 256), "ratio", ">=", 1.2),
    Target("mixed @256, x pgbench", Cell(Load.MIXED, 256), "ratio", ">=", 0.8),
    Target("bulk, commands, x pgbench", Cell(Load.BULK, BULK_CONNECTIONS), "ratio", ">=", 4.0),
    Target(
        "pipeline @64, x pgbench", Cell(Load.PIPELINE, PIPELINE_CONNECTIONS), "ratio", ">=", 0.5
    ),
    Target(
        "pipeline @64, event lag p99 in ms",
        Cell(Load.PIPELINE, PIPELINE_CONNECTIONS),
        "lag_p99_ms",
        "<",
        1000.0,
    ),
    Target("reads @256, x bare handler", Cell(Load.READS, 256), "ratio", ">=", 0.35),
    Target("one connection, p50, x pgbench's", Cell(Load.COLD, 1), "latency_ratio", "<", 3.0),
    Target(
        "open at half of peak, p99 x p50", Cell(Load.OPEN, PEAK_CONNECTIONS, 0.5), "tail", "<", 10.0
    ),
    Target("memory of an API process in MiB", None, "rss_mib", "<", 300.0),
)


def judge(summaries: Sequence[Summary], targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Return a verdict on each target for each session and subject that was measured."""
    subjects = dict.fromkeys((each.session, each.subject) for each in summaries)
    verdicts = []
    for session, subject in subjects:
        theirs = [each for each in summaries if (each.session, each.subject) == (session, subject)]
        verdicts += [_verdict(session, subject, theirs, target) for target in targets]
    return verdicts


def _verdict(session: str, subject: str, summaries: Sequence[Summary], target: Target) -> Verdict:
    if target.cell is None:
        found = [each for each in summaries if target.figure in each.figures]
        value = max((each.figures[target.figure].max for each in found), default=math.nan)
    else:
        found = [each for each in summaries if each.cell == target.cell]
        value = found[0].median(target.figure) if found else math.nan
    if math.isnan(value):
        word = "not measured"
    elif any(each.problems for each in found):
        word = "invalid"
    else:
        word = "met" if target.is_met(value) else "missed"
    return Verdict(
        session=session,
        subject=subject,
        claim=target.claim,
        required=f"{target.sign} {target.bound:g}",
        measured=None if math.isnan(value) else value,
        verdict=word,
    )
