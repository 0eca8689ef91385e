"""This module is where the books are proved while everything goes wrong, every half second."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from wallet_db_orm import checkpoints
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.verify import verify
from wallet_tools.torture import outside
from wallet_tools.torture.checks import contradictions
from wallet_tools.torture.history import Violation
from wallet_tools.torture.quick import AWAY, Quick

EVERY_S: Final = 0.5
# The whole set takes at most this share of the time, and comes at most every so often.
_WHOLE_SHARE: Final = 0.15
_WHOLE_EVERY_S: Final = 5.0
_TIMEOUT_S: Final = 20.0
_SETTINGS: Final = {"application_name": "torture-watch", "jit": "off"}


@dataclass(slots=True)
class Watch:
    """
    Looks at the books each half second: at all that is new, in one snapshot.

    Every invariant that always holds is asked besides, over all there is, as often as it takes no
    more than a part of the time: every five seconds while the books are small. So is whether the
    database has each checkpoint that the file outside tells of.
    """

    admin_url: str
    owner_url: str
    checkpoint_file: Path
    looks: int = 0
    whole_looks: int = 0
    missed: int = 0
    violations: list[Violation] = field(default_factory=list)
    quick: Quick = field(default_factory=Quick)
    _connection: Any = None

    async def run(self) -> None:
        """Look until something is found, or the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again_and_again())
            group.create_task(self._prove_again_and_again())

    async def _look_again_and_again(self) -> None:
        try:
            while not self.violations:
                began = time.monotonic()
                await self._look()
                await asyncio.sleep(max(0.0, began + EVERY_S - time.monotonic()))
        finally:
            self._leave()

    async def _prove_again_and_again(self) -> None:
        while not self.violations:
            began = time.monotonic()
            await self._prove()
            took_s = time.monotonic() - began
            await asyncio.sleep(max(_WHOLE_EVERY_S, took_s / _WHOLE_SHARE) - took_s)

    async def _look(self) -> None:
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(
                    self.admin_url,
                    timeout=3,
                    command_timeout=_TIMEOUT_S,
                    server_settings=_SETTINGS,
                )
            self.violations += await self.quick.look(self._connection)
            self.looks += 1
        except AWAY:
            self.missed += 1
            self._leave()

    async def _prove(self) -> None:
        database = Database(self.owner_url, application_name="torture-watch", pool_size=2)
        try:
            told = outside.lines(self.checkpoint_file)
            report = await verify(database.primary)
            kept = await checkpoints.lines_from(database.primary, 1)
        except Exception as error:
            if trouble(error) is Trouble.OTHER:
                raise
            self.missed += 1
        else:
            self.violations += contradictions(report)
            self.violations += outside.contradictions(told, kept)
            self.whole_looks += 1
        finally:
            with contextlib.suppress(*AWAY):
                await database.dispose()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
