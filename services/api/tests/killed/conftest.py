"""This module is where a process is stopped at an exact step, to be killed right there."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import pytest

from wallet_tools import environment
from wallet_tools.postgres import PostgresServer

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]

TRAP = 4_712


class Wire:
    """A way to the server that holds back one message, and what comes after it on that way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pattern = b""
        self._nth = 0
        self._go = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self.entrance = 0
        self.holds = asyncio.Event()

    def hold(self, pattern: bytes, nth: int = 1) -> None:
        """Hold the nth message like this from now on; what is held already goes on its way."""
        self._pattern, self._nth = pattern, nth
        self._go.set()
        self._go, self.holds = asyncio.Event(), asyncio.Event()

    def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._open.add(connection)
        connection.add_done_callback(self._open.discard)

    async def close(self) -> None:
        """Cut whatever is still open."""
        for each in self._open:
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        ways = {
            asyncio.create_task(self._carry(reader, forth)),
            asyncio.create_task(self._carry(back, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever dies at one end is gone at the other, and what was held never arrives.
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (forth, writer):
                end.transport.abort()
                with suppress(ConnectionError):
                    await end.wait_closed()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if self._pattern and self._pattern in data:
                    self._nth -= 1
                    if self._nth == 0:
                        go = self._go
                        self.holds.set()
                        await go.wait()
                sink.write(data)
                await sink.drain()


class Victim:
    """An API process whose every word with its database goes over the wire."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self.url = url

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Trap:
    """Makes whoever touches a table wait at a known step, and knows when somebody does."""

    def __init__(self, holder: asyncpg.Connection, watcher: asyncpg.Connection) -> None:
        self._holder = holder
        self._watcher = watcher

    async def lock(self, table: str) -> None:
        """Let the first statement that names the table wait."""
        await self._holder.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

    async def before_rows_of(self, table: str) -> None:
        """Let the statement wait right before it writes its first row of the table."""
        await self._holder.execute(f"""
            CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock({TRAP}); RETURN NEW; END $$;
            CREATE TRIGGER trap BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trap();
            BEGIN; SELECT pg_advisory_xact_lock({TRAP})
        """)

    async def has_caught(self) -> bool:
        """Whether somebody waits here; whoever holds the trap waits for nobody."""
        sql = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
        return bool(await self._watcher.fetchval(sql))

    async def release(self) -> None:
        await self._holder.execute("ROLLBACK")


@pytest.fixture
async def wire(postgres_server: PostgresServer) -> AsyncIterator[Wire]:
    """Yield the way to the server."""
    wire = Wire(postgres_server.port)
    async with await asyncio.start_server(wire.enter, "127.0.0.1", 0) as server:
        wire.entrance = server.sockets[0].getsockname()[1]
        yield wire
        await wire.close()


@pytest.fixture
async def victim(start_api: Start, wire: Wire, database_url: str) -> Victim:
    """Return the process that is going to die."""
    address = urlsplit(database_url)
    login = address.netloc.rpartition(":")[0]
    url = address._replace(netloc=f"{login}:{wire.entrance}").geturl()
    process, at = await asyncio.to_thread(start_api, WALLET_DATABASE_URL=url)
    return Victim(process, at)


@pytest.fixture
async def trap(database_url: str) -> AsyncIterator[Trap]:
    """Yield the trap."""
    url = database_url.replace("+asyncpg", "")
    holder, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    yield Trap(holder, watcher)
    for each in (holder, watcher):
        await each.close(timeout=5)


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Yield how to start a worker on the same database, without a broker."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        variables = environment.of_service(database_url, None, "") | {"LOG_LEVEL": "ERROR"}
        process = subprocess.Popen([sys.executable, "-m", "wallet_worker.main"], env=variables)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
