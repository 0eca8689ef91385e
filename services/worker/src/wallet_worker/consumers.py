"""This module is where messages come in from the broker and leave acknowledged, or as letters."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from aio_pika.abc import AbstractConnection, AbstractRobustConnection
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage

from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_worker import topology as declared
from wallet_worker.acks import Acks
from wallet_worker.dead_letters import Letters
from wallet_worker.delivery import Delivery
from wallet_worker.links import CONNECT_TIMEOUT_S, DECLARE_TIMEOUT_S, leave, watched
from wallet_worker.pauses import Pauses

_PREFETCH: Final = 500
_RECONNECT_EVERY_S: Final = 1.0
# What is in hand when we stop is finished; what takes longer comes again, to whoever is there.
_GRACE_S: Final = 3.0

log = structlog.get_logger("wallet_worker")


async def consume(url: str, topology: Topology, delivery: Delivery) -> None:
    """Consume until cancelled, through every absence of the broker."""
    pauses = Pauses("consumer.waits_for_broker")
    while True:
        broker = _broker(url, pauses)
        connection: AbstractRobustConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + DECLARE_TIMEOUT_S):
                connection = await broker.connect()
                channel = await connection.channel()
                await declared.declare(channel, topology)
                _subscribe(broker, topology, delivery, Letters(topology))
                await broker.start()
            log.info("consumer.started", queue=topology.queue)
            pauses.over()
            # From here on the connection heals by itself.
            await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001  # told, and tried again: there is no one to raise to
            await pauses.wait(error)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(_GRACE_S + 1):
                    await broker.stop()
            if connection is not None:
                await leave(connection)


def _broker(url: str, pauses: Pauses) -> RabbitBroker:
    def lost(_: AbstractConnection | None, error: BaseException | None) -> None:
        # Our own goodbye arrives here too, as a cancellation.
        if isinstance(error, Exception):
            pauses.tell(error)

    return RabbitBroker(
        watched(url),
        apply_types=False,
        timeout=CONNECT_TIMEOUT_S,
        reconnect_interval=_RECONNECT_EVERY_S,
        graceful_timeout=_GRACE_S,
        on_close=[lost],
        logger=None,
        default_channel=Channel(
            prefetch_count=_PREFETCH, publisher_confirms=True, on_return_raises=True
        ),
    )


def _subscribe(
    broker: RabbitBroker, topology: Topology, delivery: Delivery, letters: Letters
) -> None:
    queue, exchange = declared.subscribed(topology)

    # The body stays bytes: what cannot be decoded must reach the dead letters unchanged.
    async def untouched(message: RabbitMessage) -> RabbitMessage:  # awaited by FastStream
        return message

    subscriber = broker.subscriber(
        queue, exchange, ack_policy=AckPolicy.MANUAL, decoder=untouched, no_reply=True
    )
    # FastStream sets this a moment after it has begun to consume, and drops what comes before:
    # such messages would stay unacknowledged, up to the whole prefetch window.
    subscriber.running = True

    acks = Acks()

    @subscriber
    async def on_message(message: RabbitMessage) -> None:
        try:
            await delivery.deliver(decode(message.body))
        except Exception as error:  # noqa: BLE001  # becomes the letter's reason
            await letters.give_up(message.raw_message, error)
            acks.settled(message.raw_message)
        else:
            acks.done(message.raw_message)
