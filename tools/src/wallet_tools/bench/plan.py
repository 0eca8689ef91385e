"""This module is where it is decided what runs in which order; pure, nothing is started here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

PGBENCH_CLIENTS: Final = 32
BULK_CONNECTIONS: Final = 12
BULK_COMMANDS: Final = 500
PEAK_CONNECTIONS: Final = 64
PIPELINE_CONNECTIONS: Final = 64
REPLAYS_CONNECTIONS: Final = 64
HOLDS_CONNECTIONS: Final = 64
OPEN_SHARES: Final = (0.25, 0.5, 0.75, 0.9)
# Seconds that a step needs beside its load: starting, counting, settling.
_STEP_OVERHEAD_S: Final = 0.8
_PREPARATION_S: Final = 45.0


class Load(StrEnum):
    COLD = "cold"
    HOT = "hot"
    MIXED = "mixed"
    REPLAYS = "replays"
    HOLDS = "holds"
    READS = "reads"
    BULK = "bulk"
    PIPELINE = "pipeline"
    OPEN = "open"


QUICK_LOADS: Final = (Load.COLD, Load.HOT, Load.MIXED, Load.READS, Load.PIPELINE)
_AT_EACH_CONNECTION_COUNT: Final = (Load.COLD, Load.HOT, Load.MIXED, Load.READS)
_FIXED_CONNECTIONS: Final = {
    Load.REPLAYS: REPLAYS_CONNECTIONS,
    Load.HOLDS: HOLDS_CONNECTIONS,
    Load.BULK: BULK_CONNECTIONS,
    Load.PIPELINE: PIPELINE_CONNECTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for."""

    alternations: int
    seconds: int
    connections: tuple[int, ...]
    loads: tuple[Load, ...]
    api_processes: tuple[int, ...]
    grow_entries: int
    compared_revision: str | None
    json_file: Path | None
    svg_file: Path | None
    folder: Path
    scale: int
    wallets: int
    generator: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the report: a load at so many connections, an open one at a share of the peak."""

    load: Load
    connections: int
    share: float | None = None

    @property
    def label(self) -> str:
        at = f"@{self.connections}" if self.share is None else f" at {self.share:.0%} of peak"
        return f"{self.load}{at}"

    @property
    def is_paused(self) -> bool:
        """Whether worker and supervisor stand still, so that the write path is alone."""
        return self.load is not Load.PIPELINE


@dataclass(frozen=True, slots=True)
class Reference:
    """What a load is held against: pgbench, a bare handler, or the peak of one's own generator."""

    name: str
    connections: int
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One alternation of a cell on one of the subjects."""

    cell: Cell
    subject: int
    alternation: int


Step = Reference | Run


def cells(loads: Sequence[Load], connections: Sequence[int]) -> list[Cell]:
    """Return the lines of the report in their order."""
    found: list[Cell] = []
    for load in loads:
        if load in _AT_EACH_CONNECTION_COUNT:
            found += [Cell(load, count) for count in connections]
        elif load is Load.OPEN:
            found += [Cell(load, PEAK_CONNECTIONS, share) for share in OPEN_SHARES]
        else:
            found.append(Cell(load, _FIXED_CONNECTIONS[load]))
    return found


def reference_of(cell: Cell, subject: int) -> Reference:
    match cell.load:
        case Load.READS:
            return Reference("bare", cell.connections)
        case Load.OPEN:
            return Reference("peak", cell.connections, subject)
        case _:
            clients = 1 if cell.connections == 1 else PGBENCH_CLIENTS
            return Reference("pgbench", clients)


def steps(wanted: Sequence[Cell], alternations: int, subjects: int) -> list[Step]:
    """
    Return the alternations: reference, load, reference, load, ..., reference.

    Every round goes through all cells, so that a slow drift of the machine touches all alike.
    Two loads with the same reference share the run between them; a load on several subjects has
    them one after the other, the first going first in every other round only.
    """
    found: list[Step] = []
    for alternation in range(alternations):
        order = range(subjects) if alternation % 2 == 0 else reversed(range(subjects))
        subjects_in_turn = list(order)
        peaks = [cell for cell in wanted if cell.load is Load.OPEN]
        for cell in (each for each in wanted if each.load is not Load.OPEN):
            reference = reference_of(cell, 0)
            if not found or found[-1] != reference:
                found.append(reference)
            found += [Run(cell, subject, alternation) for subject in subjects_in_turn]
            found.append(reference)
        for subject in subjects_in_turn if peaks else []:
            found.append(reference_of(peaks[0], subject))
            found += [Run(cell, subject, alternation) for cell in peaks]
    return found


def neighbours(planned: Sequence[Step], index: int) -> Iterator[int]:
    """Yield where the reference runs next to a load stand: the last one before, the first after."""
    step = planned[index]
    assert isinstance(step, Run), "a reference has none of its own"
    wanted = reference_of(step.cell, step.subject)
    before = [at for at in range(index) if planned[at] == wanted]
    yield from before[-1:]
    if wanted.name != "peak":
        after = [at for at in range(index + 1, len(planned)) if planned[at] == wanted]
        yield from after[:1]


def phases(settings: Settings, missing: frozenset[Load] = frozenset()) -> list[list[Step]]:
    """Return the steps with everything running, then those with the worker paused."""
    subjects = 1 if settings.compared_revision is None else 2
    every = cells([each for each in settings.loads if each not in missing], settings.connections)
    # The pipeline goes first: what the paused loads leave behind would have to be drained for it.
    running = [cell for cell in every if not cell.is_paused]
    paused = [cell for cell in every if cell.is_paused]
    return [steps(part, settings.alternations, subjects) for part in (running, paused)]


def seconds_of(planned: Sequence[Sequence[Step]], seconds: int) -> float:
    """Estimate how long a session takes, without the draining after it."""
    count = sum(len(part) for part in planned)
    return _PREPARATION_S + count * (seconds + _STEP_OVERHEAD_S)
