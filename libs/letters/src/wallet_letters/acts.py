"""
This module is where operators act on letters: written down first, done then.

The operator log and the archive are in the database, also when the letters are on the broker.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import msgspec

from wallet_db_orm import operator_log
from wallet_db_orm.database import Database
from wallet_db_orm.discarded import Discarded
from wallet_db_orm.operator_log import Act
from wallet_letters.letters import Held, Letter, LetterBox, called

# Letters put back at a time, their confirms awaited together.
_BATCH: Final = 100
# A long replay lets go now and then, and whenever only its pace is waited for, so that others may
# look meanwhile: a request of theirs is not that patient.
_HOLD_S: Final = 1.5
_PAUSE_S: Final = 0.25

Choose = Callable[[Sequence[Letter]], Sequence[Letter]]
Progress = Callable[[int, int], None]


class Replayed(msgspec.Struct):
    """What came of a replay: how many are back, why others are not (by name), how many wait."""

    done: int = 0
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    remaining: int = 0


class Pace(msgspec.Struct, frozen=True):
    """How fast letters are put back, and how long at most; None for as fast as it goes, for all."""

    per_second: float | None = None
    seconds_max: float | None = None


async def look(box: LetterBox) -> Sequence[Letter]:
    """Return the letters as they are."""
    async with box.opened() as held:
        return held.letters


async def replay(
    box: LetterBox,
    database: Database,
    operator: str,
    choose: Choose,
    pace: Pace = Pace(),  # noqa: B008  # frozen
    progress: Progress = lambda _done, _total: None,
) -> Replayed:
    """
    Put the letters that `choose` picks back into their queues, oldest first, each once.

    One that dies again meanwhile rests again, with its replay counted. Raises LettersAway, and
    what `choose` raises.
    """
    run = _Run(database, operator, pace, progress)
    async with box.opened() as held:
        run.choose(choose(held.letters))
        await run.go_on(held)
    while run.todo and not run.is_over:
        await asyncio.sleep(run.pause_s)
        async with box.opened() as held:
            await run.go_on(held)
    run.replayed.remaining = len(run.todo)
    return run.replayed


async def discard(
    box: LetterBox, database: Database, operator: str, wanted: str, reason: str
) -> Letter:
    """
    Throw a letter away, after it was put whole into the archive; returns it.

    Raises NoSuchLetter and LettersAway.
    """
    async with box.opened() as held:
        letter = called(held.letters, wanted)
        act = _act(operator, "letter.discard", letter, reason=reason)
        await operator_log.note(database.primary, [act])
        await held.discard(letter, _archived(letter, operator, reason), database)
        return letter


class _Run:
    """One replay, which may take many holds."""

    def __init__(self, database: Database, operator: str, pace: Pace, progress: Progress) -> None:
        self._log = database.primary
        self._operator = operator
        self._pace = pace
        self._progress = progress
        # The clock starts with the letters in hand.
        self._started_s = self._next_s = monotonic()
        self._total = 0
        self.todo: list[str] = []
        self.replayed = Replayed()

    def choose(self, letters: Sequence[Letter]) -> None:
        self.todo = [letter.name for letter in letters]
        self._total = len(letters)
        self._started_s = monotonic()

    @property
    def is_over(self) -> bool:
        seconds_max = self._pace.seconds_max
        return seconds_max is not None and monotonic() - self._started_s > seconds_max

    @property
    def pause_s(self) -> float:
        """How long others may have the letters: at least until the next one is due."""
        due_s = self._next_s
        if self._pace.seconds_max is not None:
            due_s = min(due_s, self._started_s + self._pace.seconds_max)
        return max(_PAUSE_S, due_s - monotonic())

    async def go_on(self, held: Held) -> None:
        """Put back what is still to do, until it is time to let go."""
        until_s = monotonic() + _HOLD_S
        # What could not go while others had the letters is not made up for.
        self._next_s = max(self._next_s, monotonic())
        here = {letter.name: letter for letter in held.letters}
        # What is no longer there somebody else has dealt with.
        self.todo = [name for name in self.todo if name in here]
        while self.todo and not self.is_over and monotonic() < until_s:
            batch = [here[name] for name in self.todo[: self._due()]]
            if batch:
                await self._put_back(held, batch)
                self._progress(self._total - len(self.todo), self._total)
            elif self._next_s - monotonic() > _PAUSE_S:
                return
            else:
                await asyncio.sleep(_PAUSE_S / 10)

    def _due(self) -> int:
        """Return how many letters may go now."""
        late_s = monotonic() - self._next_s
        if self._pace.per_second is None:
            return _BATCH
        return 0 if late_s < 0 else min(_BATCH, 1 + int(late_s * self._pace.per_second))

    async def _put_back(self, held: Held, batch: Sequence[Letter]) -> None:
        acts = [_act(self._operator, "letter.replay", each) for each in batch]
        await operator_log.note(self._log, acts)
        if self._pace.per_second is not None:
            self._next_s += len(batch) / self._pace.per_second
        refused = await held.put_back(batch)
        failed = [
            _act(self._operator, "letter.replay_refused", each, reason=refused[each.name])
            for each in batch
            if each.name in refused
        ]
        await operator_log.note(self._log, failed)
        del self.todo[: len(batch)]
        self.replayed.refused |= refused
        self.replayed.done += len(batch) - len(refused)


def _act(operator: str, act: str, letter: Letter, **more: str) -> Act:
    details: dict[str, Any] = {
        "name": letter.name,
        "queue": letter.queue,
        "routingKey": letter.routing_key,
        "group": letter.group,
        "errorClass": letter.error_class,
        "error": letter.error,
        "replays": letter.replays,
        "size": len(letter.body),
    }
    return Act(operator=operator, act=act, subject=letter.id, details=details | more)


def _archived(letter: Letter, operator: str, reason: str) -> Discarded:
    first_at, last_at = letter.first_failed_at, letter.last_failed_at
    return Discarded(
        letter_id=letter.id,
        queue=letter.queue,
        routing_key=letter.routing_key,
        headers=msgspec.json.encode(letter.headers).decode(),
        body=letter.body,
        error=letter.error,
        error_class=letter.error_class,
        attempts=letter.attempts,
        replays=letter.replays,
        first_failed_at=first_at.isoformat() if first_at else None,
        last_failed_at=last_at.isoformat() if last_at else None,
        operator=operator,
        reason=reason,
    )
