"""This module is where a run's one page is written: as text, as JSON and as a drawing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from wallet_tools.torture import chart
from wallet_tools.torture.result import Result

_VIOLATIONS_SHOWN: Final = 10
_ROWS_SHOWN: Final = 12


def write(result: Result, folder: Path) -> Path:
    """Write the three files, named by seed and length, and return the text's."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"torture-seed{result.seed}-{result.minutes:g}min"
    page = folder / f"{name}.md"
    page.write_text(text(result) + f"\n![throughput and latency]({name}.svg)\n")
    encoded = msgspec.json.format(msgspec.json.encode(result), indent=1)
    (folder / f"{name}.json").write_bytes(encoded + b"\n")
    (folder / f"{name}.svg").write_text(chart.draw(result))
    return page


def text(result: Result) -> str:
    """Return the page for people."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Result) -> Iterator[str]:
    yield f"# Torture: {result.verdict}"
    yield ""
    yield (
        f"Seed {result.seed}, {result.minutes:g} minutes, faults {', '.join(result.faults)};"
        f" begun {result.started_at}."
    )
    yield (
        f"Again: `wallet torture --minutes {result.minutes:g} --seed {result.seed}"
        f" --faults {','.join(result.faults)}`"
    )
    for reason in result.not_run:
        yield f"Not run: {reason}."
    for reason in result.missing:
        yield f"MISSING: {reason}."
    yield ""
    yield from _table(("on", ""), result.machine.items())
    yield ""
    yield from _table(("what", ""), _figures(result).items())
    yield ""
    yield from _table(("killed", "times"), result.kills.items())
    yield ""
    names: tuple[str, ...] = ("ok", "fail", "unknown", "finding")
    yield from _table(("requests", *names), _counts(result.operations, names))
    yield ""
    names = ("planned", "hit", "missed")
    yield from _table(("fault", *names), _counts(result.hits, names))
    yield ""
    gauges = (
        (name, each.mean, each.highest, each.per_hour, f"{each.grown:g} ± {each.error:g}")
        for name, each in result.gauges.items()
    )
    head = ("after the first third", "mean", "highest", "grows per hour", "has grown")
    yield from _table(head, gauges)
    yield ""
    yield from _table(("proved at the end", "rows"), result.proved.items())
    yield from _violations(result)


def _figures(result: Result) -> dict[str, object]:
    latency = ", ".join(f"{name} {value:g} ms" for name, value in result.latency_ms.items())
    drained = ", ".join(f"{each:.1f} s" for each in result.drained_s)
    return {
        "requests": result.requests,
        "answers that told something, per second": f"{result.answered_per_second:.1f}",
        "their latency": latency,
        "operations of unknown outcome, each resolved by its key": result.unknown_with_effect
        + result.unknown_without_effect,
        "… its effect was there": result.unknown_with_effect,
        "… no answer came at all: the fault struck after COMMIT": result.lost_with_effect,
        "… there was no effect": result.unknown_without_effect,
        "… no answer came at all: the fault struck before COMMIT": result.lost_without_effect,
        "looks at the books under load": result.looks,
        "… of them at every invariant": result.whole_looks,
        "… that found no database": result.looks_missed,
        "quiet again after healing, and after resolving": drained,
        "events, each heard by the tap": result.events,
        "… heard again (harmless)": result.events_repeated,
        "… heard at first after a later one of its wallet": result.events_late,
        "audit rows of refusals that waited in a killed process": result.audit_lost_in_killed,
        "violations": len(result.violations),
    }


def _violations(result: Result) -> Iterator[str]:
    for each in result.violations[:_VIOLATIONS_SHOWN]:
        yield ""
        yield f"## {each.id}: {each.what} {f'({each.wallet})' if each.wallet else ''}"
        yield "```"
        yield from each.rows[:_ROWS_SHOWN]
        yield "```"
    left = len(result.violations) - _VIOLATIONS_SHOWN
    if left > 0:
        yield ""
        yield f"… and {left} more; all are in the JSON file."


def _counts(
    table: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    for what, counts in table.items():
        yield (what, *(counts.get(name, 0) for name in names))


def _table(head: Sequence[str], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
