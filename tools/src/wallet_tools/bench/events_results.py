"""This module is where it is laid out what `tools/dev bench events` found, and judged; pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from wallet_tools.bench.figures import Spread, ratio, spread
from wallet_tools.bench.results import Proof, Verdict

FAST_ENOUGH: Final = 8_000.0
SHARE_ENOUGH: Final = 0.6


class Part(StrEnum):
    """What runs alone, in the order of an alternation; the last is relay and consumer together."""

    BARE_PUBLISHER = "bare publisher"
    RELAY = "relay"
    BARE_CONSUMER = "bare consumer"
    CONSUMER = "consumer"
    WORKER = "worker"


BESIDE: Final = {Part.RELAY: Part.BARE_PUBLISHER, Part.CONSUMER: Part.BARE_CONSUMER}
FIGURES: Final = (
    *("events_per_second", "ratio", "part_us", "broker_us", "postgres_us"),
    *("idle_share", "steal_share", "other_share"),
)


class PartRun(msgspec.Struct, rename="camel", kw_only=True):
    """
    One run of a part. `_us` are microseconds of CPU per event: its process, the servers.

    `seconds` go from the word to begin, connecting and declaring included, until the last event
    was confirmed and removed, acknowledged or applied. Shares are of the whole machine, 0 to 1.
    """

    part: Part
    number: int
    events: int
    seconds: float
    part_us: float
    broker_us: float
    postgres_us: float
    idle_share: float
    steal_share: float
    other_share: float
    ratio: float | None = None

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


class PartSummary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A part over all alternations."""

    part: Part
    figures: dict[str, Spread]


class EventResults(msgspec.Struct, rename="camel", kw_only=True):
    """Everything, as it is written to the JSON file."""

    machine: dict[str, Any]
    method: dict[str, Any]
    runs: list[PartRun] = msgspec.field(default_factory=list)
    summaries: list[PartSummary] = msgspec.field(default_factory=list)
    targets: list[Verdict] = msgspec.field(default_factory=list)
    proofs: list[Proof] = msgspec.field(default_factory=list)
    failure: str = ""

    @property
    def problems(self) -> list[str]:
        """Return why the figures do not count; nothing if they do."""
        found = [f"it was not finished: {self.failure}"] if self.failure else []
        if not self.proofs:
            return [*found, "wallet verify did not run"]
        return found + ["the books are not proved" for each in self.proofs if not each.is_proved]


def hold_against(runs: Sequence[PartRun]) -> None:
    """Note with each run of ours its ratio to the mean of the bare ones of its alternation."""
    for run in runs:
        beside = [
            each.events_per_second
            for each in runs
            if each.number == run.number and each.part is BESIDE.get(run.part)
        ]
        if beside:
            run.ratio = ratio(run.events_per_second, beside)


def summarize(runs: Iterable[PartRun]) -> list[PartSummary]:
    """Return one summary for each part that ran, in their order."""
    groups: dict[Part, list[PartRun]] = {part: [] for part in Part}
    for run in runs:
        groups[run.part].append(run)
    return [_summary(part, group) for part, group in groups.items() if group]


def _summary(part: Part, runs: Sequence[PartRun]) -> PartSummary:
    figures = {}
    for name in FIGURES:
        known = [value for run in runs if (value := getattr(run, name)) is not None]
        if known:
            figures[name] = spread(known)
    return PartSummary(part=part, figures=figures)


def judge(summaries: Iterable[PartSummary]) -> list[Verdict]:
    """Judge relay and consumer: fast enough, or a large enough share of the bare one beside it."""
    return [
        Verdict(
            session="events",
            subject=each.part,
            claim=f"{each.part}, {claim}",
            required=f">= {required:g}",
            measured=each.figures[figure].median,
            verdict="met" if each.figures[figure].median >= required else "missed",
        )
        for each in summaries
        if each.part in BESIDE
        for claim, figure, required in (
            ("events/s", "events_per_second", FAST_ENOUGH),
            (f"x {BESIDE[each.part]}", "ratio", SHARE_ENOUGH),
        )
        if figure in each.figures
    ]
