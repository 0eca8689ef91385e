"""This module is where exchanges, queues and bindings are declared on the broker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed

from wallet_common.topology import (
    COMPLETION_KEY,
    FAILURE_KEY,
    RETURNS_HEADER,
    SIGN_UP_KEY,
    Topology,
)
from wallet_worker.pauses import OperatorNeeded

# A message that takes its process down so often goes to the dead letters.
_DELIVERY_LIMIT: Final = 20
# One that came back so often may be such a message. Those in hand beside it are counted with it,
# so it has to be handled alone before it takes them along.
_ALONE_AFTER: Final = 3
# Letters must survive being looked at: each look counts as a delivery. (-1 deletes on 3.10.)
_LETTER_DELIVERY_LIMIT: Final = 1_000_000
_QUORUM: Final = {"x-queue-type": "quorum"}


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """
    Declare all that events need; doing it again changes nothing.

    Raises OperatorNeeded, naming the object, if one of that name is another kind of thing.
    """
    events = await _exchange(channel, topology.exchange)
    graves = await _exchange(channel, topology.dead_letter_exchange)
    letters = await _queue(
        channel, topology.dead_letter_queue, {"x-delivery-limit": _LETTER_DELIVERY_LIMIT}
    )
    await letters.bind(graves, "#")
    await _consumed(channel, topology, topology.queue, events, "#")


async def declare_inbound(channel: AbstractChannel, topology: Topology) -> None:
    """Declare other services' exchanges and our queues there too, as `declare` does."""
    await declare(channel, topology)
    for queue, exchange, key in inbound(topology):
        there = await _exchange(channel, exchange)
        # One worker at a time has them all, so that they are handled in their order.
        await _consumed(channel, topology, queue, there, key, {"x-single-active-consumer": True})


async def declare_outbound(channel: AbstractChannel, topology: Topology) -> None:
    """
    Declare the exchange of our answers too, as `declare` does; may leave the channel closed.

    It is other services' as well: one that is there will do, of whatever kind it is.
    """
    await declare(channel, topology)
    with suppress(OperatorNeeded):
        await _exchange(channel, topology.transaction_exchange)


def inbound(topology: Topology) -> tuple[tuple[str, str, str], ...]:
    """Return our queues at other services' exchanges: queue, exchange, routing key."""
    return (
        (topology.user_queue, topology.auth_exchange, SIGN_UP_KEY),
        (topology.update_queue, topology.transaction_exchange, COMPLETION_KEY),
        (topology.revert_queue, topology.transaction_exchange, FAILURE_KEY),
    )


def belongs_alone(headers: Mapping[str, Any]) -> bool:
    """Whether a message came back so often that nothing else should be in hand beside it."""
    returns = headers.get(RETURNS_HEADER, 0)
    return isinstance(returns, int) and returns >= _ALONE_AFTER


async def _consumed(
    channel: AbstractChannel,
    topology: Topology,
    name: str,
    exchange: AbstractExchange,
    key: str,
    more: Mapping[str, str | int] = MappingProxyType({}),
) -> None:
    """Declare a queue that we consume, with its retry tiers and the one beside it."""
    for delay_ms in topology.retry_delays_ms:
        arguments: dict[str, str | int] = {
            "x-message-ttl": delay_ms,
            "x-overflow": "reject-publish",
            "x-dead-letter-strategy": "at-least-once",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": name,
        }
        await _queue(channel, topology.retry_queue(delay_ms, name), arguments)
    queue = await _queue(channel, name, {**_ending_in(topology, _DELIVERY_LIMIT), **more})
    await queue.bind(exchange, key)
    alone = _ending_in(topology, _DELIVERY_LIMIT - _ALONE_AFTER)
    await _queue(channel, topology.alone(name), alone)


def _ending_in(topology: Topology, limit: int) -> Mapping[str, str | int]:
    """Return the arguments of a worker's queue: no TTL, no length, nothing dies unseen."""
    return {
        "x-delivery-limit": limit,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
        "x-dead-letter-exchange": topology.dead_letter_exchange,
    }


async def _exchange(channel: AbstractChannel, name: str) -> AbstractExchange:
    async with _explained(f"exchange {name}"):
        return await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)


async def _queue(
    channel: AbstractChannel, name: str, arguments: Mapping[str, str | int]
) -> AbstractQueue:
    async with _explained(f"queue {name}"):
        return await channel.declare_queue(name, durable=True, arguments={**_QUORUM, **arguments})


@asynccontextmanager
async def _explained(what: str) -> AsyncIterator[None]:
    try:
        yield
    except ChannelPreconditionFailed as refusal:
        raise OperatorNeeded(
            f"the {what} exists and is declared otherwise: empty and delete it,"
            f" and it is declared again ({refusal})"
        ) from refusal
