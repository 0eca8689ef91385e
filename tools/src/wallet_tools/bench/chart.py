"""This module is where latency is drawn against throughput, as SVG; pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from wallet_tools.bench.plan import Load
from wallet_tools.bench.results import Results

_WIDTH: Final = 1180
_HEIGHT: Final = 560
_PANEL: Final = 490
_TOP: Final = 70
_BOTTOM: Final = 480
_LEFTS: Final = (70, 650)
_LEGEND_Y: Final = 535
# Told apart also by those who see colours otherwise.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d1f", "#56b4e9", "#5b3f9e")
_REFERENCE_COLOUR: Final = "#444444"
_FONT: Final = "font-family='DejaVu Sans, Verdana, sans-serif'"


@dataclass(frozen=True, slots=True)
class Point:
    """Operations per second, latency in milliseconds, and what is written beside it."""

    operations: float
    ms: float
    label: str


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: tuple[Point, ...]
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic scale from `low` to `high` onto pixels."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return 1, 2 and 5 times the powers of ten within the scale."""
        first = math.floor(math.log10(self.low))
        last = math.ceil(math.log10(self.high))
        every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
        return [tick for tick in every if self.low <= tick * 1.000001 and tick <= self.high]


def axis_over(values: Iterable[float], start: float, end: float) -> Axis:
    """Return a scale that has room around every value."""
    known = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    return Axis(min(known) / 1.4, max(known) * 1.4, start, end)


def series_of(results: Results, figure: str) -> list[Series]:
    """Return a line for each load that has several points, and the reference runs as marks."""
    lines: dict[str, list[Point]] = {}
    sessions = {each.session for each in results.summaries}
    subjects = {each.subject for each in results.summaries}
    for each in results.summaries:
        name = each.load.value
        name += f", {each.subject}" if len(subjects) > 1 else ""
        name += f", {each.session}" if len(sessions) > 1 else ""
        label = f"{each.share:.0%}" if each.load is Load.OPEN and each.share else each.connections
        point = Point(each.median("operations_per_second"), each.median(figure), str(label))
        lines.setdefault(name, []).append(point)
    found = [Series(name, tuple(points)) for name, points in lines.items() if len(points) > 1]
    return found + _references(results, figure)


def _references(results: Results, figure: str) -> list[Series]:
    runs: dict[tuple[str, int], list[Point]] = {}
    for each in results.references:
        if each.name == "pgbench":
            point = Point(each.operations_per_second, getattr(each, figure), "")
            runs.setdefault((each.name, each.connections), []).append(point)
    return [
        Series(f"{name} -c {clients}", (_middle(points, f"{name} -c {clients}"),), True)
        for (name, clients), points in sorted(runs.items())
    ]


def _middle(points: Sequence[Point], label: str) -> Point:
    speeds = sorted(point.operations for point in points)
    latencies = sorted(point.ms for point in points)
    return Point(speeds[len(speeds) // 2], latencies[len(latencies) // 2], label)


def draw(results: Results) -> str:
    """Return the SVG: p50 on the left, p99 on the right, both on the same scales."""
    panels = [series_of(results, figure) for figure in ("p50_ms", "p99_ms")]
    points = [point for panel in panels for series in panel for point in series.points]
    names = [series.name for series in panels[0] if not series.is_reference]
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}
    revisions = ", ".join(each["revision"] for each in results.machine["subjects"])
    title = f"Latency against throughput, {revisions}, beside pgbench in the same run"
    parts = [
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}'"
            f" viewBox='0 0 {_WIDTH} {_HEIGHT}'>"
        ),
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='white'/>",
        _text(_LEFTS[0], 28, title, size=16, anchor="start"),
    ]
    for left, name, panel in zip(_LEFTS, ("p50", "p99"), panels, strict=True):
        across = axis_over((point.operations for point in points), left, left + _PANEL)
        upward = axis_over((point.ms for point in points), _BOTTOM, _TOP)
        parts += _frame(across, upward, f"latency {name} in ms")
        parts += [part for each in panel for part in _line(each, across, upward, colours)]
    return "\n".join([*parts, *_legend(colours), "</svg>"]) + "\n"


def _frame(across: Axis, upward: Axis, name: str) -> list[str]:
    left, right = across.start, across.end
    parts = [
        (
            f"<rect x='{left}' y='{_TOP}' width='{right - left}' height='{_BOTTOM - _TOP}'"
            " fill='none' stroke='#888888'/>"
        ),
        _text((left + right) / 2, _BOTTOM + 36, "operations per second", size=12),
        _text(left, _TOP - 12, name, size=13, anchor="start"),
    ]
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(_stroke(x, _TOP, x, _BOTTOM))
        parts.append(_text(x, _BOTTOM + 16, _number(tick), size=11))
    for tick in upward.ticks():
        y = upward.place(tick)
        parts.append(_stroke(left, y, right, y))
        parts.append(_text(left - 6, y + 4, _number(tick), size=11, anchor="end"))
    return parts


def _line(series: Series, across: Axis, upward: Axis, colours: dict[str, str]) -> list[str]:
    known = [each for each in series.points if each.operations > 0 and each.ms > 0]
    places = [(across.place(each.operations), upward.place(each.ms)) for each in known]
    colour = colours.get(series.name, _REFERENCE_COLOUR)
    if series.is_reference:
        return [_diamond(x, y, each.label) for (x, y), each in zip(places, known, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"]
    for (x, y), each in zip(places, known, strict=True):
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>")
        parts.append(_text(x + 7, y - 6, each.label, size=10, anchor="start", colour=colour))
    return parts


def _diamond(x: float, y: float, label: str) -> str:
    corners = f"{x},{y - 7} {x + 7},{y} {x},{y + 7} {x - 7},{y}"
    mark = f"<polygon points='{corners}' fill='{_REFERENCE_COLOUR}'/>"
    return mark + _text(x, y + 20, label, size=11, colour=_REFERENCE_COLOUR)


def _legend(colours: dict[str, str]) -> list[str]:
    parts: list[str] = []
    x: float = _LEFTS[0]
    for name, colour in colours.items():
        parts.append(f"<rect x='{x}' y='{_LEGEND_Y - 9}' width='14' height='10' fill='{colour}'/>")
        parts.append(_text(x + 20, _LEGEND_Y, name, size=12, anchor="start"))
        x += 44 + 7.5 * len(name)
    note = "numbers: connections, or share of the peak"
    return [*parts, _text(_WIDTH - 40, _LEGEND_Y, note, size=11, anchor="end")]


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='#e4e4e4'/>"


def _text(
    x: float, y: float, text: str, *, size: int, anchor: str = "middle", colour: str = "#222222"
) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}'"
    return f"<text {place} {_FONT}>{escape(text)}</text>"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
