"""This module is where a queue of the harness's own hears every event, and keeps it apart."""

import asyncio
import contextlib
import hashlib
from typing import Any, Final

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq.abc import FieldTable

from wallet_common.topology import Topology
from wallet_worker import topology as declared

QUEUE: Final = "torture.tap"
_AGAIN_AFTER_S: Final = 0.3
_TIMEOUT_S: Final = 5.0
_PREFETCH: Final = 500


class Heard(msgspec.Struct):
    """An event as it came: how often, and the fingerprint of what it said at first."""

    wallet: str
    version: int | None
    fingerprint: bytes
    times: int = 1
    is_same: bool = True


class Tap:
    """Consumes a durable quorum queue bound to everything; comes back after every loss."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self.heard: dict[str, Heard] = {}
        self.unreadable: list[bytes] = []
        self.last_of: dict[str, int] = {}
        self.late: list[str] = []

    async def open(self) -> None:
        """Declare the exchange and the queue, and begin to listen."""
        connection = await aio_pika.connect(self._url, timeout=_TIMEOUT_S)
        async with connection, connection.channel() as channel:
            await declared.declare(channel, Topology())
            await self._queue(channel)
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def repeated(self) -> int:
        """How many deliveries were not the first of their event."""
        return sum(each.times - 1 for each in self.heard.values())

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(OSError, AMQPError, TimeoutError, RuntimeError):
                connection = await aio_pika.connect(self._url, timeout=_TIMEOUT_S)
                gone = asyncio.Event()
                connection.close_callbacks.add(lambda *_, gone=gone: gone.set())
                async with connection:
                    channel = await connection.channel()
                    await channel.set_qos(prefetch_count=_PREFETCH)
                    await (await self._queue(channel)).consume(self._hear)
                    await gone.wait()
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _queue(self, channel: AbstractChannel) -> Any:  # noqa: ANN401  # a queue
        # One consumer at a time: after a lost connection nothing new is heard before what that one
        # still had in hand has come back.
        kind: FieldTable = {"x-queue-type": "quorum", "x-single-active-consumer": True}
        queue = await channel.declare_queue(QUEUE, durable=True, arguments=kind, timeout=_TIMEOUT_S)
        await queue.bind(Topology().exchange, "#", timeout=_TIMEOUT_S)
        return queue

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self.note(message.body)
        with contextlib.suppress(OSError, AMQPError, RuntimeError):
            await message.ack()

    def note(self, body: bytes) -> None:
        """Keep an event; one that came before is counted, and compared with its first coming."""
        try:
            event = msgspec.json.decode(body, type=dict[str, Any])
            name, wallet, version = event["id"], event["walletId"], event["walletVersion"]
        except (msgspec.DecodeError, KeyError):
            self.unreadable.append(body)
            return
        known = self.heard.get(name)
        if known is not None:
            known.times += 1
            known.is_same &= known.fingerprint == fingerprint(event["payload"])
            return
        self.heard[name] = Heard(wallet, version, fingerprint(event["payload"]))
        if version is not None:
            if version < self.last_of.get(wallet, 0):
                self.late.append(name)
            self.last_of[wallet] = max(version, self.last_of.get(wallet, 0))


def fingerprint(payload: object) -> bytes:
    """Return what two payloads share that say the same, in whatever order."""
    return hashlib.blake2b(msgspec.json.encode(payload, order="sorted"), digest_size=16).digest()
