"""
This module is where who waits for events is told that there are some: NOTIFY, after the COMMIT.

Only a hint that makes them look sooner. Whoever listens also looks by itself from time to time, so
a ring that is lost, with its process or its connection, costs a moment and nothing else.
"""

import asyncio
from contextlib import suppress
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Driver, statement

_CHANNEL: Final = "wallet_events"
# Those who are woken find everything that was committed until then: more rings tell nothing more.
_AT_MOST_EVERY_S: Final = 0.02


class Doorbell:
    """
    Rings for whoever listens to this database.

    Not within the transaction that has something to tell: committing a NOTIFY takes a lock that
    all of the server's notifiers share, and would hold it through the fsync. Here nothing has to
    be durable, so there is no fsync to wait for.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._ringing: asyncio.Task[None] | None = None
        self._again = False

    def ring(self) -> None:
        """Tell that there are new events; returns at once and never fails."""
        self._again = True
        if self._ringing is None:
            self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Let the last ring be heard."""
        if self._ringing is not None:
            await self._ringing

    async def _ring(self) -> None:
        try:
            while self._again:
                self._again = False
                with suppress(Exception):
                    async with statement(self._engine) as driver:
                        await driver.execute(_RING)
                await asyncio.sleep(_AT_MOST_EVERY_S)
        finally:
            self._ringing = None


class Listener:
    """Hears the bell through a connection that somebody else keeps."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def attach(self, driver: Driver) -> None:
        """Listen from now on, as long as the connection lives."""
        await driver.add_listener(_CHANNEL, self.hear)

    def expect(self) -> None:
        """Count from here: call it before looking, so that nothing falls between."""
        self._rung.clear()

    async def wait(self, seconds: float) -> None:
        """Return when the bell has rung since `expect`, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()

    def hear(self, *_: object) -> None:
        """End the wait: the bell has rung, or there is another reason to look."""
        self._rung.set()


_RING: Final = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{_CHANNEL}', '')"
