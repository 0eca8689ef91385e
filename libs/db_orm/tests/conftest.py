"""This module is where tests of the books get them, as the service, a stranger and a forger."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from tests.orders import asked_for
from wallet_common import commands
from wallet_common.commands import Command, DebitTransfer, Deposit, OpenWallet, Withdraw
from wallet_common.errors import Busy
from wallet_common.events import Event, decode
from wallet_common.money import parse_amount
from wallet_common.operations import Receipt
from wallet_common.transfer import Transfer
from wallet_db_orm import transfers
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Order, Recorded
from wallet_db_orm.outbox import RelaySession
from wallet_db_orm.rows import StoredTransfer
from wallet_db_orm.verify import verify
from wallet_tools.postgres import PostgresServer

Paying = DebitTransfer | commands.CaptureHold | commands.ReverseOperation
APPLICATION, UNASKED = "wallet-test", "asked for by nobody"
_keys = itertools.count(1)

_GUARDS = """SELECT format('ALTER TABLE %s %%s TRIGGER %I', tgrelid::regclass, tgname) AS guard
FROM pg_trigger WHERE NOT tgisinternal AND (tgrelid = $1::text::regclass OR
tgrelid IN (SELECT relid FROM pg_partition_tree($1::text::regclass)))"""


class Ledger:
    """One process's way to the books: its connections and its lanes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, application_name=APPLICATION)
        self.lanes = GroupCommit(self.database)
        self.new_audit_id: Callable[[], str] = new_id

    async def ask(self, command: Command, *, audited: bool = False) -> Applied:
        """Submit a command as an HTTP request would, with or without its audit record."""
        audit_id = self.new_audit_id()
        if audited:
            return await self.lanes.submit(asked_for(command, audit_id))
        return await self.lanes.submit(Order(command, f"trace-{audit_id}"))

    async def record(self, command: Command, *, audited: bool = False) -> Recorded:
        settled = await self.ask(command, audited=audited)
        assert isinstance(settled, Recorded), settled
        return settled

    async def post(self, command: Command, *, audited: bool = False) -> Receipt:
        """Submit a command that must succeed and return its receipt."""
        outcome = (await self.record(command, audited=audited)).operation.outcome
        assert isinstance(outcome, Receipt), outcome
        return outcome

    async def insist(self, command: Command) -> Recorded:
        """Ask again with the same key, as a client does, until there is an outcome."""
        while True:
            with suppress(Busy):
                return await self.record(command)

    async def debit(self, command: Paying, *, audited: bool = False) -> StoredTransfer:
        """Take a transfer's first step and no more, as a driver that dies right after it."""
        await self.post(command, audited=audited)
        return await self.stored(command)

    async def stored(self, command: Paying) -> StoredTransfer:
        return await transfers.load(self.database.primary, command.wallet_id, command.operation_id)

    async def transfer(self, command: Paying, *, audited: bool = False) -> Transfer:
        return await self.finished(await self.debit(command, audited=audited))

    async def finished(self, stored: StoredTransfer) -> Transfer:
        """Drive a transfer to its end, as its caller or as recovery."""
        return await transfers.finish(self.lanes, stored)

    async def told(self) -> list[Event]:
        """Take every event that waits in the outbox, as the one relay."""
        session = RelaySession(self.url)
        try:
            assert await session.acquire()
            pending = await session.take(100_000)
            await session.remove([each.position for each in pending])
        finally:
            await session.close()
        return [decode(each.body) for each in pending]

    async def violations(self, *, at_rest: bool = False) -> dict[str, list[dict[str, Any]]]:
        """
        Return what the proof finds, by invariant; nothing if the books are good.

        What a test has asked of the lanes without a request is left out, though A7 tells it.
        """
        report = await verify(self.database.primary, at_rest=at_rest)
        found = {
            each.id: told
            for each in report.invariants
            if (told := [one for one in each.violations if one.get("is") != UNASKED])
        }
        assert found or all(each.id == "A7" or not each.violations for each in report.invariants)
        return found

    async def close(self) -> None:
        await self.lanes.close()
        await self.database.dispose()


class Builders:
    """The commands a test needs, with a fresh key unless it names one."""

    def opening(self, wallet_id: str, currency: str = "USD", **more: Any) -> OpenWallet:  # noqa: ANN401  # its fields
        return OpenWallet(wallet_id, currency, **more)

    def deposit(self, wallet_id: str, amount: str, **more: object) -> Deposit:
        return Deposit(**self._asked(wallet_id, amount, {"opens_in": "USD"} | more))

    def withdrawal(self, wallet_id: str, amount: str, **more: object) -> Withdraw:
        return Withdraw(**self._asked(wallet_id, amount, more))

    def transfer(self, wallet_id: str, to: str, amount: str, **more: object) -> DebitTransfer:
        return DebitTransfer(**self._asked(wallet_id, amount, more), to_wallet_id=to)

    def hold(self, wallet_id: str, amount: str, **more: object) -> commands.PlaceHold:
        return commands.PlaceHold(**self._asked(wallet_id, amount, more))

    def capture(
        self,
        hold: commands.PlaceHold,
        amount: str | None = None,
        **more: Any,  # noqa: ANN401
    ) -> commands.CaptureHold:
        return commands.CaptureHold(**self._of_hold(hold, amount), **more)

    def release(self, hold: commands.PlaceHold, amount: str | None = None) -> commands.ReleaseHold:
        return commands.ReleaseHold(**self._of_hold(hold, amount))

    def _of_hold(self, hold: commands.PlaceHold, amount: str | None) -> dict[str, Any]:
        more: dict[str, object] = {"hold_id": hold.operation_id}
        return self._asked(
            hold.wallet_id, amount or "1", more | ({} if amount else {"amount": None})
        )

    def _asked(self, wallet_id: str, amount: str, more: dict[str, object]) -> dict[str, Any]:
        return {
            "wallet_id": wallet_id,
            "request_id": f"key-{next(_keys)}",
            "operation_id": new_id(),
            "amount": parse_amount(amount),
        } | more


class Books:
    """The database itself, as its superuser sees and abuses it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._own: asyncpg.Connection | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection beside the one that `execute` and its kin use."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def execute(self, sql: str, *arguments: object) -> str:
        return str(await (await self._connection()).execute(sql, *arguments))

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await (await self._connection()).fetch(sql, *arguments)]

    async def value(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401  # any column
        return await (await self._connection()).fetchval(sql, *arguments)

    async def count(self, table: str) -> int:
        return int(await self.value(f"SELECT count(*) FROM {table}"))

    async def balances(self) -> dict[str, int]:
        rows = await self.rows("SELECT id, balance_minor FROM wallets")
        return {row["id"]: row["balance_minor"] for row in rows}

    async def in_transit(self) -> int:
        legs = "ledger_entries WHERE counter_account = '@transit'"
        return int(await self.value(f"SELECT coalesce(-sum(amount_minor), 0) FROM {legs}"))

    async def tamper(self, table: str, sql: str, *arguments: object) -> None:
        """Change what refuses to be changed, as one who owns the tables can."""
        guards = [row["guard"] for row in await self.rows(_GUARDS, table)]
        async with (await self._connection()).transaction():
            await self.execute(";".join(["SELECT", *(each % "DISABLE" for each in guards)]))
            changed = await self.execute(sql, *arguments)
            assert not changed.endswith(" 0"), "nothing was tampered with"
            await self.execute(";".join(["SELECT", *(each % "ENABLE ALWAYS" for each in guards)]))

    @asynccontextmanager
    async def lock_on(self, *wallet_ids: str) -> AsyncIterator[None]:
        """Hold the wallets' rows as a stranger does, until the block ends."""
        async with self.session() as stranger, stranger.transaction():
            await stranger.fetch("SELECT FROM wallets WHERE id = ANY($1) FOR UPDATE", wallet_ids)
            yield

    async def terminate(self, application: str = APPLICATION) -> int:
        """End every session of an application, as an administrator or a failover does."""
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = $1 AND datname = current_database()"
        )
        return len(await self.rows(ended, application))

    async def deadlocks(self) -> int:
        """Count deadlocks once all our sessions have ended: by then each has reported its own."""
        others = (
            "SELECT count(*) = 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = $1"
        )
        assert await until(lambda: self.value(others, APPLICATION))
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(await self.value(counted))

    async def close(self) -> None:
        if self._own is not None:
            await self._own.close(timeout=5)

    async def _connection(self) -> asyncpg.Connection:
        if self._own is None:
            self._own = await asyncpg.connect(self.url)
        return self._own


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10) -> bool:
    """Ask until the answer is yes or the time is up; return the last answer."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[bool]]:
    """Return the poller: it waits for a condition, never for a time."""
    return until


@pytest.fixture
def a() -> Builders:
    """Return the builders of commands: `a.deposit("w1", "10.00")`."""
    return Builders()


@pytest.fixture
async def books(postgres_server: PostgresServer, database_url: str) -> AsyncIterator[Books]:
    """Yield the superuser's way to this test's database."""
    books = Books(postgres_server.url(database_url.rpartition("/")[2]))
    yield books
    await books.close()


@pytest.fixture
async def breakable(database_url: str) -> AsyncIterator[Ledger]:
    """Yield the books of a test that breaks them."""
    ledger = Ledger(database_url)
    yield ledger
    await ledger.close()


@pytest.fixture
async def ledger(breakable: Ledger) -> AsyncIterator[Ledger]:
    """Yield the books; whatever the test did, they are proved at its end."""
    yield breakable
    # The test may have ended our sessions.
    await breakable.close()
    assert await breakable.violations() == {}


@pytest.fixture
async def other(database_url: str, ledger: Ledger) -> AsyncIterator[Ledger]:
    """Yield another process's way to the same books."""
    other = Ledger(database_url)
    yield other
    await other.close()
