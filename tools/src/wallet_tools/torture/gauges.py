"""This module is where it is measured whether anything grows that should not."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Final

import asyncpg
import msgspec

from wallet_tools.torture.ground import Ground
from wallet_tools.torture.history import Violation
from wallet_tools.torture.quick import AWAY

EVERY_S: Final = 5.0
_KINDS: Final = ("api", "worker")
_RESIDENT: Final = "resident MiB, the larger one"
_FILES: Final = "open files, the most"
_CONNECTIONS: Final = "connections to PostgreSQL"
_OUTBOX: Final = "events in the outbox"
# What starts is growing: caches, pools and plans fill in the first part of a run.
_COLD_SHARE: Final = 1 / 3
# Fitted is the lowest of so long: what has leaked is there in quiet moments too, a backlog is not.
_BLOCK_S: Final = 60.0
# A shorter run has too few of them to tell growth from noise.
JUDGED_FROM_S: Final = 600.0
# By how much a gauge may have grown when a run is over, which is twice and more what clean runs
# with every fault did in 13 minutes. The outbox is as long as the broker was away lately: its
# room is a fifth of what comes in meanwhile.
_ROOM: Final = {_RESIDENT: 24.0, _FILES: 24.0, _CONNECTIONS: 12.0, _OUTBOX: 2_000.0}
# Nor is it a leak that the scatter about the slope explains.
_ERRORS: Final = 3.0
_ASK: Final = """
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'wallet-%'),
        (SELECT count(*) FROM outbox)
"""


class Trend(msgspec.Struct, frozen=True):
    """
    A gauge after the first third of a run: its mean, its highest, and how it grows per hour.

    `grown` is what the slope makes of that time, `error` its standard error; `lows` are fitted.
    """

    mean: float
    highest: float
    per_hour: float
    grown: float = 0.0
    error: float = 0.0
    lows: Sequence[float] = ()


class Gauges:
    """Samples memory and files of the services, their connections, and the outbox."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.samples: dict[str, list[tuple[float, float]]] = {}

    async def run(self) -> None:
        """Sample until the task is cancelled; what cannot be asked just now is left out."""
        while True:
            at = time.monotonic()
            for kind in _KINDS:
                pids = [part.pid for part in self._ground.of_kind(kind) if part.pid]
                self._note(f"{kind}: {_RESIDENT}", at, filter(None, map(resident_mib, pids)))
                self._note(f"{kind}: {_FILES}", at, filter(None, map(open_files, pids)))
            try:
                connections, waiting = await self._ask()
            except AWAY:
                pass
            else:
                self._note(_CONNECTIONS, at, [connections])
                self._note(_OUTBOX, at, [waiting])
            await asyncio.sleep(EVERY_S)

    def trends(self) -> dict[str, Trend]:
        """Return how each gauge went, without the beginning."""
        return {name: trend(samples) for name, samples in self.samples.items()}

    async def _ask(self) -> tuple[int, int]:
        connection = await asyncpg.connect(self._ground.admin_url, timeout=2, command_timeout=5)
        try:
            row = await connection.fetchrow(_ASK)
        finally:
            connection.terminate()
        return row[0], row[1]

    def _note(self, name: str, at: float, values: Iterable[float]) -> None:
        """Keep the highest; of processes that are all dead just now there is nothing to keep."""
        highest = max(values, default=None)
        if highest is not None:
            self.samples.setdefault(name, []).append((at, highest))


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    """Return the trend of (seconds, value): least squares over the lowest of each minute."""
    first, last = samples[0][0], samples[-1][0]
    begin = first + (last - first) * _COLD_SHARE
    warm = [(at, value) for at, value in samples if at >= begin]
    blocks: dict[int, list[tuple[float, float]]] = {}
    for at, value in warm:
        blocks.setdefault(int((at - begin) / _BLOCK_S), []).append((at, value))
    lows = [min(block, key=itemgetter(1)) for block in blocks.values()]
    slope, error = _fitted(lows)
    lasted_s = last - begin
    return Trend(
        round(fmean(value for _, value in warm), 1),
        round(max(value for _, value in warm), 1),
        round(slope * 3600, 1),
        round(slope * lasted_s, 1),
        round(error * lasted_s, 1),
        [round(value, 1) for _, value in lows],
    )


def _fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the least squares, and its standard error; 0 where there is none."""
    mean_s, mean = fmean(at for at, _ in points), fmean(value for _, value in points)
    spread = sum((at - mean_s) ** 2 for at, _ in points)
    if not spread:
        return 0.0, 0.0
    slope = sum((at - mean_s) * (value - mean) for at, value in points) / spread
    left = sum((value - mean - slope * (at - mean_s)) ** 2 for at, value in points)
    free = len(points) - 2
    return slope, (left / free / spread) ** 0.5 if free else 0.0


def leaks(trends: Mapping[str, Trend]) -> Iterator[Violation]:
    """L4: nothing grows by more than its room, unless its own scatter may have done it."""
    for name, each in trends.items():
        room = _ROOM[name.rpartition(": ")[2]]
        if each.grown > room and each.grown > _ERRORS * each.error:
            what = f"{name}: grew by {each.grown:g} ± {each.error:g}, and {room:g} is no leak"
            rows = (f"the lowest of each minute: {', '.join(map(str, each.lows))}",)
            yield Violation(id="L4", what=what, rows=rows)


def resident_mib(pid: int) -> float:
    """Return the memory that a process holds; 0 if it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(pid: int) -> int:
    """Return how many files and sockets a process has open; 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # only how many
    except OSError:
        return 0
