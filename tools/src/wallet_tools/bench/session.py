"""This module is where a whole session runs: warm-up, alternations, growth; step by step, told."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wallet_tools.bench.bed import Bed
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.plan import (
    BULK_CONNECTIONS,
    PGBENCH_CLIENTS,
    Load,
    Reference,
    Run,
    Settings,
    Step,
    neighbours,
    phases,
    seconds_of,
)
from wallet_tools.bench.results import Alternation, ReferenceRun, Results


@dataclass(slots=True)
class Progress:
    """Says what runs, how far it is, and how long it still takes."""

    steps_left: int
    seconds_left: float
    _steps_done: int = 0
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def over(cls, sessions: int, settings: Settings) -> "Progress":
        planned = phases(settings) * sessions
        return cls(sum(len(part) for part in planned), seconds_of(planned, settings.seconds))

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def stepped(self, text: str, seconds: float) -> None:
        """Tell of a step that took so long."""
        self._steps_done += 1
        self.steps_left = max(0, self.steps_left - 1)
        # A running mean: the first steps know little about the rest.
        pace = self.seconds_left / (self.steps_left + 1)
        pace += (seconds - pace) / min(self._steps_done + 1, 20)
        self.seconds_left = pace * self.steps_left
        total = self._steps_done + self.steps_left
        self.say(f"[{self._steps_done}/{total}] {text}; still about {duration(self.seconds_left)}")

    def drop(self, steps: int) -> None:
        """Take steps out that were planned and cannot be run."""
        pace = self.seconds_left / max(self.steps_left, 1)
        self.steps_left -= steps
        self.seconds_left -= pace * steps


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def run_session(bed: Bed, settings: Settings, progress: Progress, results: Results) -> None:
    """
    Run every alternation that was planned and add what was measured to the results.

    Raises:
        BenchFailed: a stack broke; what was measured until then is in the results.
    """
    planned = phases(settings)
    possible = [runnable(part, bed, results) for part in planned]
    progress.drop(sum(map(len, planned)) - sum(map(len, possible)))
    running, paused = possible
    progress.say(f"{bed.session}: warming up")
    for index in range(len(bed.subjects)):
        bed.warm_up(index)
    bed.reference(Reference("pgbench", PGBENCH_CLIENTS))
    if running:
        for books in bed.books:
            books.drain(progress.say)
        _run_steps(bed, running, progress, results)
    with contextlib.ExitStack() as pauses:
        for subject, books in zip(bed.subjects, bed.books, strict=True):
            pauses.enter_context(subject.paused(books.worker_is_in_transaction))
        _run_steps(bed, paused, progress, results)
    for subject in bed.subjects:
        if not subject.is_whole():
            raise BenchFailed(f"a process of {subject.name} has died; see {subject.state.logs}")


def drain(bed: Bed, progress: Progress) -> None:
    """Let every worker finish: the books are at rest, and can be proved."""
    progress.say("draining: what the paused loads left behind takes effect now")
    for books in bed.books:
        books.drain(progress.say)


def grow(bed: Bed, entries: int, progress: Progress) -> None:
    """
    Add so many ledger entries through POST /v1/batches; their events wait in the outbox.

    Raises:
        BenchFailed: this revision has no such route.
    """
    if not bed.subjects[0].has_batches():
        raise BenchFailed("--grow: POST /v1/batches is not in this revision (404)")
    began, told, done = time.monotonic(), time.monotonic(), 0
    with bed.subjects[0].paused(bed.books[0].worker_is_in_transaction):
        while done < entries:
            done += bed.grow(0, entries - done, BULK_CONNECTIONS)
            now = time.monotonic()
            if now - told > 5 or done >= entries:
                left = duration((now - began) / done * max(0, entries - done))
                progress.say(f"grown by {done:,} of {entries:,} entries; still about {left}")
                told = now
        bed.books[0].analyze()


def runnable(planned: Sequence[Step], bed: Bed, results: Results) -> list[Step]:
    """Return the steps without those whose route a subject does not have, and remark on it."""
    if not any(isinstance(step, Run) and step.cell.load is Load.BULK for step in planned):
        return list(planned)
    lacking = [at for at, subject in enumerate(bed.subjects) if not subject.has_batches()]
    for at in lacking:
        remark = f"bulk: POST /v1/batches is not in this revision ({bed.subjects[at].name}; 404)"
        if remark not in results.remarks:
            results.remarks.append(remark)
    return without_bulk(planned, lacking)


def without_bulk(planned: Iterable[Step], lacking: Sequence[int]) -> list[Step]:
    """Return the steps without bulk loads on these subjects; no reference runs twice in a row."""
    found: list[Step] = []
    for step in planned:
        if isinstance(step, Run) and step.cell.load is Load.BULK and step.subject in lacking:
            continue
        if isinstance(step, Reference) and found and found[-1] == step:
            continue
        found.append(step)
    return found


def _run_steps(bed: Bed, planned: list[Step], progress: Progress, results: Results) -> None:
    runs: dict[int, Alternation] = {}
    references: dict[int, ReferenceRun] = {}
    try:
        _run_each(bed, planned, progress, results, runs, references)
    finally:
        for index, run in runs.items():
            beside = [references[at] for at in neighbours(planned, index) if at in references]
            run.hold_against(beside)


def _run_each(
    bed: Bed,
    planned: list[Step],
    progress: Progress,
    results: Results,
    runs: dict[int, Alternation],
    references: dict[int, ReferenceRun],
) -> None:
    for index, step in enumerate(planned):
        began = time.monotonic()
        found: ReferenceRun | Alternation
        if isinstance(step, Reference):
            found = references[index] = bed.reference(step)
            results.references.append(found)
            what = f"{step.name} @{step.connections}"
        else:
            found = runs[index] = bed.run(step)
            results.alternations.append(found)
            name = f"{found.subject}: " if len(bed.subjects) > 1 else ""
            what = f"{name}{step.cell.label}"
            if found.problem:
                progress.say(f"INVALID {what}: {found.problem}")
        text = f"{what}: {found.operations_per_second:,.0f}/s, p50 {found.p50_ms:.2f} ms"
        progress.stepped(text, time.monotonic() - began)
