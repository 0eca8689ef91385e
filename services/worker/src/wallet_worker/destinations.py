"""This module is where the relay's two destinations are: the broker, and our own delivery."""

import asyncio
from collections.abc import Sequence
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database
from wallet_db_orm.outbox import Pending
from wallet_worker import topology as declared
from wallet_worker.delivery import Delivery

_CONNECT_TIMEOUT_S: Final = 5
_CONFIRM_TIMEOUT_S: Final = 10
_HEARTBEAT_S: Final = 10

log = structlog.get_logger("wallet_worker")


class BrokerDestination:
    """Publishes persistent, mandatory and confirmed, the confirms of a batch awaited together."""

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._topology = topology
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        exchange = self._exchange or await self._connect()
        # Started in order on one channel, so the broker sees them in order.
        results = await asyncio.gather(
            *(self._publish(exchange, pending) for pending in batch), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            log.warning(
                "relay.unconfirmed", count=len(failures), error_class=type(failures[0]).__name__
            )
        return {
            pending.position
            for pending, result in zip(batch, results, strict=True)
            if not isinstance(result, BaseException)
        }

    async def close(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> AbstractExchange:
        self._connection = await aio_pika.connect(
            self._url, timeout=_CONNECT_TIMEOUT_S, heartbeat=_HEARTBEAT_S
        )
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        # Before the first event: a consumer that never ran yet must not make it unroutable.
        await declared.declare(channel, self._topology)
        self._exchange = await channel.get_exchange(self._topology.exchange)
        return self._exchange

    async def _publish(self, exchange: AbstractExchange, pending: Pending) -> None:
        message = aio_pika.Message(
            pending.body,
            message_id=pending.event_id,
            type=pending.routing_key,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await exchange.publish(
            message, pending.routing_key, mandatory=True, timeout=_CONFIRM_TIMEOUT_S
        )


class DirectDestination:
    """Applies events itself, by the consumer's delivery; letters rest in the table."""

    def __init__(self, database: Database, topology: Topology, delivery: Delivery) -> None:
        self._database = database
        self._topology = topology
        self._delivery = delivery

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        await asyncio.gather(*(self._deliver(pending) for pending in batch))
        return {pending.position for pending in batch}

    async def close(self) -> None:
        """Nothing is held."""

    async def _deliver(self, pending: Pending) -> None:
        delays_ms = iter(self._topology.retry_delays_ms)
        attempts = 0
        while True:
            attempts += 1
            try:
                await self._delivery.deliver(decode(pending.body))
            except Exception as error:  # noqa: BLE001  # becomes the letter's reason
                delay_ms = None if isinstance(error, Poison) else next(delays_ms, None)
                if delay_ms is None:
                    await self._bury(pending, error, attempts)
                    return
                await asyncio.sleep(delay_ms / 1000)
            else:
                return

    async def _bury(self, pending: Pending, error: Exception, attempts: int) -> None:
        log.error(
            "letter.died",
            message_id=pending.event_id,
            routing_key=pending.routing_key,
            attempts=attempts,
            error_class=type(error).__name__,
            error=str(error)[:500],
        )
        await dead_letters.keep(
            self._database.primary,
            queue=self._topology.queue,
            routing_key=pending.routing_key,
            body=pending.body,
            error=str(error),
            error_class=type(error).__name__,
            attempts=attempts,
        )
