"""This module is where samples are shown to become the right figures, and verdicts after them."""

import math

import pytest

from wallet_tools.bench import wrk
from wallet_tools.bench.figures import BenchFailed, Spread, is_growing, percentile, ratio, spread
from wallet_tools.bench.meters import machine_times_us, stat_fields
from wallet_tools.bench.plan import Cell, Load
from wallet_tools.bench.reference import parse
from wallet_tools.bench.results import Summary
from wallet_tools.bench.targets import Target, judge

PGBENCH = """\
pgbench (18.4)
transaction type: <builtin: TPC-B (sort of)>
number of transactions actually processed: 13412
number of failed transactions: 0 (0.000%)
latency average = 4.771 ms
initial connection time = 60.102 ms
tps = 6706.523 (without initial connection time)
"""
WRK = """\
Running 1s test @ http://127.0.0.1:1
  1 threads and 2 connections
{"sent":103,"repeated":0,"entries":103,"answered":100,"duration_us":1000000,"p50_us":500,\
"p95_us":900,"p99_us":1500,"connect":0,"read":0,"write":0,"timeout":0,"status":3}
"""
HALF = Target("cold", Cell(Load.COLD, 64), "ratio", ">=", 1.0)
MEMORY = Target("memory", None, "rss_mib", "<", 300.0)


def a_summary(load: Load = Load.COLD, *problems: str, **figures: float) -> Summary:
    spreads = {name: Spread(value, value, value) for name, value in figures.items()}
    return Summary(
        session="s",
        subject="a",
        load=load,
        connections=64,
        share=None,
        figures=spreads,
        is_backlog_growing=False,
        problems=list(problems),
    )


def test_percentiles_are_values_that_occurred() -> None:
    """The nearest rank: no interpolation, and a percentile of nothing is no number."""
    values = list(range(1, 101))

    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7], 0.99) == 7
    assert math.isnan(percentile([], 0.5))


def test_a_ratio_is_to_the_mean_of_its_neighbours() -> None:
    """A reference that drifts is met in the middle; without any there is no ratio."""
    assert ratio(3000, [1000, 2000]) == 2.0
    assert math.isnan(ratio(3000, []))


def test_a_spread_tells_min_median_max() -> None:
    """The median is of the middle, whatever the outliers are."""
    assert spread([9.0, 1.0, 2.0]) == Spread(1.0, 2.0, 9.0)


def test_a_backlog_grows_or_is_bounded() -> None:
    """What fills at the start and then stands is bounded; what climbs to the end grows."""
    filled = [(at / 4, min(at * 100, 500)) for at in range(40)]
    climbing = [(at / 4, at * 100) for at in range(40)]

    assert not is_growing(filled, operations_per_second=1000)
    assert is_growing(climbing, operations_per_second=1000)
    assert not is_growing([], operations_per_second=1000)


def test_pgbench_is_read() -> None:
    """Throughput and average are what it prints, percentiles those of its log."""
    log = [f"0 {number} {number * 1000} 0 1767225600 1" for number in range(1, 101)]

    told = parse(PGBENCH, log)

    assert (told.operations, told.operations_per_second) == (13412, 6706.523)
    assert (told.average_ms, told.p50_ms, told.p99_ms) == (4.771, 50.0, 99.0)


@pytest.mark.parametrize("output", ["", PGBENCH.replace("transactions: 0", "transactions: 2")])
def test_a_failed_pgbench_is_no_reference(output: str) -> None:
    """Silence and failed transactions are errors, not figures."""
    with pytest.raises(BenchFailed):
        parse(output, [])


def test_an_empty_run_of_pgbench_is_no_figure() -> None:
    """Too short to do anything it tells of nothing, which is known and can be repeated."""
    told = parse(
        "number of transactions actually processed: 0\nnumber of failed transactions: 0", []
    )

    assert told.operations == 0
    assert math.isnan(told.average_ms)


def test_wrk_is_read() -> None:
    """Its line of JSON is found among its own words; answers that are no 2xx are named."""
    told = wrk.parse(WRK)

    assert (told.answered, told.p99_us) == (100, 1500)
    assert told.failure == "3 answers that are no 2xx"
    with pytest.raises(BenchFailed):
        wrk.parse("Running 1s test")


def test_processes_are_read() -> None:
    """A name with spaces and parentheses shifts no field; steal is found by its place."""
    stat = "12 (a (b) c) S 7 1 1 0 -1 0 0 0 0 0 11 22 33 44 20 0 1"
    machine = "cpu  100 0 50 800 0 0 0 50 0 0\ncpu0 1"

    assert stat_fields(stat)[1] == 7
    assert stat_fields(stat)[11:15] == [11, 22, 33, 44]
    times = machine_times_us(machine)
    assert times["steal"] / sum(times.values()) == 0.05


def test_targets_are_judged_by_the_median() -> None:
    """Met, missed, not measured, or invalid: nothing is met that was not measured rightly."""

    def verdicts(*summaries: Summary) -> list[str]:
        return [each.verdict for each in judge(summaries, [HALF, MEMORY])]

    assert verdicts(a_summary(ratio=1.0, rss_mib=299)) == ["met", "met"]
    assert verdicts(a_summary(ratio=0.99, rss_mib=300)) == ["missed", "missed"]
    assert verdicts(a_summary(Load.HOT, ratio=5)) == ["not measured", "not measured"]
    assert verdicts(a_summary(Load.COLD, "3 wrong", ratio=5, rss_mib=1)) == ["invalid", "invalid"]
