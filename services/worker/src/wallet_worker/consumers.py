"""This module is where messages come in from the broker and leave acknowledged, or as letters."""

import asyncio
from typing import Final

import structlog
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage

from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_worker import topology as declared
from wallet_worker.dead_letters import Letters
from wallet_worker.delivery import Delivery
from wallet_worker.pauses import Pauses

_PREFETCH: Final = 500
_GRACE_S: Final = 10.0

log = structlog.get_logger("wallet_worker")


async def consume(url: str, topology: Topology, delivery: Delivery) -> None:
    """Consume until cancelled, through every absence of the broker."""
    pauses = Pauses("consumer.waits_for_broker")
    while True:
        broker = RabbitBroker(
            url,
            apply_types=False,
            graceful_timeout=_GRACE_S,
            logger=None,
            default_channel=Channel(
                prefetch_count=_PREFETCH, publisher_confirms=True, on_return_raises=True
            ),
        )
        try:
            connection = await broker.connect()
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await declared.declare(channel, topology)
            _subscribe(broker, topology, delivery, Letters(channel, topology))
            await broker.start()
            log.info("consumer.started", queue=topology.queue)
            pauses.over()
            # From here on the connection heals by itself.
            await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001  # told, and tried again: there is no one to raise to
            await pauses.wait(error)
        finally:
            await broker.stop()


def _subscribe(
    broker: RabbitBroker, topology: Topology, delivery: Delivery, letters: Letters
) -> None:
    queue, exchange = declared.subscribed(topology)

    # The body stays bytes: what cannot be decoded must reach the dead letters unchanged.
    async def untouched(message: RabbitMessage) -> RabbitMessage:  # awaited by FastStream
        return message

    @broker.subscriber(
        queue, exchange, ack_policy=AckPolicy.MANUAL, decoder=untouched, no_reply=True
    )
    async def on_message(message: RabbitMessage) -> None:
        try:
            await delivery.deliver(decode(message.body))
        except Exception as error:  # noqa: BLE001  # becomes the letter's reason
            await letters.give_up(message.raw_message, error)
        else:
            await message.ack()
