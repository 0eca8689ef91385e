"""This module is where tests get another service at the broker, and all of our worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from wallet_common import topology as names
from wallet_common.topology import Topology

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

Until = Callable[..., Awaitable[None]]
KEYS = (names.SIGN_UP_KEY, names.COMPLETION_KEY, names.FAILURE_KEY)


class Neighbour:
    """Another service at the broker: it publishes its events and hears our answers."""

    def __init__(self, wire: "Wire", bank: "Bank", topology: Topology) -> None:
        self.wire = wire
        self.bank = bank
        self.exchanges = dict(
            zip(KEYS, (topology.auth_exchange, *[topology.transaction_exchange] * 2), strict=True)
        )
        self.heard: list[AbstractIncomingMessage] = []
        self._connection: aio_pika.abc.AbstractConnection | None = None

    async def listen(self, exchange: str) -> None:
        self._connection = await aio_pika.connect(self.wire.broker.url)
        channel = await self._connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, names.ANSWER_KEY)

        async def hear(message: AbstractIncomingMessage) -> None:
            self.heard.append(message)

        await queue.consume(hear, no_ack=True)

    async def is_consumed(self, queue: str) -> bool:
        """Whether the queue is there, and somebody listens to it."""

        async def look(channel: AbstractChannel) -> int:
            found = await channel.declare_queue(queue, passive=True)
            return found.declaration_result.consumer_count or 0

        with suppress(ChannelNotFoundEntity):
            return bool(await self.wire.use(look))
        return False

    async def tell(self, key: str, *bodies: bytes, times: int = 1) -> None:
        async def send(channel: AbstractChannel) -> None:
            exchange = await channel.get_exchange(self.exchanges[key])
            message = [aio_pika.Message(body, correlation_id="trace-1") for body in bodies]
            await asyncio.gather(*(exchange.publish(each, key) for each in message * times))

        await self.wire.use(send)

    async def sign_up(self, *user_ids: str) -> None:
        await self.tell(KEYS[0], *(json.dumps({"id": each}).encode() for each in user_ids), times=3)

    async def topup(self, name: str, user_id: str, amount: str | float = "10.00") -> None:
        told = {"transactionId": name, "type": "TopUp", "userId": user_id, "amount": amount}
        await self.tell(KEYS[1], json.dumps(told).encode(), times=3)

    async def transfer(self, name: str, user_id: str, to: str, amount: str = "4.00") -> None:
        told = {"transactionId": name, "type": "transfer", "userId": user_id, "recipientId": to}
        await self.tell(KEYS[1], json.dumps(told | {"amount": amount}).encode(), times=3)

    async def failure(self, name: str) -> None:
        told = {"transactionId": name, "type": "Transfer", "reason": "chargeback"}
        await self.tell(KEYS[2], json.dumps(told).encode(), times=3)

    def answers(self, name: str) -> list[str]:
        """Return what was answered about a transaction: `completed`, or why it failed."""
        told: list[dict[str, Any]] = [json.loads(each.body) for each in self.heard]
        return [each["reason"] or each["status"] for each in told if each["transactionId"] == name]

    async def balance(self, user_id: str) -> int | None:
        """Return what the user's wallet holds; None without one."""
        found: int | None = await self.bank.value(
            "SELECT balance_minor FROM wallets WHERE owner_id = $1 AND currency = 'USD'", user_id
        )
        return found

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


@pytest.fixture
def stranger(wire: "Wire", bank: "Bank", topology: Topology) -> Neighbour:
    """Return the other service, while nobody of ours is there yet."""
    return Neighbour(wire, bank, topology)


@pytest.fixture
async def neighbour(
    stranger: Neighbour,
    wire: "Wire",
    worker: "Worker",
    bank: "Bank",
    until: Until,
    topology: Topology,
) -> AsyncIterator[Neighbour]:
    """Yield the other service, with all of our worker running; the books are proved at the end."""
    for start in (worker.start_relay, worker.start_consumer, worker.start_inbound):
        start()

    for queue in topology.inbound_queues:
        await until(lambda queue=queue: stranger.is_consumed(queue))
    await stranger.listen(topology.transaction_exchange)
    yield stranger
    await until(bank.is_quiet)
    await stranger.close()
    assert await bank.violations() == []
