"""This module is where a run is drawn over time: throughput, latency, and the faults; as SVG."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from wallet_tools.torture.result import Mark, Result, Second

_WIDTH: Final = 1180
_LEFT: Final = 70
_RIGHT: Final = 1150
_PANELS: Final = ((60, 240), (290, 470))
_LANES_TOP: Final = 510
_LANE: Final = 16
# Told apart also by those who see colours otherwise.
_COLOURS: Final = {
    "kill": "#d55e00",
    "stop": "#cc79a7",
    "pg": "#0072b2",
    "broker": "#009e73",
    "lock": "#8c6d1f",
    "proxy": "#5b3f9e",
    "clock": "#56b4e9",
    "disk": "#444444",
}
_FONT: Final = "font-family='DejaVu Sans, Verdana, sans-serif'"
_LATENCY_MS: Final = (1.0, 10_000.0)


def draw(result: Result) -> str:
    """Return the SVG: throughput above, latency below it, a row of marks for each fault kind."""
    kinds = [kind for kind in _COLOURS if kind in result.faults]
    height = _LANES_TOP + _LANE * len(kinds) + 30
    length_s = max([each.at_s for each in result.seconds] + [1])
    title = f"wallet torture, seed {result.seed}, {result.minutes:g} min: {result.verdict}"
    parts = [
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}'"
            f" viewBox='0 0 {_WIDTH} {height}'>"
        ),
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        _text(_LEFT, 28, title, 16),
        *_shades(result.marks, length_s),
        *_throughput(result.seconds, length_s),
        *_latency(result.seconds, length_s),
        *_lanes(result.marks, kinds, length_s),
        *_times(length_s, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _throughput(seconds: Sequence[Second], length_s: int) -> Iterator[str]:
    top, bottom = _PANELS[0]
    most = max([each.told + each.unknown for each in seconds] + [1])
    yield from _frame(top, bottom, "answers per second (dark) and unknown outcomes (red)")
    for share in (0.0, 0.5, 1.0):
        yield _text(
            _LEFT - 8, bottom - share * (bottom - top) + 4, f"{share * most:.0f}", 11, "end"
        )
    for colour, values in (
        ("#222222", [each.told for each in seconds]),
        ("#d00000", [each.unknown for each in seconds]),
    ):
        places = [
            (_x(at_s, length_s), bottom - value / most * (bottom - top))
            for at_s, value in enumerate(values)
        ]
        yield _line(places, colour)


def _latency(seconds: Sequence[Second], length_s: int) -> Iterator[str]:
    top, bottom = _PANELS[1]
    yield from _frame(top, bottom, "latency in ms: p50 (dark), p99 (blue), logarithmic")
    low, high = map(math.log10, _LATENCY_MS)
    for power in range(int(low), int(high) + 1):
        y = bottom - (power - low) / (high - low) * (bottom - top)
        yield _text(_LEFT - 8, y + 4, f"{10**power:g}", 11, "end")
    for colour, name in (("#222222", "p50_ms"), ("#0072b2", "p99_ms")):
        places = []
        for each in seconds:
            value = math.log10(min(max(getattr(each, name), _LATENCY_MS[0]), _LATENCY_MS[1]))
            y = bottom - (value - low) / (high - low) * (bottom - top)
            if each.told:
                places.append((_x(each.at_s, length_s), y))
        yield _line(places, colour)


def _shades(marks: Sequence[Mark], length_s: int) -> Iterator[str]:
    """Mark in both panels where something struck."""
    for mark in marks:
        if mark.has_hit:
            x = _x(mark.began_s, length_s)
            for top, bottom in _PANELS:
                yield (
                    f"<line x1='{x:.1f}' y1='{top}' x2='{x:.1f}' y2='{bottom}'"
                    f" stroke='{_COLOURS[mark.kind]}' stroke-width='0.6' opacity='0.35'/>"
                )


def _lanes(marks: Sequence[Mark], kinds: Sequence[str], length_s: int) -> Iterator[str]:
    for number, kind in enumerate(kinds):
        y = _LANES_TOP + number * _LANE
        yield _text(_LEFT - 8, y + 9, kind, 11, "end")
        for mark in marks:
            if mark.kind == kind:
                x, width = _x(mark.began_s, length_s), _x(mark.ended_s, length_s)
                opacity = 0.9 if mark.has_hit else 0.25
                yield (
                    f"<rect x='{x:.1f}' y='{y}' width='{max(1.5, width - x):.1f}' height='10'"
                    f" fill='{_COLOURS[kind]}' opacity='{opacity}'>"
                    f"<title>{escape(mark.label)} at {mark.began_s:.1f} s</title></rect>"
                )


def _times(length_s: int, height: int) -> Iterator[str]:
    step = next(s for s in (5, 10, 30, 60, 120, 300, 600, 10**9) if length_s / s <= 20)
    for at_s in range(0, length_s + 1, step):
        label = f"{at_s // 60}:{at_s % 60:02}"
        yield _text(_x(at_s, length_s), height - 8, label, 11, "middle")


def _frame(top: int, bottom: int, title: str) -> Iterator[str]:
    yield (
        f"<rect x='{_LEFT}' y='{top}' width='{_RIGHT - _LEFT}' height='{bottom - top}'"
        " fill='none' stroke='#bbbbbb'/>"
    )
    yield _text(_LEFT, top - 8, title, 12)


def _line(places: Sequence[tuple[float, float]], colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.1'/>"


def _x(at_s: float, length_s: int) -> float:
    return _LEFT + min(1.0, at_s / length_s) * (_RIGHT - _LEFT)


def _text(x: float, y: float, what: str, size: int, anchor: str = "start") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' {_FONT}>"
        f"{escape(what)}</text>"
    )
