"""
This module is where messages come in from the broker and leave acknowledged, or as letters.

Whatever happens to the connection, to a channel or to a queue under its consumer, we start afresh:
one way to begin, which declares everything, instead of as many ways to heal as there are wounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog
from aio_pika.abc import AbstractRobustConnection
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_letters import wire
from wallet_worker import topology as declared
from wallet_worker.acks import Acks
from wallet_worker.dead_letters import Letters
from wallet_worker.delivery import Delivery
from wallet_worker.intake import Intake
from wallet_worker.links import (
    CONNECT_TIMEOUT_S,
    DECLARE_TIMEOUT_S,
    Declare,
    Outlet,
    leave,
    watched,
)
from wallet_worker.pauses import Pauses

# Nobody tells us of a binding or an exchange that was taken away: so we look.
_LOOK_EVERY_S: Final = 10.0
# What is in hand when we stop is finished; what takes longer comes again, to whoever is there.
_GRACE_S: Final = 3.0

log = structlog.get_logger("wallet_worker")


class Inlet(msgspec.Struct, frozen=True):
    """
    A queue, and what is done with a message of it: one that this raises for becomes a letter.

    So many `at_once`; with `batches` instead, its messages go there many at a time, and only those
    that have to be handled alone are handled one by one.
    """

    queue: str
    handle: Callable[[RabbitMessage], Awaitable[None]]
    at_once: int = 1
    batches: Delivery | None = None


async def consume(url: str, topology: Topology, delivery: Delivery) -> None:
    """Consume events until cancelled, through every absence of the broker."""

    async def apply(message: RabbitMessage) -> None:
        (failure,) = await delivery.deliver([decode(message.body)])
        if failure is not None:
            raise failure

    inlet = Inlet(topology.queue, apply, batches=delivery)
    pauses = Pauses("consumer.waits_for_broker")
    await take_in(url, topology, [inlet], declared.declare, pauses)


async def take_in(
    url: str, topology: Topology, inlets: Sequence[Inlet], declare: Declare, pauses: Pauses
) -> None:
    """Consume queues together until cancelled, through every absence of the broker."""
    # Else one message that the library cannot read would end the connection, again and again.
    wire.read_anything()
    outlet = Outlet(url, topology, declare)
    consumption = _Consumption(url, topology, inlets, outlet)
    try:
        while True:
            try:
                await consumption.run(declare, pauses)
            except Exception as error:  # noqa: BLE001  # told, and tried again: there is no one to raise to
                await pauses.wait(error)
    finally:
        await outlet.close()


class _Consumption:
    """One connection at a time, from its beginning to the first loss."""

    def __init__(
        self, url: str, topology: Topology, inlets: Sequence[Inlet], outlet: Outlet
    ) -> None:
        self._url = url
        self._topology = topology
        self._inlets = inlets
        self._outlet = outlet

    async def run(self, declare: Declare, pauses: Pauses) -> None:
        """Consume until something is lost, which is raised."""
        loss: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        def lost(_: object, error: BaseException | None = None) -> None:
            # A connection that fell silent ends with a cancellation, or without a word.
            why: Exception = ConnectionError("the broker took it away")
            if isinstance(error, Exception) and str(error):
                why = error
            if not loss.done():
                loss.set_result(why)

        broker = _broker(self._url)
        connection: AbstractRobustConnection | None = None
        intakes: list[Intake] = []
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + DECLARE_TIMEOUT_S):
                connection = await broker.connect()
                connection.close_callbacks.add(lost)
                async with connection.channel() as any_channel:
                    await declare(any_channel, self._topology)
                await self._begin(broker, connection, intakes, lost)
            log.info("consumer.started", queues=[inlet.queue for inlet in self._inlets])
            while not (await asyncio.wait([loss], timeout=_LOOK_EVERY_S))[0]:
                pauses.over()
                try:
                    await self._outlet.restore()
                except Exception as error:  # noqa: BLE001  # no reason to let go of what is in hand
                    pauses.tell(error)
            raise loss.result()
        finally:
            for intake in intakes:
                await intake.stop(grace_s=_GRACE_S)
            with suppress(Exception):
                async with asyncio.timeout(_GRACE_S + 1):
                    await broker.stop()
            if connection is not None:
                await leave(connection)

    async def _begin(
        self,
        broker: RabbitBroker,
        connection: AbstractRobustConnection,
        intakes: list[Intake],
        lost: Callable[..., None],
    ) -> None:
        """Subscribe to every queue, and have `lost` told of every end."""
        letters = {
            inlet.queue: Letters(self._topology, inlet.queue, self._outlet)
            for inlet in self._inlets
        }
        ours = [
            channel
            for inlet in self._inlets
            for channel in _subscribe(broker, self._topology, inlet, letters[inlet.queue])
        ]
        await broker.start()
        channels = [await broker.config.channel_manager.get_channel(each) for each in ours]
        for inlet in self._inlets:
            if inlet.batches is not None:
                channels.append(await connection.channel())
                underlay = await channels[-1].get_underlay_channel()
                intakes.append(Intake(underlay, inlet.batches, letters[inlet.queue]))
        for channel in channels:
            channel.close_callbacks.add(lost)
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lost)
        batched = [inlet.queue for inlet in self._inlets if inlet.batches is not None]
        for queue, intake in zip(batched, intakes, strict=True):
            await intake.start(queue)


def _broker(url: str) -> RabbitBroker:
    return RabbitBroker(
        watched(url),
        apply_types=False,
        timeout=CONNECT_TIMEOUT_S,
        graceful_timeout=_GRACE_S,
        logger=None,
    )


def _subscribe(
    broker: RabbitBroker, topology: Topology, inlet: Inlet, letters: Letters
) -> list[Channel]:
    """Subscribe to a queue, and to the one beside it whose messages are in hand one by one."""
    acks = Acks()

    async def alone(message: RabbitMessage) -> None:
        try:
            await inlet.handle(message)
        except Exception as error:  # noqa: BLE001  # becomes the letter's reason
            await letters.give_up(message.raw_message, error)
            acks.settled(message.raw_message)
        else:
            acks.done(message.raw_message)

    async def in_company(message: RabbitMessage) -> None:
        # Before anything else is done with it.
        if declared.belongs_alone(message.headers):
            await letters.set_apart(message.raw_message)
            acks.settled(message.raw_message)
        else:
            await alone(message)

    # The body stays bytes: what cannot be decoded must reach the dead letters unchanged.
    async def untouched(message: RabbitMessage) -> RabbitMessage:  # awaited by FastStream
        return message

    handlers = [(topology.alone(inlet.queue), alone, 1)]
    if inlet.batches is None:
        handlers.append((inlet.queue, in_company, inlet.at_once))
    channels = []
    for name, handle, at_once in handlers:
        channels.append(Channel(prefetch_count=at_once))
        subscriber = broker.subscriber(
            RabbitQueue(name, declare=False),
            ack_policy=AckPolicy.MANUAL,
            decoder=untouched,
            no_reply=True,
            channel=channels[-1],
        )
        # FastStream sets this a moment after it has begun to consume, and drops what comes before:
        # such messages would stay unacknowledged, up to the whole prefetch window.
        subscriber.running = True
        subscriber(handle)
    return channels
