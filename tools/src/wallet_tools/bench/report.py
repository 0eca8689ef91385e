"""This module is where the results become a page of text; pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from wallet_tools.bench.figures import Spread
from wallet_tools.bench.plan import Load, reference_of
from wallet_tools.bench.results import Comparison, Proof, Results, Summary, Verdict

_HEAD: Final = (
    f"{'load':<19}{'ops/s':>8}{'p50':>8}{'p95':>8}{'p99 ms':>8}{'API us':>8}{'PG us':>7}"
    f"{'commits':>9}{'WAL B':>7}{'tab. B':>7}{'idle':>6}{'steal':>6}{'other':>6}  against"
)
_NOTES: Final = """\
Medians of the alternations; us, commits (transactions that write), WAL and table bytes are per
operation; idle, steal and other (processes that take no part) are shares of the whole machine.
Bulk counts commands; its latencies are those of a whole body."""
_NOISE_SHARE: Final = 0.10


def render(results: Results) -> str:
    """Return the page: machine, loads, growth and comparison if asked for, targets, verdict."""
    parts = [_machine(results.machine, results.method), _loads(results.summaries)]
    parts += [_changes(results.summaries), _comparisons(results.comparisons)]
    parts += [_targets(results.targets), _remarks(results), _proofs(results.proofs)]
    parts.append(_end(results.problems))
    return "\n\n".join(part for part in parts if part)


def _machine(machine: dict[str, Any], method: dict[str, Any]) -> str:
    database = machine["database"]
    names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    settings = ", ".join(f"{name} {database[name]}" for name in names)
    subjects = [
        f"{each['name']}: {each['revision']}, Python {each['libraries']['python']}, "
        + ", ".join(f"{k} {v}" for k, v in each["libraries"].items() if k != "python")
        for each in machine["subjects"]
    ]
    lines = [
        f"{machine['cores']} x {machine['cpu']}, {machine['memoryGiB']} GiB, {machine['kernel']}",
        (
            f"PostgreSQL {database['server_version']} ({settings}); "
            f"RabbitMQ {machine['rabbitmq'] or 'none'}"
        ),
        *subjects,
        (
            f"{method['alternations']} alternations of {method['seconds']} s, each beside"
            f" {method['reference']}; generators: {', '.join(machine['generators'])}"
        ),
    ]
    return "\n".join(lines)


def _loads(summaries: Sequence[Summary]) -> str:
    lines = []
    for title, group in groupby(summaries, key=lambda each: f"{each.session}, {each.subject}"):
        lines += [title, _HEAD, *(line for each in group for line in _lines_of(each)), ""]
    return "\n".join([*lines, _NOTES]) if lines else "nothing was measured"


def _lines_of(summary: Summary) -> Iterator[str]:
    m = summary.median
    yield (
        f"{summary.cell.label:<19}{m('operations_per_second'):>8,.0f}"
        f"{m('p50_ms'):>8.2f}{m('p95_ms'):>8.2f}{m('p99_ms'):>8.2f}"
        f"{m('api_us'):>8.1f}{m('postgres_us'):>7.1f}{m('transactions'):>9.3f}"
        f"{m('wal_bytes'):>7.0f}{m('table_bytes'):>7.0f}"
        f"{m('idle_share'):>6.0%}{m('steal_share'):>6.0%}{m('other_share'):>6.0%}"
        f"  {_against(summary)}{'  INVALID' if summary.problems else ''}"
    )
    if summary.load is Load.PIPELINE:
        grows = "GROWING" if summary.is_backlog_growing else "bounded"
        yield (
            f"{'':<4}event lag p50 {m('lag_p50_ms'):.0f} ms, p99 {m('lag_p99_ms'):.0f} ms;"
            f" backlog {grows}, {m('backlog_at_end'):,.0f} events at the end;"
            f" worker {m('worker_us'):.0f} us, broker {m('broker_us'):.0f} us"
        )
    noise = max(m("other_share"), m("steal_share"))
    if noise > _NOISE_SHARE:
        yield f"{'':<4}noisy: {noise:.0%} of the machine was somebody else's"


def _against(summary: Summary) -> str:
    reference = reference_of(summary.cell, 0)
    if summary.load is Load.OPEN:
        lateness = summary.median("lateness_p99_ms")
        return f"p99 {summary.median('tail'):.1f} x p50; generator late by {lateness:.2f} ms (p99)"
    ratio = summary.figures.get("ratio")
    if ratio is None:
        return "-"
    name = reference.name if reference.name == "bare" else f"pgbench -c {reference.connections}"
    text = f"{_spread(ratio)} x {name}"
    latency = summary.median("latency_ratio")
    if reference.connections == 1 and not math.isnan(latency):
        text += f", p50 {latency:.1f} x"
    return text


def _changes(summaries: Sequence[Summary]) -> str:
    """Return, cell by cell, how much the later session differs from the first, if it was grown."""
    sessions = list(dict.fromkeys(each.session for each in summaries))
    if len(sessions) != 2 or "growth" not in sessions[0]:
        return ""
    before = {each.cell: each for each in summaries if each.session == sessions[0]}
    head = f"{'load':<19}{'ratio before':>14}{'after':>8}{'change':>8}"
    lines = ["growth", f"{head}{'table B before':>16}{'after':>8}"]
    for later in summaries:
        earlier = before.get(later.cell)
        if later.session != sessions[1] or earlier is None:
            continue
        old, new = earlier.median("ratio"), later.median("ratio")
        change = new / old - 1 if old else math.nan
        lines.append(
            f"{later.cell.label:<19}{old:>14.2f}{new:>8.2f}{change:>+8.0%}"
            f"{earlier.median('table_bytes'):>16.0f}{later.median('table_bytes'):>8.0f}"
            f"{'' if abs(change) <= 0.1 else '  not within 10 %'}"
        )
    return "\n".join(lines)


def _comparisons(comparisons: Iterable[Comparison]) -> str:
    lines = []
    for each in comparisons:
        label = f"{each.load} @{each.connections}"
        label += "" if each.share is None else f" {each.share:.0%}"
        told = _spread(each.ratio) if each.ratio else each.remark
        lines.append(f"{each.session}  {label:<20} {told}")
    return "\n".join(
        ["this checkout / the other revision, min - median - max", *lines] * bool(lines)
    )


def _targets(verdicts: Iterable[Verdict]) -> str:
    lines = []
    for title, group in groupby(verdicts, key=lambda each: f"{each.session}, {each.subject}"):
        lines.append(f"targets ({title})")
        unknown = []
        for each in group:
            if each.measured is None:
                unknown.append(each.claim)
                continue
            told = f"{each.required:>9}{each.measured:>10.2f}  {each.verdict}"
            lines.append(f"  {each.claim:<36}{told}")
        if unknown:
            lines.append(f"  not measured: {'; '.join(unknown)}")
    return "\n".join(lines)


def _remarks(results: Results) -> str:
    return "\n".join(results.remarks)


def _proofs(proofs: Iterable[Proof]) -> str:
    lines = []
    for each in proofs:
        if each.is_proved:
            lines.append(f"wallet verify of {each.subject}, at rest: the books are right")
        else:
            lines.append(f"wallet verify of {each.subject} FAILED:\n{each.said}")
    return "\n".join(lines) or "wallet verify did not run: these figures do not count"


def _end(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    shown = "\n".join(f"  {each}" for each in problems[:20])
    return f"INVALID: these figures do not count\n{shown}"


def _spread(values: Spread) -> str:
    return f"{values.min:.2f} - {values.median:.2f} - {values.max:.2f}"
