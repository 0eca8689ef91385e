"""
This module is where concurrent readers of balances share a statement.

As in the group commit there is no timer: what is asked while a statement runs forms the next.
"""

import asyncio
from itertools import islice
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Row, Trouble, statement, trouble
from wallet_db_orm.queries import WALLET_COLUMNS

BATCH_MAX: Final = 256
# No statement is waited for longer, its repetition on a new connection included.
PATIENCE_S: Final = 5.0


class GroupRead:
    """
    Reads wallets as they stand. A statement starts after all who share it have asked, so each
    sees what was committed before it asked.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._asked: dict[str, asyncio.Future[Row | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def wallet(self, wallet_id: str) -> Row | None:
        """Return the wallet's row, None if there is none; raises what the database raises."""
        answer = self._asked.get(wallet_id)
        if answer is None:
            answer = self._asked[wallet_id] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # Others may wait for the same answer: one who leaves does not take it along.
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            while self._asked:
                oldest = list(islice(self._asked, BATCH_MAX))
                taken = {wallet_id: self._asked.pop(wallet_id) for wallet_id in oldest}
                await self._answer(taken)
        finally:
            self._running = None

    async def _answer(self, asked: dict[str, asyncio.Future[Row | None]]) -> None:
        """Resolve every future, whatever happens."""
        try:
            found = {row.id: row for row in await self._read(list(asked))}
        except Exception as error:  # noqa: BLE001  # handed to the callers
            for answer in asked.values():
                answer.set_exception(error)
        else:
            for wallet_id, answer in asked.items():
                answer.set_result(found.get(wallet_id))

    async def _read(self, wallet_ids: list[str]) -> list[Row]:
        """Ask, and once more if the connection was stale: after a restart all pooled ones are."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._fetch(wallet_ids)
            except Exception as error:
                if trouble(error) is not Trouble.CONNECTION:
                    raise
                return await self._fetch(wallet_ids)

    async def _fetch(self, wallet_ids: list[str]) -> list[Row]:
        async with statement(self._engine) as driver:
            rows: list[Row] = await driver.fetch(_WALLETS, wallet_ids)
            return rows


_WALLETS: Final = f"SELECT {WALLET_COLUMNS} FROM wallets WHERE id = ANY($1::text[])"  # noqa: S608  # a constant
