"""This module is where the chart and the page are shown to say what was measured."""

from xml.etree import ElementTree as ET

from wallet_tools.bench import chart, report
from wallet_tools.bench.plan import Load
from wallet_tools.bench.results import Alternation, ReferenceRun, Results, compare, summarize
from wallet_tools.bench.targets import judge

DATABASE = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on") | {
    "shared_buffers": "256MB",
    "server_version": "18.4",
}
SUBJECT = {"name": "this checkout", "revision": "abc1234", "libraries": {"python": "3.11"}}
MACHINE = {
    "cores": 2,
    "cpu": "a <fast> one",
    "memoryGiB": 24,
    "kernel": "Linux",
    "rabbitmq": None,
    "generators": ["wrk 4.1"],
    "database": DATABASE,
    "subjects": [SUBJECT],
}
METHOD = {"alternations": 2, "seconds": 3, "reference": "pgbench"}


def a_run(connections: int, speed: float, number: int = 0, **changes: object) -> Alternation:
    names = Alternation.__struct_fields__
    facts: dict[str, object] = dict.fromkeys(names[: names.index("problem")], 1)
    facts |= {
        "session": "1 API process",
        "subject": "this checkout",
        "load": Load.COLD,
        "connections": connections,
        "share": None,
        "number": number,
        "operations_per_second": speed,
        "generator": "wrk",
        "problem": "",
    }
    return Alternation(**(facts | changes))  # type: ignore[arg-type]  # built by name


def the_results(*runs: Alternation) -> Results:
    pgbench = ReferenceRun(
        session="1 API process",
        name="pgbench",
        connections=32,
        operations_per_second=5000,
        p50_ms=6,
        p95_ms=8,
        p99_ms=9,
    )
    for run in runs:
        run.hold_against([pgbench])
    results = Results(machine=MACHINE, method=METHOD, references=[pgbench])
    results.alternations = list(runs)
    results.summaries = summarize(runs)
    results.targets = judge(results.summaries)
    return results


def test_a_scale_is_logarithmic() -> None:
    """Equal factors are equal distances, and ticks are round numbers within the scale."""
    axis = chart.Axis(1, 100, 0, 200)

    assert [axis.place(value) for value in (1, 10, 100)] == [0, 100, 200]
    assert axis.ticks() == [1, 2, 5, 10, 20, 50, 100]


def test_a_scale_has_room_for_every_value() -> None:
    """What cannot be drawn, as an unknown latency, does not stretch it."""
    axis = chart.axis_over([3, 30, 0, float("nan")], 0, 100)

    assert 0 < axis.place(3) < axis.place(30) < 100


def test_the_chart_is_drawn() -> None:
    """It is well-formed, names its axes, and marks both the service and pgbench in each panel."""
    drawn = chart.draw(the_results(a_run(16, 4000), a_run(64, 8000)))

    root = ET.fromstring(drawn)  # noqa: S314  # our own
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert texts.count("operations per second") == 2
    assert texts.count("pgbench -c 32") == 2
    assert "cold" in texts
    assert len(lines) == 2


def test_the_page_tells_ratios_and_verdicts() -> None:
    """A line has the spread of its ratios, a target the median and whether it is met."""
    page = report.render(the_results(a_run(64, 4000, 0), a_run(64, 6000, 1), a_run(64, 10000, 2)))

    assert "0.80 - 1.20 - 2.00 x pgbench -c 32" in page
    assert "cold @64, x pgbench" in page
    assert "1.20  met" in page
    assert "these figures do not count" in page, "nobody has proved the books"


def test_a_wrong_count_is_loud() -> None:
    """One run with a problem makes the line, its target and the whole page invalid."""
    results = the_results(a_run(64, 9000), a_run(64, 9000, 1, problem="3 entries too many"))

    page = report.render(results)

    assert results.problems
    assert "INVALID: these figures do not count" in page
    assert "alternation 2: 3 entries too many" in page
    assert [each.verdict for each in results.targets if each.measured is not None] == [
        "invalid",
        "invalid",
    ]


def test_revisions_are_compared_run_by_run() -> None:
    """The ratio is of the same alternation; what one lacks is said and not computed."""
    runs = [
        a_run(64, 8000, 0),
        a_run(64, 9000, 1),
        a_run(64, 4000, 0, subject="old"),
        a_run(64, 3000, 1, subject="old"),
        a_run(8, 9000, load=Load.BULK),
    ]

    cold, bulk = compare(runs, "this checkout", "old")

    assert cold.ratio is not None
    assert (cold.ratio.min, cold.ratio.max) == (2.0, 3.0)
    assert (bulk.ratio, bulk.remark) == (None, "not in this revision: old")
