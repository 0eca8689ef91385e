"""This module is where the relay's two destinations are: the broker, and our own delivery."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

import aio_pika
import msgspec
import structlog
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.outbox import Pending
from wallet_worker import topology as declared
from wallet_worker.delivery import Delivery
from wallet_worker.links import (
    CONFIRM_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    DECLARE_TIMEOUT_S,
    leave,
    watched,
)
from wallet_worker.pauses import Pauses, in_short

# What the client library's queue holds. More at once would wait for each other in a row, with a
# write to the socket for each; so many leave with one.
_FRAMES_AT_ONCE: Final = 10

log = structlog.get_logger("wallet_worker")


class BrokerDestination:
    """Publishes persistent, mandatory and confirmed, the confirms of a batch awaited together."""

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = watched(url)
        self._topology = topology
        self._pauses = Pauses("relay.unconfirmed")
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    @property
    def held_back(self) -> set[str]:
        return set()

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        """Return the confirmed positions; raises if there is none: better start afresh."""
        channel = self._channel or await self._connect()
        # Started in order on one channel, so the broker sees them in order.
        started: list[asyncio.Task[None]] = []
        for pending in batch:
            started.append(asyncio.create_task(self._publish(channel, pending)))
            if len(started) % _FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        try:
            await asyncio.wait(started, timeout=CONFIRM_TIMEOUT_S)
        finally:
            for each in started:
                each.cancel()
        results = [
            TimeoutError("no confirm in time") if isinstance(each, asyncio.CancelledError) else each
            for each in await asyncio.gather(*started, return_exceptions=True)
        ]
        failures = [result for result in results if isinstance(result, BaseException)]
        if len(failures) == len(batch):
            raise failures[0]
        if failures:
            self._pauses.tell(failures[0])
        return {
            pending.position
            for pending, result in zip(batch, results, strict=True)
            if not isinstance(result, BaseException)
        }

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await leave(connection)

    async def _connect(self) -> AbstractChannel:
        self._connection = await aio_pika.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        async with asyncio.timeout(DECLARE_TIMEOUT_S):
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            # Before the first event: a consumer that never ran yet must not make it unroutable.
            await declared.declare(channel, self._topology)
            self._channel = await channel.get_underlay_channel()
        return self._channel

    async def _publish(self, channel: AbstractChannel, pending: Pending) -> None:
        # Past the exchange object, which would hold each message back until the one before it has
        # left the process.
        await channel.basic_publish(
            pending.body,
            exchange=self._topology.exchange,
            routing_key=pending.routing_key,
            properties=Basic.Properties(
                message_id=pending.event_id,
                correlation_id=pending.event_id,
                message_type=pending.routing_key,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            ),
            mandatory=True,
            wait=False,  # type: ignore[call-arg]  # lacks in the abstract class only
        )


class _Postponed(msgspec.Struct, frozen=True):
    wallet_id: str
    attempts: int
    until_s: float


class DirectDestination:
    """
    Applies events itself, by the consumer's delivery; letters rest in the table.

    An event that failed stays in the outbox, with what its wallet has behind it, until its delay
    is over; other wallets do not wait.
    """

    def __init__(self, database: Database, topology: Topology, delivery: Delivery) -> None:
        self._database = database
        self._topology = topology
        self._delivery = delivery
        self._postponed: dict[int, _Postponed] = {}

    @property
    def held_back(self) -> set[str]:
        now_s = monotonic()
        return {each.wallet_id for each in self._postponed.values() if each.until_s > now_s}

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        now_s = monotonic()
        due = [
            pending
            for pending in batch
            if pending.position not in self._postponed
            or self._postponed[pending.position].until_s <= now_s
        ]
        are_done = await asyncio.gather(*(self._deliver(pending) for pending in due))
        return {pending.position for pending, done in zip(due, are_done, strict=True) if done}

    async def close(self) -> None:
        """Nothing is held."""

    async def _deliver(self, pending: Pending) -> bool:
        """Apply the event, or lay it to rest after its last attempt; False if it has to wait."""
        earlier = self._postponed.pop(pending.position, None)
        attempts = earlier.attempts + 1 if earlier else 1
        delays_ms = self._topology.retry_delays_ms
        try:
            await self._delivery.deliver(decode(pending.body))
        except Exception as error:  # noqa: BLE001  # becomes the letter's reason
            if trouble(error) is Trouble.CONTENTION:
                # Somebody else's lock is no fault of the event, however long it is held.
                attempts -= 1
            if not isinstance(error, Poison) and attempts <= len(delays_ms):
                until_s = monotonic() + delays_ms[max(0, attempts - 1)] / 1000
                self._postponed[pending.position] = _Postponed(pending.wallet_id, attempts, until_s)
                log.warning("message.postponed", **_told(pending, error, attempts))
                return False
            await self._bury(pending, error, attempts)
        return True

    async def _bury(self, pending: Pending, error: Exception, attempts: int) -> None:
        await dead_letters.keep(
            self._database.primary,
            queue=self._topology.queue,
            routing_key=pending.routing_key,
            body=pending.body,
            error=in_short(error),
            error_class=type(error).__name__,
            attempts=attempts,
        )
        log.error("letter.died", **_told(pending, error, attempts))


def _told(pending: Pending, error: Exception, attempts: int) -> dict[str, object]:
    return {
        "message_id": pending.event_id,
        "routing_key": pending.routing_key,
        "attempts": attempts,
        "error_class": type(error).__name__,
        "error": in_short(error),
    }
