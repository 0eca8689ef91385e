"""This module is where tests get the broker, and see it as anybody does who may log in."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import aio_pika
import pytest
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    HeadersType,
)
from aio_pika.exceptions import ChannelNotFoundEntity
from pamqp.common import FieldTable

from wallet_common.topology import Topology
from wallet_tools.rabbitmq import NODE, RabbitServer
from wallet_worker import topology as declared

if TYPE_CHECKING:
    from services.worker.tests.conftest import Worker


_T = TypeVar("_T")


class Wire:
    """The broker as anybody sees it who may log in, through a connection for each look."""

    def __init__(self, broker: RabbitServer, topology: Topology) -> None:
        self.broker = broker
        self.topology = topology
        self._tap: list[AbstractIncomingMessage] = []
        self._tapping: AbstractConnection | None = None

    @property
    def _copies(self) -> str:
        return f"{self.topology.exchange}.copies"

    async def declare(self) -> None:
        await self.use(lambda channel: declared.declare(channel, self.topology))

    async def use(self, work: Callable[[AbstractChannel], Awaitable[_T]]) -> _T:
        """Do `work` on a channel of its own."""
        connection = await aio_pika.connect(self.broker.url, timeout=5)
        async with connection:
            return await work(await connection.channel(on_return_raises=True))

    async def depth(self, queue: str) -> int:
        """Count the messages that are ready in a queue."""

        async def look(channel: AbstractChannel) -> int:
            found = await channel.declare_queue(queue, passive=True)
            return found.declaration_result.message_count or 0

        return int(await self.use(look))

    async def holds(self, count: int, queue: str | None = None) -> bool:
        """Whether so many messages wait in a queue, by default the worker's."""
        return await self.depth(queue or self.topology.queue) == count

    async def has_again(self, queue: str) -> bool:
        """Whether a queue is there that may have been deleted."""
        with suppress(ChannelNotFoundEntity):
            return await self.depth(queue) >= 0
        return False

    async def has_over(self, count: int) -> bool:
        return await self.depth(self.topology.queue) > count

    async def purge(self) -> None:
        """Forget the messages in the worker's queue."""

        async def work(channel: AbstractChannel) -> None:
            await (await channel.get_queue(self.topology.queue)).purge()

        await self.use(work)

    async def unbind(self) -> None:
        """Take the worker's queue out of reach, so that events become unroutable."""

        async def work(channel: AbstractChannel) -> None:
            queue = await channel.get_queue(self.topology.queue)
            await queue.unbind(self.topology.exchange, "#")

        await self.use(work)

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Make the broker refuse every event, by a full queue beside the worker's."""
        name = f"{self.topology.exchange}.full"

        async def fill(channel: AbstractChannel) -> None:
            limits: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
            full = await channel.declare_queue(name, arguments=limits)
            await channel.default_exchange.publish(aio_pika.Message(b"stone"), name)
            await full.bind(self.topology.exchange, "#")

        await self.use(fill)
        yield
        await self.use(lambda channel: channel.queue_delete(name))

    async def publish(
        self, *bodies: bytes, key: str = "FundsDeposited", headers: HeadersType | None = None
    ) -> None:
        """Publish to the events' exchange, each body confirmed."""

        async def send(channel: AbstractChannel) -> None:
            exchange = await channel.get_exchange(self.topology.exchange)
            messages = [aio_pika.Message(body, headers=headers) for body in bodies]
            await asyncio.gather(*(exchange.publish(each, key) for each in messages))

        await self.use(send)

    async def tap(self) -> list[AbstractIncomingMessage]:
        """Listen to the exchange from now on; the list returned grows."""
        await self.declare()
        self._tapping = await aio_pika.connect(self.broker.url)
        channel = await self._tapping.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(self.topology.exchange, "#")

        async def hear(message: AbstractIncomingMessage) -> None:
            self._tap.append(message)

        await queue.consume(hear, no_ack=True)
        return self._tap

    async def eavesdrop(self) -> None:
        """Keep a copy of all that is published from now on, in a queue that survives the broker."""

        async def work(channel: AbstractChannel) -> None:
            arguments: FieldTable = {"x-queue-type": "quorum"}
            copies = await channel.declare_queue(self._copies, durable=True, arguments=arguments)
            await copies.bind(self.topology.exchange, "#")

        await self.use(work)

    async def overheard(self, queue: str | None = None) -> list[bytes]:
        """Take all bodies out of the copies, or out of another queue, in order."""
        queue = queue or self._copies

        async def take(channel: AbstractChannel) -> list[bytes]:
            found = await channel.declare_queue(queue, passive=True)
            count = found.declaration_result.message_count or 0
            bodies: list[bytes] = []
            is_complete = asyncio.Event()

            async def hear(message: AbstractIncomingMessage) -> None:
                bodies.append(message.body)
                if len(bodies) >= count:
                    is_complete.set()

            if count:
                await found.consume(hear, no_ack=True)
                await asyncio.wait_for(is_complete.wait(), 30)
            return bodies

        return await self.use(take)

    async def letters(self) -> list[AbstractIncomingMessage]:
        """Take every letter out of the dead letter queue."""

        async def take(channel: AbstractChannel) -> list[AbstractIncomingMessage]:
            queue, found = await channel.get_queue(self.topology.dead_letter_queue), []
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                found.append(message)
            return found

        found: list[AbstractIncomingMessage] = await self.use(take)
        return found

    async def ctl(self, *arguments: str) -> Any:  # noqa: ANN401  # JSON
        """Run rabbitmqctl and return what it tells as JSON, if it tells anything."""
        told = await asyncio.to_thread(
            subprocess.run,
            [str(self.broker.script.with_name("rabbitmqctl")), "-q", "-n", NODE, *arguments],
            env=self.broker._environment(),
            cwd=self.broker.home,
            capture_output=True,
            check=True,
        )
        with suppress(json.JSONDecodeError):
            return json.loads(told.stdout)

    async def close(self) -> None:
        if self._tapping is not None:
            await self._tapping.close()
        if not self.broker.is_running:
            return

        async def clear(channel: AbstractChannel) -> None:
            names = self.topology
            for queue in (names.dead_letter_queue, self._copies):
                await channel.queue_delete(queue)
            for queue in (names.queue, *names.inbound_queues):
                retries = (names.retry_queue(d, queue) for d in names.retry_delays_ms)
                for each in (queue, names.alone(queue), *retries):
                    await channel.queue_delete(each)
            foreign = (names.auth_exchange, names.transaction_exchange)
            for exchange in (names.exchange, names.dead_letter_exchange, *foreign):
                await channel.exchange_delete(exchange)

        await self.use(clear)


class Proxy:
    """A wire to a server that can fall silent, or be cut: connected and nothing passes, or gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._is_open = {"out": asyncio.Event(), "back": asyncio.Event()}
        self.connections = 0
        self.called = asyncio.Event()
        self.port = 0
        self.speak()

    def on_the_way(self, url: str) -> str:
        """Return the URL that leads to the same server through this wire."""
        return url.replace(f":{self._port}/", f":{self.port}/")

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection and refuse new ones until `start`."""
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()

    def hush(self, *directions: str) -> None:
        """Let nothing pass any more, or nothing `out` to the server or `back` from it."""
        for direction in directions or ("out", "back"):
            self._is_open[direction].clear()

    def speak(self) -> None:
        for each in self._is_open.values():
            each.set()

    async def _join(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.called.set()
        server, request = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {answer, request}
        for reader, writer, way in ((client, request, "out"), (server, answer, "back")):
            self._pumps.add(asyncio.create_task(self._pump(reader, writer, self._is_open[way])))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await is_open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def wire(broker: RabbitServer, topology: Topology) -> AsyncIterator[Wire]:
    """Yield the broker with this test's topology declared; it is taken away at the end."""
    wire = Wire(broker, topology)
    await wire.declare()
    yield wire
    await wire.close()


@pytest.fixture
def worker(worker_at: Callable[..., "Worker"], wire: Wire) -> "Worker":
    """Return a worker at this broker; its parts are started by the test."""
    return worker_at(wire.broker.url)


@pytest.fixture
async def proxy_to() -> AsyncIterator[Callable[[int], Awaitable[Proxy]]]:
    """Yield the builder of wires to a port, which the test can silence or cut."""
    proxies: list[Proxy] = []

    async def build(port: int) -> Proxy:
        proxies.append(Proxy(port))
        await proxies[-1].start()
        return proxies[-1]

    yield build
    for proxy in proxies:
        await proxy.cut()
