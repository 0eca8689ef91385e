"""This module is where tests of the letters get both boxes, and lay letters down in them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import HeadersType

from wallet_common import topology as names
from wallet_common.commands import Deposit
from wallet_common.money import parse_amount
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order
from wallet_db_orm.outbox import RelaySession
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import Bounds, LetterBox
from wallet_letters.table import TableBox
from wallet_tools.rabbitmq import RabbitServer
from wallet_worker import topology as declared

_numbers = itertools.count(1)
DEADLINE_S = 20.0


class Grave(Protocol):
    """A place where letters rest, with what the tests see of it past the box."""

    def box(self, bounds: Bounds | None = None, patience_s: float = 5) -> LetterBox: ...

    async def lay(self, *bodies: bytes, error: str = "no", replays: int = 0) -> None: ...

    async def put_back(self) -> list[tuple[bytes, int]]:
        """Take what has been put back: body and count of replays."""


class TableGrave:
    """The table, and the outbox where its letters come from."""

    def __init__(self, database: Database, url: str) -> None:
        self.database = database
        self._url = url

    def box(self, bounds: Bounds | None = None, patience_s: float = 5) -> TableBox:
        return TableBox(self.database, bounds, patience_s=patience_s)

    async def lay(self, *bodies: bytes, error: str = "no", replays: int = 0) -> None:
        for body in bodies:
            now = datetime.now(UTC)
            await dead_letters.keep(
                self.database.primary,
                dead_letters.Letter(
                    id=new_id(),
                    queue="wallet.events.worker",
                    routing_key="FundsDeposited",
                    body=body,
                    error=error,
                    error_class="Refused",
                    attempts=4,
                    replays=replays,
                    first_failed_at=now,
                    last_failed_at=now,
                ),
            )

    async def put_back(self) -> list[tuple[bytes, int]]:
        session = RelaySession(self._url)
        assert await session.acquire()
        pending = await session.take(100_000)
        await session.close()
        return [(each.body, each.replays) for each in pending]


class BrokerGrave:
    """The dead letter queue, and the worker's own without a worker."""

    def __init__(self, broker: RabbitServer, channel: Any, topology: Topology) -> None:  # noqa: ANN401
        self.broker = broker
        self.channel = channel
        self.topology = topology

    def box(self, bounds: Bounds | None = None, patience_s: float = 5) -> BrokerBox:
        return BrokerBox(self.broker.url, self.topology, bounds, patience_s=patience_s)

    async def lay(self, *bodies: bytes, error: str = "no", replays: int = 0) -> None:
        headers: HeadersType = {
            names.ERROR_HEADER: error,
            names.ERROR_CLASS_HEADER: "Refused",
            names.ATTEMPTS_HEADER: 4,
            names.REPLAYS_HEADER: replays,
            names.ORIGIN_QUEUE_HEADER: self.topology.queue,
            names.ROUTING_KEY_HEADER: "FundsDeposited",
            names.FIRST_FAILED_HEADER: "2026-01-31T12:00:00+00:00",
            names.LAST_FAILED_HEADER: "2026-01-31T12:00:30+00:00",
        }
        for part in (bodies[at : at + 500] for at in range(0, len(bodies), 500)):
            messages = [
                aio_pika.Message(body, message_id=new_id(), headers=headers) for body in part
            ]
            await self.publish(*messages)

    async def publish(self, *messages: aio_pika.Message) -> None:
        """Lay down messages as they are."""
        out, queue = self.channel.default_exchange, self.topology.dead_letter_queue
        await asyncio.gather(*(out.publish(each, queue) for each in messages))

    async def put_back(self) -> list[tuple[bytes, int]]:
        return [(each.body, each.headers["x-replays"]) for each in await self.messages()]

    async def messages(self) -> list[Any]:
        queue, found = await self.channel.get_queue(self.topology.queue), []
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            found.append(message)
        return found


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Return how to ask until the answer is true; it fails when the deadline has passed."""

    async def ask(question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # the question's
        async with asyncio.timeout(DEADLINE_S):
            while not (answer := await question()):
                await asyncio.sleep(0.05)
        return answer

    return ask


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Yield this test's own database."""
    database = Database(database_url, application_name="wallet-test")
    yield database
    await database.dispose()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    """Yield a connection to it, past our code."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
async def broker_grave(broker: RabbitServer) -> AsyncIterator[BrokerGrave]:
    """Yield a dead letter queue of this test's own."""
    name = f"letters{next(_numbers)}.events"
    topology = Topology(name, f"{name}.dlx", ())
    connection = await aio_pika.connect(broker.url, timeout=5)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    await declared.declare(channel, topology)
    yield BrokerGrave(broker, channel, topology)
    for queue in (topology.queue, topology.dead_letter_queue):
        await channel.queue_delete(queue)
    await connection.close()


@pytest.fixture(params=["table", pytest.param("broker", marks=pytest.mark.broker)])
def grave(request: pytest.FixtureRequest, database: Database, database_url: str) -> Grave:
    """Return each place where letters rest in its turn."""
    if request.param == "table":
        return TableGrave(database, database_url)
    grave: BrokerGrave = request.getfixturevalue("broker_grave")
    return grave


@pytest.fixture
def events(database: Database, database_url: str) -> Callable[[int], Awaitable[Sequence[bytes]]]:
    """Return how to make so many events of ours, which have left the outbox; their bodies."""

    async def make(count: int) -> Sequence[bytes]:
        lanes = GroupCommit(database)
        deposits = [
            Deposit(
                wallet_id="ann",
                request_id=new_id(),
                operation_id=new_id(),
                amount=parse_amount("10.00"),
                opens_in="USD",
            )
            for _ in range(count)
        ]
        await asyncio.gather(*(lanes.submit(Order(each, "trace")) for each in deposits))
        await lanes.close()
        session = RelaySession(database_url)
        assert await session.acquire()
        pending = await session.take(100_000)
        await session.remove([each.position for each in pending])
        await session.close()
        return [each.body for each in pending if each.routing_key == "FundsDeposited"]

    return make
