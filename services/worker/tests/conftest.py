"""This module is where tests of the worker get its parts, and the servers around them."""

import asyncio
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from tests.orders import asked_for
from wallet_common.commands import DebitTransfer, Deposit, OpenWallet, Withdraw
from wallet_common.errors import Busy
from wallet_common.fraud import FraudRules
from wallet_common.money import parse_amount
from wallet_common.operations import Receipt
from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Order, Recorded
from wallet_db_orm.outbox import RELAY_LOCK, RelaySession
from wallet_db_orm.verify import verify
from wallet_tools.postgres import PostgresServer
from wallet_worker import consumers, inbound, recovery, relay, upkeep
from wallet_worker.delivery import Delivery
from wallet_worker.destinations import BrokerDestination, DirectDestination
from wallet_worker.settlement import Settlements, Terms

_numbers = itertools.count(1)


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for a condition, which may be a coroutine; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def stays(condition: Callable[[], Awaitable[Any]], seconds: float) -> None:
    """Assert that a condition holds all the time: the proof that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert await condition(), "it did not stay so"
        await asyncio.sleep(0.05)


class Bank:
    """The money's side: what the API does, and a superuser's look at the database."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self.database = Database(url, application_name="wallet-test")
        self.lanes = GroupCommit(self.database)
        self._admin_url = admin_url
        self._admin: asyncpg.Connection | None = None

    async def deposit(self, wallet_id: str, amount: str = "10.00") -> str:
        return await self._post(Deposit(**_asked(wallet_id, amount), opens_in="USD"))

    async def withdraw(self, wallet_id: str, amount: str = "1.00") -> str:
        return await self._post(Withdraw(**_asked(wallet_id, amount)))

    async def open(self, wallet_id: str) -> None:
        await self.lanes.submit(Order(OpenWallet(wallet_id, "USD"), "trace"))

    async def abandon_transfer(self, wallet_id: str, to: str, amount: str = "1.00") -> str:
        """Take the first step only, as an API that dies right after it; return the transfer."""
        return await self._post(DebitTransfer(**_asked(wallet_id, amount), to_wallet_id=to))

    async def deposits(self, count: int, *wallet_ids: str) -> None:
        """Deposit `count` times into each wallet, all at once."""
        await asyncio.gather(*(self.deposit(each) for _ in range(count) for each in wallet_ids))

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await (await self._connection()).fetch(sql, *arguments)]

    async def value(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401  # the SQL decides
        return await (await self._connection()).fetchval(sql, *arguments)

    async def execute(self, sql: str) -> None:
        await (await self._connection()).execute(sql)

    async def session(self) -> asyncpg.Connection:
        """Return one more connection, which the caller closes."""
        return await asyncpg.connect(self._admin_url)

    async def pending(self) -> int:
        return int(await self.value("SELECT count(*) FROM outbox"))

    async def keeps(self, count: int) -> bool:
        return count == await self.pending()

    async def has_sent_all(self) -> bool:
        return not await self.pending()

    async def unapplied(self) -> int:
        """Count the events whose effect is not there yet."""
        sql = """
            SELECT count(*) FROM events AS e WHERE wallet_version IS NOT NULL AND NOT EXISTS (
                SELECT FROM processed_events AS p
                WHERE p.wallet_id = e.wallet_id AND p.event_id = e.id::text)
        """
        return int(await self.value(sql))

    async def lacks(self, count: int) -> bool:
        return await self.unapplied() == count

    async def is_quiet(self) -> bool:
        """Whether every event has left and taken effect, and no transfer is open."""
        sql = "SELECT count(*) FROM transfers WHERE state = 'debited'"
        return not (await self.value(sql) or await self.pending() or await self.unapplied())

    async def violations(self) -> list[str]:
        """Return what the proof finds once all is quiet; nothing if all is right."""
        report = await verify(self.database.primary, at_rest=True)
        return [f"{each.id} {each.violations}" for each in report.invariants if each.violations]

    async def refuse_statistics_of(self, wallet_id: str) -> None:
        """Make each attempt to write this wallet's statistics fail, until `relent`."""
        await self.execute(f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.wallet_id = '{wallet_id}' THEN RAISE EXCEPTION 'not today'; END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON wallet_stats
            FOR EACH ROW EXECUTE FUNCTION refuse()
        """)

    async def relent(self) -> None:
        await self.execute("DROP FUNCTION refuse() CASCADE")

    async def is_relayed_by(self, pids: list[int]) -> bool:
        return await self.relay_pids() == pids

    async def relay_pids(self) -> list[int]:
        """Return who holds the relay's lock; more than one would be a fault."""
        sql = """
            SELECT pid FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE datname = current_database() AND locktype = 'advisory' AND granted
                AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = $1"""
        return [row["pid"] for row in await self.rows(sql, RELAY_LOCK)]

    async def close(self) -> None:
        await self.lanes.close()
        await self.database.dispose()
        if self._admin is not None:
            await self._admin.close(timeout=5)

    async def _post(self, command: Deposit | Withdraw | DebitTransfer) -> str:
        recorded: Applied | None = None
        while recorded is None:  # Who is told to come back does so.
            with suppress(Busy):
                recorded = await self.lanes.submit(asked_for(command))
        assert isinstance(recorded, Recorded)
        assert isinstance(recorded.operation.outcome, Receipt)
        return recorded.operation.operation_id

    async def _connection(self) -> asyncpg.Connection:
        if self._admin is None or self._admin.is_closed():
            self._admin = await asyncpg.connect(self._admin_url)
        return self._admin


def _asked(wallet_id: str, amount: str) -> dict[str, Any]:
    ids = {"wallet_id": wallet_id, "request_id": new_id(), "operation_id": new_id()}
    return {"amount": parse_amount(amount), **ids}


class Part:
    """One running part of a worker."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(work)


class Worker:
    """The worker's parts as tasks of the test's own loop; each may be there more than once."""

    def __init__(self, url: str, broker_url: str | None, topology: Topology) -> None:
        self.url, self.broker_url, self.topology = url, broker_url, topology
        self.rules, self.terms = FraudRules(), Terms("USD")
        self._databases: list[Database] = []
        self._lanes: list[GroupCommit] = []
        self._parts: list[Part] = []

    def set_retry_delays(self, *delays_ms: int) -> None:
        self.topology = replace(self.topology, retry_delays_ms=delays_ms)

    def start_relay(self) -> Part:
        assert self.broker_url is not None
        out = BrokerDestination(self.broker_url, self.topology)
        return self._start(relay.run(RelaySession(self.url), out))

    def start_consumer(self) -> Part:
        assert self.broker_url is not None
        delivery = Delivery(self._database(), self.rules)
        return self._start(consumers.consume(self.broker_url, self.topology, delivery))

    def start_inbound(self) -> Part:
        assert self.broker_url is not None
        database = self._database()
        settlements = Settlements(database, self._group(database), self.terms)
        return self._start(inbound.consume(self.broker_url, self.topology, settlements))

    def start_direct(self) -> Part:
        database = self._database()
        out = DirectDestination(database, self.topology, Delivery(database, self.rules))
        return self._start(relay.run(RelaySession(self.url), out))

    def start_recovery(self) -> Part:
        database = self._database()
        return self._start(recovery.run(database, self._group(database)))

    def start_upkeep(self) -> Part:
        return self._start(upkeep.run(self._database()))

    async def stop(self, *parts: Part) -> None:
        """Cancel parts as SIGTERM does and wait for their end; none may have ended by itself."""
        for part in parts:
            assert not part.task.done(), "a part of the worker ended by itself"
            part.task.cancel()
        await asyncio.gather(*(part.task for part in parts), return_exceptions=True)
        self._parts = [part for part in self._parts if part not in parts]

    async def close(self) -> None:
        await self.stop(*self._parts)
        for lanes in self._lanes:
            await lanes.close()
        for database in self._databases:
            await database.dispose()

    def _start(self, work: Coroutine[Any, Any, None]) -> Part:
        self._parts.append(Part(work))
        return self._parts[-1]

    def _database(self) -> Database:
        self._databases.append(one := Database(self.url, application_name="wallet-worker"))
        return one

    def _group(self, database: Database) -> GroupCommit:
        self._lanes.append(lanes := GroupCommit(database))
        return lanes


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[None]]:
    """Return the poller: it waits for a condition, never for a time."""
    return until


@pytest.fixture(name="stays")
def _stays() -> Callable[..., Awaitable[None]]:
    """Return the watcher: it fails as soon as a condition does not hold."""
    return stays


@pytest.fixture
async def bank(postgres_server: PostgresServer, database_url: str) -> AsyncIterator[Bank]:
    """Yield the money's side of this test's own database."""
    bank = Bank(database_url, postgres_server.url(database_url.rpartition("/")[2]))
    yield bank
    await bank.close()


@pytest.fixture
def topology() -> Topology:
    """Return names that no other test uses, with retry tiers that a test can sit out."""
    name = f"test{next(_numbers)}"
    return Topology(
        f"{name}.events",
        f"{name}.events.dlx",
        (100, 300),
        auth_exchange=f"{name}.auth",
        transaction_exchange=f"{name}.transactions",
        user_queue=f"{name}.user.q",
        update_queue=f"{name}.update.q",
        revert_queue=f"{name}.revert.q",
    )


@pytest.fixture
async def worker_at(bank: Bank, topology: Topology) -> AsyncIterator[Callable[..., Worker]]:
    """Yield the builder of workers: from a broker's URL or None, and a database's if another."""
    workers: list[Worker] = []

    def build(broker_url: str | None, database_url: str = bank.url) -> Worker:
        workers.append(Worker(database_url, broker_url, topology))
        return workers[-1]

    yield build
    for worker in workers:
        await worker.close()
