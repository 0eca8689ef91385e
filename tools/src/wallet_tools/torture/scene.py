"""This module is where a run's order is, and everything that takes part in it."""

from dataclasses import dataclass, field
from pathlib import Path

from wallet_tools.torture.clients import Asker, Crowd
from wallet_tools.torture.gauges import Gauges
from wallet_tools.torture.ground import Ground
from wallet_tools.torture.history import Violation
from wallet_tools.torture.nemesis import Nemesis
from wallet_tools.torture.plan import Fault, Kind
from wallet_tools.torture.tap import Tap
from wallet_tools.torture.watch import Watch


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is to be; `pace_s` is what a client pauses on average between two requests."""

    seed: int
    minutes: float
    kinds: tuple[Kind, ...]
    state: Path
    clients: int = 12
    pace_s: float = 0.12

    @property
    def seconds(self) -> float:
        return self.minutes * 60


@dataclass(frozen=True, slots=True)
class Scene:
    """Who takes part, and the faults that are to strike."""

    ground: Ground
    tap: Tap
    asker: Asker
    crowd: Crowd
    nemesis: Nemesis
    watch: Watch
    gauges: Gauges
    plan: list[Fault]


@dataclass(slots=True)
class Findings:
    """What came out, piece by piece; `began` is on the monotonic clock, `before` what R2 needs."""

    started_at: str
    machine: dict[str, object] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    drained_s: list[float] = field(default_factory=list)
    before: set[tuple[str, str]] = field(default_factory=set)
    proved: dict[str, int] = field(default_factory=dict)
    audit_lost: int = 0
    began: float = 0.0
    lasted_s: float = 0.0
