"""This module is where it is decided which fault strikes whom and when; pure, one seed one plan."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The families of faults that a run may ask for."""

    KILL = "kill"
    STOP = "stop"
    PG = "pg"
    BROKER = "broker"
    LOCK = "lock"
    PROXY = "proxy"
    CLOCK = "clock"
    DISK = "disk"


class Lane(StrEnum):
    """Whom a fault strikes; those of one lane strike one after the other."""

    API = "api"
    WORKER = "worker"
    POSTGRES = "postgres"
    RABBITMQ = "rabbitmq"
    LOCK = "lock"
    WIRE = "wire"
    CLOCK = "clock"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    A fault that comes again and again: every `every_s` on average, lasting up to `longest_s`.

    `also` is another kind that it needs, as a kill on a wire that fell silent does.
    """

    kind: Kind
    lane: Lane
    name: str
    every_s: float
    longest_s: float = 0.0
    weight: int = 1
    also: Kind | None = None


# One list per rhythm: whenever its time comes, one of the list is drawn by weight. The four that
# kill come every 14 s: at least 67 of each in 20 minutes, though a broker needs seconds to start.
RHYTHMS: Final[tuple[tuple[Recipe, ...], ...]] = (
    (Recipe(Kind.KILL, Lane.API, "kill", 14.0),),
    (Recipe(Kind.KILL, Lane.WORKER, "kill", 14.0),),
    (
        Recipe(Kind.PG, Lane.POSTGRES, "immediate", 14.0, weight=2),
        Recipe(Kind.PG, Lane.POSTGRES, "kill", 14.0),
    ),
    (Recipe(Kind.PG, Lane.POSTGRES, "terminate", 17.0),),
    (Recipe(Kind.BROKER, Lane.RABBITMQ, "kill", 14.0),),
    (
        Recipe(Kind.BROKER, Lane.RABBITMQ, "stop_app", 60.0, 3.0),
        Recipe(Kind.BROKER, Lane.RABBITMQ, "alarm", 60.0, 3.0),
        Recipe(Kind.BROKER, Lane.RABBITMQ, "close", 60.0),
    ),
    (
        Recipe(Kind.STOP, Lane.API, "stop", 24.0, 4.0),
        Recipe(Kind.STOP, Lane.WORKER, "stop", 24.0, 6.0),
    ),
    (
        Recipe(Kind.LOCK, Lane.LOCK, "wallet", 12.0, 4.0, weight=3),
        Recipe(Kind.LOCK, Lane.LOCK, "ledger_entries", 12.0, 2.5),
        Recipe(Kind.LOCK, Lane.LOCK, "outbox", 12.0, 2.5),
        Recipe(Kind.LOCK, Lane.LOCK, "api_audit", 12.0, 2.5),
    ),
    (
        Recipe(Kind.PROXY, Lane.WIRE, "delay", 11.0, 3.0),
        Recipe(Kind.PROXY, Lane.WIRE, "cut", 11.0),
        Recipe(Kind.PROXY, Lane.WIRE, "dark", 11.0, 3.0),
        Recipe(Kind.PROXY, Lane.WIRE, "swallow_commit", 11.0, 6.0, weight=2),
        Recipe(Kind.PROXY, Lane.WIRE, "swallow_confirm", 11.0, 8.0, weight=2),
    ),
    (
        Recipe(Kind.PROXY, Lane.API, "kill_after_commit", 19.0, 6.0, also=Kind.KILL),
        Recipe(Kind.PROXY, Lane.API, "kill_before_commit", 19.0, 0.3, also=Kind.KILL),
    ),
    (Recipe(Kind.CLOCK, Lane.CLOCK, "jump", 25.0, 8.0),),
    (Recipe(Kind.DISK, Lane.DISK, "full", 40.0, 5.0),),
)
# Nothing new strikes so shortly before the end: what lasts has to end within the run.
_QUIET_END_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes `at_s` into the run, for `seconds`; `pick` in [0, 1) chooses its victim."""

    at_s: float
    kind: Kind
    lane: Lane
    name: str
    seconds: float
    pick: float

    @property
    def label(self) -> str:
        return f"{self.kind} {self.lane} {self.name}"


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it came true: when it began and ended, in seconds of the run; or why it missed."""

    fault: Fault
    began_s: float
    ended_s: float
    has_hit: bool


def schedule(seed: int, seconds: float, kinds: Collection[Kind]) -> list[Fault]:
    """Return the faults of a run in their order; the same seed, length and kinds, the same plan."""
    faults = []
    for number, rhythm in enumerate(RHYTHMS):
        recipes = [each for each in rhythm if is_wanted(each, kinds)]
        # Each rhythm has a source of its own: a kind left out changes no other's times.
        source = random.Random(f"faults {seed} {number}")
        if recipes:
            faults += _beats(source, recipes, seconds)
    return sorted(faults, key=lambda fault: (fault.at_s, fault.label))


def is_wanted(recipe: Recipe, kinds: Collection[Kind]) -> bool:
    return recipe.kind in kinds and (recipe.also is None or recipe.also in kinds)


def _beats(source: random.Random, recipes: Sequence[Recipe], seconds: float) -> list[Fault]:
    faults = []
    every_s = recipes[0].every_s
    at_s = source.uniform(0.1, 0.9) * every_s
    while at_s < seconds - _QUIET_END_S:
        recipe = source.choices(recipes, [each.weight for each in recipes])[0]
        lasting = source.uniform(0.4, 1.0) * recipe.longest_s
        pick = source.random()
        faults.append(
            Fault(round(at_s, 2), recipe.kind, recipe.lane, recipe.name, round(lasting, 2), pick)
        )
        at_s += every_s * source.uniform(0.75, 1.25)
    return faults


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """Return the kinds of a list like "kill,pg", or of "all"; raises ValueError."""
    if text == "all":
        return tuple(Kind)
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Kind)]
    if unknown or not names:
        known = ",".join(Kind)
        raise ValueError(f"no fault is called {', '.join(unknown) or 'nothing'}; there are {known}")
    return tuple(kind for kind in Kind if kind in names)
