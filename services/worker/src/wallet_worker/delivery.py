"""
This module is where single events become micro-batches: many messages, one transaction.

Both ways in, the broker and the outbox itself, meet here. `deliver` returns when the event's
effect is committed.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final

import msgspec

from wallet_common.errors import Poison
from wallet_common.events import Event
from wallet_common.fraud import FraudRules
from wallet_db_orm import inbox
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_worker.notify import notify
from wallet_worker.pauses import Pauses

BATCH_MAX: Final = 500


class _Waiting(msgspec.Struct):
    event: Event
    applied: asyncio.Future[None]


class Delivery:
    """Applies events exactly once in effect, in batches that form while the last one commits."""

    def __init__(self, database: Database, rules: FraudRules) -> None:
        self._database = database
        self._rules = rules
        self._queue: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._pauses = Pauses("delivery.waits_for_database")

    async def deliver(self, event: Event) -> None:
        """
        Apply the event; returns after COMMIT. While the database is away it waits.

        Raises Poison if no such wallet exists, and whatever else keeps this very event from
        being applied.
        """
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(event, applied))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await applied

    async def _run(self) -> None:
        try:
            while self._queue:
                taken = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
                await self._apply([each for each in taken if not each.applied.done()])
        finally:
            self._running = None

    async def _apply(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return None
        while True:
            try:
                done = await inbox.apply(
                    self._database.primary, [each.event for each in batch], self._rules
                )
            except Exception as error:  # noqa: BLE001  # told to the messages that caused it
                kind = trouble(error)
                if kind in {Trouble.CONNECTION, Trouble.EXHAUSTION}:
                    await self._pauses.wait(error)
                    continue
                return await self._part(batch, error, kind)
            self._pauses.over()
            return _tell(batch, done)

    async def _part(self, batch: Sequence[_Waiting], error: Exception, kind: Trouble) -> None:
        """A batch failed as a whole: see to it that one bad wallet or event harms no other."""
        by_wallet: dict[str, list[_Waiting]] = defaultdict(list)
        for each in batch:
            by_wallet[each.event.wallet_id].append(each)
        if len(by_wallet) > 1:
            for of_one in by_wallet.values():
                await self._apply(of_one)
        elif len(batch) > 1 and kind is Trouble.OTHER:
            for each in batch:
                await self._apply([each])
        else:
            # Somebody holds this wallet's rows: none of its events would fare better.
            for each in batch:
                _resolve(each, error)


def _tell(batch: Sequence[_Waiting], done: inbox.Applied) -> None:
    notify(done.flagged)
    for each in batch:
        is_stranger = each.event.wallet_id in done.strangers
        _resolve(each, Poison("the wallet is not known here") if is_stranger else None)


def _resolve(waiting: _Waiting, error: Exception | None) -> None:
    if waiting.applied.done():
        return
    if error is None:
        waiting.applied.set_result(None)
    else:
        waiting.applied.set_exception(error)
