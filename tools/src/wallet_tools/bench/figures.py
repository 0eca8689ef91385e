"""This module is where samples become figures: percentiles, spreads, ratios, trends; all pure."""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

# A backlog that grows by less than this share of the throughput is noise of the sampling.
GROWTH_SHARE_MAX = 0.05


class BenchFailed(Exception):
    """The benchmark cannot go on, or was asked for what makes no sense; the message says why."""


class Spread(msgspec.Struct, frozen=True):
    """What several alternations gave."""

    min: float
    median: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    assert values, "a spread of nothing"
    return Spread(min(values), median(values), max(values))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of values in ascending order; NaN if there are none."""
    if not ordered:
        return math.nan
    rank = math.ceil(share * len(ordered))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def growth_per_second(samples: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the later half of (seconds, rows) by least squares; 0 if too few."""
    later = samples[len(samples) // 2 :]
    if len(later) < 2:
        return 0.0
    mean_at = sum(at for at, _ in later) / len(later)
    mean_rows = sum(rows for _, rows in later) / len(later)
    spread_of_at = sum((at - mean_at) ** 2 for at, _ in later)
    if not spread_of_at:
        return 0.0
    return sum((at - mean_at) * (rows - mean_rows) for at, rows in later) / spread_of_at


def is_growing(samples: Sequence[tuple[float, float]], operations_per_second: float) -> bool:
    """Whether a backlog was still growing in the later half of a load, beyond the noise."""
    return growth_per_second(samples) > GROWTH_SHARE_MAX * operations_per_second


def ratio(ours: float, references: Sequence[float]) -> float:
    """Return ours against the mean of the runs next to it; NaN without any."""
    mean = sum(references) / len(references) if references else 0.0
    return ours / mean if mean else math.nan
