"""This module is where what the events' benchmark found becomes a page of text; pure."""

from collections.abc import Sequence
from typing import Any, Final

from wallet_tools.bench.events_results import BESIDE, EventResults, Part, PartSummary
from wallet_tools.bench.figures import Spread
from wallet_tools.bench.results import Verdict

_HEAD: Final = (
    f"{'part':<16}{'events/s':>24}{'part us':>9}{'broker':>8}{'PG us':>7}"
    f"{'idle':>6}{'steal':>6}{'other':>6}  against"
)
_NOTES: Final = """\
events/s and ratios: min - median - max of the alternations; all else medians. us are CPU time per
event: of the part's own process, the broker, PostgreSQL. Every part begins unconnected, and ends
with the last event confirmed (relay: removed, and in the feed), acknowledged, or applied. idle,
steal and other (processes that take no part) are shares of the whole machine."""
_NOISE_SHARE: Final = 0.10


def render(results: EventResults) -> str:
    """Return the page: machine, parts, targets, verdict."""
    parts = [_machine(results.machine, results.method), _parts(results.summaries)]
    parts += [_targets(results.targets), _end(results)]
    return "\n\n".join(part for part in parts if part)


def _machine(machine: dict[str, Any], method: dict[str, Any]) -> str:
    subject = machine["subjects"][0]
    libraries = subject["libraries"]
    lines = [
        (
            f"{machine['cores']} x {machine['cpu']}, {machine['memoryGiB']} GiB,"
            f" {machine['kernel']}; Python {libraries['python']}, uvloop {libraries['uvloop']}"
        ),
        (
            f"PostgreSQL {machine['database']['server_version']}"
            f" (fsync {machine['database']['fsync']}), RabbitMQ {machine['rabbitmq']}"
        ),
        (
            f"{subject['revision']}: {method['alternations']} alternations of"
            f" {method['events']:,} events, two deposits to a withdrawal, over"
            f" {method['wallets']:,} wallets; persistent, confirmed, quorum queues"
        ),
    ]
    return "\n".join(lines)


def _parts(summaries: Sequence[PartSummary]) -> str:
    lines = [line for each in summaries for line in _lines_of(each)]
    return "\n".join([_HEAD, *lines, "", _NOTES]) if lines else "nothing was measured"


def _lines_of(summary: PartSummary) -> list[str]:
    m = {name: each.median for name, each in summary.figures.items()}
    line = (
        f"{summary.part:<16}{_spread(summary.figures['events_per_second'], 0):>24}"
        f"{m['part_us']:>9.0f}{m['broker_us']:>8.0f}{m['postgres_us']:>7.0f}"
        f"{m['idle_share']:>6.0%}{m['steal_share']:>6.0%}{m['other_share']:>6.0%}"
    )
    if "ratio" in m:
        line += f"  {_spread(summary.figures['ratio'], 2)} x {BESIDE[summary.part]}"
    elif summary.part is Part.WORKER:
        line += "  relay and consumer in one process"
    noise = max(m["other_share"], m["steal_share"])
    if noise <= _NOISE_SHARE:
        return [line]
    return [line, f"{'':<4}noisy: {noise:.0%} of the machine was somebody else's"]


def _targets(verdicts: Sequence[Verdict]) -> str:
    lines = [
        f"  {each.claim:<36}{each.required:>9}{each.measured or 0:>10.2f}  {each.verdict}"
        for each in verdicts
    ]
    return "\n".join(["targets: one of the two of each part", *lines] * bool(lines))


def _end(results: EventResults) -> str:
    lines = [
        "wallet verify, at rest: the books are right"
        if each.is_proved
        else f"wallet verify FAILED:\n{each.said}"
        for each in results.proofs
    ]
    if results.problems:
        lines += ["INVALID: these figures do not count", *(f"  {p}" for p in results.problems)]
    return "\n".join(lines)


def _spread(values: Spread, digits: int) -> str:
    return " - ".join(f"{value:,.{digits}f}" for value in (values.min, values.median, values.max))
