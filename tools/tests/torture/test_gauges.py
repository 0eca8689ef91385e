"""This module is where gauges are read: what grows is told, what only starts is not."""

import os
import random
from collections.abc import Callable

import pytest

from wallet_tools.torture.gauges import EVERY_S, leaks, open_files, resident_mib, trend

MEMORY = "api: resident MiB, the larger one"
OUTBOX = "events in the outbox"
# A run of ten minutes, and one of half an hour.
SHORT_S, LONG_S = 600.0, 1800.0


def _told(name: str, lasts_s: float, value: Callable[[float], float]) -> list[str]:
    samples = [(at * EVERY_S, value(at * EVERY_S)) for at in range(int(lasts_s / EVERY_S))]
    return [each.id for each in leaks({name: trend(samples)})]


def test_a_slope_is_that_of_the_time_after_the_start() -> None:
    """The first third climbs, the rest stays: no growth. One a second is 3 600 an hour."""
    level = [(float(at), float(min(at, 33))) for at in range(100)]
    rising = [(float(at), float(at)) for at in range(100)]

    assert trend(level).per_hour == 0
    assert (trend(level).mean, trend(level).highest) == (33, 33)
    assert trend(rising).per_hour == 3600
    assert (trend(rising).grown, trend(rising).error) == (66, 0)


def test_one_sample_has_no_slope() -> None:
    """A run that was too short to be measured twice grows by nothing."""
    assert trend([(1.0, 7.0)]).per_hour == 0


@pytest.mark.parametrize("lasts_s", [SHORT_S, LONG_S])
def test_what_grows_by_more_than_its_room_is_a_leak(lasts_s: float) -> None:
    """Four MiB a minute amid the noise of processes that come and go, or events nobody fetches."""
    source = random.Random(1)

    assert _told(MEMORY, lasts_s, lambda at: 100 + at / 15 + source.gauss(0, 8)) == ["L4"]
    assert _told(OUTBOX, lasts_s, lambda at: 13 * at + source.expovariate(1 / 350)) == ["L4"]


@pytest.mark.parametrize("lasts_s", [SHORT_S, LONG_S])
@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int, lasts_s: float) -> None:
    """Processes that are killed while they warm up, and a backlog as long as the last outage."""
    source, backlog = random.Random(seed), [0.0]

    def memory(at: float) -> float:
        return 75 + 1.5 * (at % 28) * source.random()

    def outbox(_: float) -> float:
        # The broker is away for half of the time; what came meanwhile goes out quickly.
        is_away = source.random() < 0.5
        backlog.append(backlog[-1] + 65 if is_away else backlog[-1] * 0.6)
        return backlog[-1]

    assert _told(MEMORY, lasts_s, memory) == []
    assert _told(OUTBOX, lasts_s, outbox) == []


@pytest.mark.parametrize(
    ("name", "mean", "per_hour", "scatter"),
    [
        (MEMORY, 100.2, 48.1, 3.0),
        ("api: open files, the most", 25.0, 43.5, 6.0),
        ("worker: resident MiB, the larger one", 101.3, 35.0, 5.0),
        ("worker: open files, the most", 19.1, -0.8, 3.0),
        ("connections to PostgreSQL", 8.1, 21.1, 5.0),
        (OUTBOX, 354.6, 3469.0, 300.0),
    ],
)
def test_what_a_clean_run_showed_is_no_leak(
    name: str, mean: float, per_hour: float, scatter: float
) -> None:
    """Seed 1 with every fault for 20 minutes: these were its means and slopes."""
    source = random.Random(name)

    def value(at: float) -> float:
        return mean + (at - 750) * per_hour / 3600 + source.gauss(0, scatter)

    assert _told(name, 1200.0, value) == []


def test_a_process_is_measured_and_a_dead_one_is_nothing() -> None:
    """Our own memory and files are seen; a process that is gone has none of either."""
    assert resident_mib(os.getpid()) > 1
    assert open_files(os.getpid()) > 2
    assert (resident_mib(2**22 + 1), open_files(2**22 + 1)) == (0, 0)
