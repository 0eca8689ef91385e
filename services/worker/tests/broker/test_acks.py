"""Promises about acknowledgements as the broker sees them: it refuses one that comes twice."""

import asyncio
from typing import TYPE_CHECKING

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from pamqp.common import FieldTable

from wallet_worker.acks import Acks

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire

MESSAGES, FIRST_BATCH = 600, 450
QUEUE_ARGUMENTS: FieldTable = {"x-queue-type": "quorum"}


async def test_a_gap_that_closes_while_others_are_told_of_harms_nothing(wire: "Wire") -> None:
    """One message is given up while those behind it are acknowledged: each is told of once."""
    async with await aio_pika.connect(wire.broker.url) as connection:
        channel = await connection.channel()
        await channel.set_qos(500)
        queue = await channel.declare_queue(
            "acks", durable=True, auto_delete=False, arguments=QUEUE_ARGUMENTS
        )
        for number in range(MESSAGES):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), queue.name)
        acks, held, all_are_in = Acks(), list[AbstractIncomingMessage](), asyncio.Event()

        async def give_up(first: AbstractIncomingMessage, last: AbstractIncomingMessage) -> None:
            await first.ack()
            acks.settled(first)
            acks.done(last)

        async def on_message(message: AbstractIncomingMessage) -> None:
            assert not message.redelivered
            held.append(message)
            if len(held) > FIRST_BATCH:
                acks.done(message)
            elif len(held) == FIRST_BATCH:
                for each in held[1:-1]:
                    acks.done(each)
                await give_up(held[0], held[-1])
            if len(held) == MESSAGES:
                all_are_in.set()

        await queue.consume(on_message)
        async with asyncio.timeout(20):
            await all_are_in.wait()

        assert not channel.is_closed
        assert sorted(int(each.body) for each in held) == list(range(MESSAGES))
        await queue.delete(if_unused=False, if_empty=False)
