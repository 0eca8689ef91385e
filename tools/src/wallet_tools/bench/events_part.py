"""
This module is where one part of the events' way runs in a process of its own, ours or a bare one.

Run as `python -m wallet_tools.bench.events_part NAME [COUNT]` with a service's environment. It
says `ready` when all is imported, and begins at each line `go`. A bare part says `done` when it
is; one of ours is the product's own code and runs on, until it is ended.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_db_orm.outbox import Pending, RelaySession
from wallet_runtime import logs, memory
from wallet_worker import consumers, relay, topology
from wallet_worker.delivery import Delivery
from wallet_worker.destinations import BrokerDestination
from wallet_worker.main import work
from wallet_worker.settings import WorkerSettings

# The same queues as ours, with the same arguments, beside them.
BARE: Final = Topology("bench.events", "bench.events.dlx")
AT_ONCE: Final = 500


async def publish_bare(url: str, pending: Sequence[Pending]) -> None:
    """Publish what anybody would write: persistent, mandatory, confirmed, 500 at a time."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await topology.declare(channel, BARE)
        exchange = await channel.get_exchange(BARE.exchange, ensure=False)
        for at in range(0, len(pending), AT_ONCE):
            await asyncio.gather(
                *(exchange.publish(_message(e), e.routing_key) for e in pending[at : at + AT_ONCE])
            )


def _message(pending: Pending) -> aio_pika.Message:
    return aio_pika.Message(
        pending.body,
        message_id=pending.event_id,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def consume_bare(url: str, count: int) -> None:
    """Consume so many messages in batches that form while the last one is acknowledged."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(AT_ONCE)
        queue = await channel.get_queue(BARE.queue)
        waiting: list[AbstractIncomingMessage] = []
        has_some, left = asyncio.Event(), count

        async def on_message(message: AbstractIncomingMessage) -> None:
            waiting.append(message)
            has_some.set()

        await queue.consume(on_message)
        while left > 0:
            await has_some.wait()
            has_some.clear()
            batch, waiting[:] = waiting[:], []
            await asyncio.gather(*(message.ack() for message in batch[:left]))
            left -= len(batch)


async def read_outbox(database_url: str, count: int) -> Sequence[Pending]:
    """Return the first events of the outbox as the relay would send them."""
    session = RelaySession(database_url)
    while not await session.acquire():  # noqa: ASYNC110  # the last relay's session is ending
        await asyncio.sleep(0.1)
    try:
        return await session.take(count)
    finally:
        await session.close()


async def run_relay(settings: WorkerSettings, url: str) -> None:
    """Run what the worker runs, the relay alone."""
    session = RelaySession(settings.database_url.get_secret_value())
    await relay.run(session, BrokerDestination(url, settings.topology))


async def run_consumer(settings: WorkerSettings, url: str) -> None:
    """Run what the worker runs, the consumer alone."""
    database = Database(settings.database_url.get_secret_value(), application_name="wallet-worker")
    delivery = Delivery(database, settings.fraud_rules)
    await consumers.consume(url, settings.topology, delivery)


def main() -> None:
    settings, name = WorkerSettings.load(), sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    assert settings.rabbitmq_url is not None, "the stack has a broker"
    url = settings.rabbitmq_url.get_secret_value()
    pending: Sequence[Pending] = []
    if name == "bare publisher":
        database_url = settings.database_url.get_secret_value()
        pending = uvloop.run(read_outbox(database_url, count))
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "bare publisher": lambda: publish_bare(url, pending),
        "bare consumer": lambda: consume_bare(url, count),
        "relay": lambda: run_relay(settings, url),
        "consumer": lambda: run_consumer(settings, url),
        "worker": lambda: work(settings),
    }
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    # From here on only we write there; what the services log goes where errors go.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logs.configure("worker", level=settings.log_level, directory="")
    memory.settle()
    print("ready", file=told)
    for _ in sys.stdin:
        with contextlib.suppress(asyncio.CancelledError):
            uvloop.run(_awaited(parts[name]))
        print("done", file=told)


async def _awaited(part: Callable[[], Awaitable[None]]) -> None:
    await part()


if __name__ == "__main__":
    main()
