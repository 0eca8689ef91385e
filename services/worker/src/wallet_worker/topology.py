"""This module is where exchanges, queues and bindings are declared on the broker."""

from typing import Final, cast

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel
from faststream.rabbit import (
    ExchangeType as StreamExchangeType,
    QueueType,
    RabbitExchange,
    RabbitQueue,
)
from faststream.rabbit.schemas.queue import QuorumQueueArgs

from wallet_common.topology import Topology

# A message that takes its process down so often goes to the dead letters.
_DELIVERY_LIMIT: Final = 20
# Letters must survive being looked at: each look counts as a delivery. (-1 deletes on 3.10.)
_LETTER_DELIVERY_LIMIT: Final = 1_000_000
_QUORUM: Final = {"x-queue-type": "quorum"}


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare everything; doing it again changes nothing."""
    events = await channel.declare_exchange(topology.exchange, ExchangeType.TOPIC, durable=True)
    graves = await channel.declare_exchange(
        topology.dead_letter_exchange, ExchangeType.TOPIC, durable=True
    )
    letters = await channel.declare_queue(
        topology.dead_letter_queue,
        durable=True,
        arguments={**_QUORUM, "x-delivery-limit": _LETTER_DELIVERY_LIMIT},
    )
    await letters.bind(graves, "#")
    for delay_ms in topology.retry_delays_ms:
        await channel.declare_queue(
            topology.retry_queue(delay_ms),
            durable=True,
            arguments={
                **_QUORUM,
                "x-message-ttl": delay_ms,
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": topology.queue,
            },
        )
    queue = await channel.declare_queue(
        topology.queue,
        durable=True,
        arguments={**_QUORUM, **cast("dict[str, str | int]", queue_arguments(topology))},
    )
    await queue.bind(events, "#")


def queue_arguments(topology: Topology) -> QuorumQueueArgs:
    """Return the arguments of the worker's queue: no TTL, no length, nothing dies unseen."""
    return {
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
        "x-dead-letter-exchange": topology.dead_letter_exchange,
    }


def subscribed(topology: Topology) -> tuple[RabbitQueue, RabbitExchange]:
    """Return the worker's queue and exchange as FastStream wants them."""
    queue = RabbitQueue(
        topology.queue,
        QueueType.QUORUM,
        routing_key="#",
        arguments=queue_arguments(topology),
    )
    return queue, RabbitExchange(topology.exchange, type=StreamExchangeType.TOPIC, durable=True)
