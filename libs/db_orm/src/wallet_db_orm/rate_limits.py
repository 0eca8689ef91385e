"""
This module is where requests are drawn from token buckets that all processes share.

A process draws a little ahead, about what it will need in a moment, so that most requests cost no
statement; who needs one at the same time shares it. See docs/adr/0024.
"""

import asyncio
from hashlib import sha256
from itertools import islice
from math import ceil
from time import monotonic
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Row, Trouble, statement, trouble

# What is drawn ahead is for so long; what is left of it then is lost.
AHEAD_S: Final = 0.1
KEPT_S: Final = 0.5
BATCH_MAX: Final = 256
# No statement is waited for longer, its repetition on a new connection included.
PATIENCE_S: Final = 5.0
_DRAWERS_MAX: Final = 10_000
# Buckets that are full again need no row; each process looks so often for some.
_SWEEP_S: Final = 60.0


class Limit(msgspec.Struct, frozen=True):
    """So many requests a second, and so many at once after a rest."""

    per_second: float
    burst: float

    @property
    def capacity(self) -> float:
        """What a full bucket holds: at least one, or nothing would ever pass."""
        return max(1.0, self.burst)

    @property
    def ahead_max(self) -> int:
        """The most that is drawn at once, waiting requests aside."""
        return max(1, int(self.per_second * AHEAD_S))


class _Drawer(msgspec.Struct):
    """What this process has drawn from one bucket, and who waits for more."""

    left: int = 0
    kept_until_s: float = 0.0
    # Before then nothing can be in the bucket, whoever asks.
    empty_until_s: float = 0.0
    drawn_at_s: float = 0.0
    passed: int = 0
    waiting: list[asyncio.Future[float]] = msgspec.field(default_factory=list)

    def wanted(self, now: float, limit: Limit) -> int:
        """Return how much to draw: for those who wait, or what was needed lately in this time."""
        lately = ceil(self.passed * AHEAD_S / max(now - self.drawn_at_s, AHEAD_S / 10))
        wanted = max(len(self.waiting), min(lately, limit.ahead_max))
        return min(wanted, int(limit.capacity))

    def called(self, count: int) -> list[asyncio.Future[float]]:
        """Take the first of those who wait; who has left meanwhile needs nothing."""
        called, self.waiting = self.waiting[:count], self.waiting[count:]
        return [turn for turn in called if not turn.done()]

    def is_idle(self, now: float) -> bool:
        return not self.waiting and self.kept_until_s <= now and self.empty_until_s <= now


class Buckets:
    """The buckets of one kind, all of the same limit."""

    def __init__(self, engine: AsyncEngine, kind: str, limit: Limit) -> None:
        self._engine = engine
        self._kind = kind
        self._limit = limit
        self._drawers: dict[str, _Drawer] = {}
        self._asked: dict[str, _Drawer] = {}
        self._running: asyncio.Task[None] | None = None
        self._swept_at_s = monotonic()

    async def take(self, name: str) -> float:
        """
        Take one request out of the bucket of `name`: 0, or the seconds until there may be one.

        Raises what the database raises.
        """
        now = monotonic()
        drawer = self._drawers.get(name) or self._open(name, now)
        if drawer.left and now < drawer.kept_until_s:
            drawer.left -= 1
            drawer.passed += 1
            return 0.0
        if now < drawer.empty_until_s:
            return drawer.empty_until_s - now
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        drawer.waiting.append(turn)
        self._asked[name] = drawer
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await turn

    def _open(self, name: str, now: float) -> _Drawer:
        if len(self._drawers) >= _DRAWERS_MAX:
            kept = {each: old for each, old in self._drawers.items() if not old.is_idle(now)}
            # If all of them are busy, who does not wait right now has to draw anew.
            busy = {each: old for each, old in kept.items() if old.waiting}
            self._drawers = kept if len(kept) < _DRAWERS_MAX else busy
        drawer = self._drawers[name] = _Drawer()
        return drawer

    async def _run(self) -> None:
        try:
            while self._asked:
                names = list(islice(self._asked, BATCH_MAX))
                await self._draw({name: self._asked.pop(name) for name in names})
                if self._swept_at_s + _SWEEP_S <= monotonic():
                    self._swept_at_s = monotonic()
                    await self._sweep()
        finally:
            self._running = None

    async def _draw(self, drawers: dict[str, _Drawer]) -> None:
        """Answer all who wait, whatever happens."""
        now = monotonic()
        by_id = {self._id(name): drawer for name, drawer in drawers.items() if drawer.waiting}
        wanted = [drawer.wanted(now, self._limit) for drawer in by_id.values()]
        asking = {each: len(drawer.waiting) for each, drawer in by_id.items()}
        try:
            rows = await self._ask(list(by_id), wanted) if by_id else []
        except Exception as error:  # noqa: BLE001  # handed to the callers
            for each, drawer in by_id.items():
                for turn in drawer.called(asking[each]):
                    turn.set_exception(error)
            return
        for row in rows:
            self._deal(by_id[row.id], asking[row.id], row)

    def _deal(self, drawer: _Drawer, asking: int, row: Row) -> None:
        """Give out what was drawn: to those who asked for it, then to who has come since."""
        now, left = monotonic(), row.granted
        one_is_in_s = row.full_in_s - (self._limit.capacity - 1) / self._limit.per_second
        wait_s = max(one_is_in_s, 0.001)
        drawer.drawn_at_s, drawer.passed = now, 0
        for turn in drawer.called(asking):
            turn.set_result(0.0 if left else wait_s)
            if not left:
                drawer.empty_until_s = now + wait_s
            drawer.passed += bool(left)
            left -= bool(left)
        for turn in drawer.called(left):
            turn.set_result(0.0)
            drawer.passed += 1
            left -= 1
        drawer.left, drawer.kept_until_s = left, now + KEPT_S

    async def _ask(self, ids: list[str], wanted: list[int]) -> list[Row]:
        """Ask, and once more if the connection was stale: after a restart all pooled ones are."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._fetch(ids, wanted)
            except Exception as error:
                if trouble(error) is not Trouble.CONNECTION:
                    raise
                return await self._fetch(ids, wanted)

    async def _fetch(self, ids: list[str], wanted: list[int]) -> list[Row]:
        limit = self._limit
        async with statement(self._engine) as driver:
            rows: list[Row] = await driver.fetch(
                _DRAW, ids, wanted, limit.per_second, limit.capacity
            )
            return rows

    async def _sweep(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S), statement(self._engine) as driver:
                await driver.execute(_SWEEP)
        except Exception as error:
            # A row too many does no harm, and the next round finds it.
            if trouble(error) is Trouble.OTHER:
                raise

    def _id(self, name: str) -> str:
        # Of one length, and no place to read who was here.
        return sha256(f"{self._kind} {name}".encode()).hexdigest()[:32]


# One time for all rows, that of the statement's start: who waited for a lock counts from before.
# In id order, so that no two processes wait for each other. $3 is the rate, $4 the capacity.
_DRAW: Final = """
INSERT INTO rate_limits AS bucket (id, full_at, granted)
SELECT asked.id, clock.now + make_interval(secs => asked.wanted / $3::float8), asked.wanted
FROM (SELECT clock_timestamp() AS now) AS clock
CROSS JOIN unnest($1::text[], $2::integer[]) AS asked (id, wanted)
ORDER BY asked.id
ON CONFLICT (id) DO UPDATE SET (granted, full_at) = (
    SELECT drawn.granted, since.at + make_interval(secs => drawn.granted / $3::float8)
    FROM (
        SELECT excluded.full_at - make_interval(secs => excluded.granted / $3::float8) AS now
    ) AS clock
    CROSS JOIN LATERAL (SELECT greatest(bucket.full_at, clock.now) AS at) AS since
    CROSS JOIN LATERAL (
        SELECT least(excluded.granted, greatest(0, floor(
            $4::float8 - extract(epoch FROM since.at - clock.now)::float8 * $3::float8 + 0.000001
        )))::integer AS granted
    ) AS drawn
)
RETURNING id, granted, extract(epoch FROM full_at - clock_timestamp())::float8 AS full_in_s
"""

_SWEEP: Final = """
DELETE FROM rate_limits WHERE id IN (
    SELECT id FROM rate_limits WHERE full_at < clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED
)
"""
