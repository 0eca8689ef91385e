"""
This module is where the messages of the worker's queue become batches: many of them, one await.

Straight from the channel: at thousands a second a task, a context and a future for each message
cost more than all that is done with it.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Final

import aio_pika
from aiormq.abc import AbstractChannel, DeliveredMessage

from wallet_common.events import Event, decode
from wallet_worker.acks import Acks
from wallet_worker.dead_letters import Letters
from wallet_worker.delivery import BATCH_MAX, Delivery
from wallet_worker.topology import belongs_alone

# While one batch commits the next one comes in.
_PREFETCH: Final = 2 * BATCH_MAX


class Intake:
    """Consumes one queue through one channel, which ends with it."""

    def __init__(self, channel: AbstractChannel, delivery: Delivery, letters: Letters) -> None:
        self._channel = channel
        self._delivery = delivery
        self._letters = letters
        self._acks = Acks()
        self._waiting: deque[tuple[DeliveredMessage, Event]] = deque()
        self._at_work: set[asyncio.Task[None]] = set()
        self._is_running = False
        self._is_open = True

    async def start(self, queue: str) -> None:
        """Begin to consume."""
        await self._channel.basic_qos(prefetch_count=_PREFETCH)
        await self._channel.basic_consume(queue, self._take)

    async def stop(self, *, grace_s: float) -> None:
        """Take nothing more; what is in hand has so long to be finished, else it comes again."""
        self._is_open = False
        self._waiting.clear()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=grace_s)
        late = list(self._at_work)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _take(self, message: DeliveredMessage) -> None:
        if not self._is_open:
            return
        # Before anything else is done with it.
        if belongs_alone(message.header.properties.headers or {}):
            self._start(self._set_apart(message))
            return
        # At once: the database is busy with the last batch, we are not.
        try:
            event = decode(message.body)
        except Exception as error:  # noqa: BLE001  # becomes the letter's reason
            self._start(self._give_up(message, error))
            return
        self._waiting.append((message, event))
        if not self._is_running:
            self._is_running = True
            self._start(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(BATCH_MAX, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(size)]
                failures = await self._delivery.deliver([event for _, event in batch])
                for (message, _), failure in zip(batch, failures, strict=True):
                    if failure is None:
                        self._acks.done(message)
                    else:
                        self._start(self._give_up(message, failure))
        finally:
            self._is_running = False

    async def _give_up(self, message: DeliveredMessage, error: Exception) -> None:
        await self._letters.give_up(aio_pika.IncomingMessage(message), error)
        self._acks.settled(message)

    async def _set_apart(self, message: DeliveredMessage) -> None:
        await self._letters.set_apart(aio_pika.IncomingMessage(message))
        self._acks.settled(message)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
