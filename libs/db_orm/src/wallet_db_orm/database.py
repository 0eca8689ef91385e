"""This module is where connections come from, and where the database's troubles get a name."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from enum import Enum
from typing import Any, Final, TypeAlias

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# Lanes of a process's group commit, if nothing else is asked.
LANES: Final = 2
# A lane's transactions at a time, one connection each.
LANE_TRANSACTIONS: Final = 2
# A lane does not wait long for a stranger's lock; the wallet then gets a lane of its own.
LANE_LOCK_TIMEOUT_MS: Final = 250
LOCK_TIMEOUT_MS: Final = 2_000
STATEMENT_TIMEOUT_MS: Final = 8_000
_IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 15_000
_CONNECT_TIMEOUT_S: Final = 3
_APART_CONNECTIONS: Final = 12


class Database:
    """
    The engines of one process, made lazily: nothing connects before the first statement.

    `primary` serves single transactions, `lanes` the group commit, `apart` the wallets that wait
    for a stranger's lock (so that waiting takes no connection from anybody else), `fresh` reads
    that must see the latest commit, `reads` all others, on the replica if there is one. `listening`
    has the one connection that hears the doorbell.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        read_url: str | None = None,
        pool_size: int = 8,
        lane_count: int = LANES,
    ) -> None:
        self.lane_count = lane_count
        self.primary = _engine(url, application_name, pool_size, LOCK_TIMEOUT_MS)
        transactions = lane_count * LANE_TRANSACTIONS
        self.lanes = _engine(url, application_name, transactions, LANE_LOCK_TIMEOUT_MS)
        self.apart = _engine(url, application_name, _APART_CONNECTIONS, LOCK_TIMEOUT_MS)
        # The same connections, for statements that are a transaction each.
        self.fresh = _by_statement(self.primary)
        self.listening = _by_statement(_engine(url, application_name, 1, LOCK_TIMEOUT_MS))
        self.reads = (
            _by_statement(_engine(read_url, application_name, pool_size, LOCK_TIMEOUT_MS))
            if read_url
            else self.fresh
        )

    async def dispose(self) -> None:
        """Close every connection."""
        for engine in {self.primary, self.lanes, self.apart, self.listening, self.reads}:
            await engine.dispose()


class Row(asyncpg.Record):  # type: ignore[misc]  # the driver is untyped
    """A row of the driver's; its columns are attributes too."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the column holds
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


Driver: TypeAlias = asyncpg.Connection


class Lease:
    """
    One of an engine's connections, kept from one use to the next until `aclose`.

    Yields the driver's own connection, for what runs thousands of times a second: SQLAlchemy, which
    keeps the connection, would put a greenlet and a result object around each statement, and taking
    one out of the pool and putting it back costs as much again. See docs/adr/0015.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[Driver]:
        """Yield the connection, a new one if it was lost; one at a time."""
        if self._connection is None:
            self._connection = await self._engine.connect()
        driver = await driver_of(self._connection)
        if driver.is_closed():
            # It went away while nobody used it; a new one is made.
            await self._connection.invalidate()
            driver = await driver_of(self._connection)
        try:
            yield driver
        except BaseException as error:
            # What did not end cleanly is not used again.
            if not isinstance(error, Exception) or trouble(error) is Trouble.CONNECTION:
                await self._connection.invalidate()
            raise

    async def aclose(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


@asynccontextmanager
async def statement(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """Yield the driver's own connection, for single statements that commit by themselves."""
    async with aclosing(Lease(engine)) as lease, lease.driver() as driver:
        yield driver


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """Yield the same inside one transaction: leaving commits, raising rolls back."""
    async with statement(engine) as driver, driver.transaction():
        yield driver


async def driver_of(connection: AsyncConnection) -> Driver:
    """Return the driver's connection behind SQLAlchemy's."""
    driver: Driver = (await connection.get_raw_connection()).driver_connection
    return driver


def asyncpg_url(url: str) -> str:
    """Return `url` with the driver spelled out, whichever way the operator wrote it."""
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgres", "postgresql"}:
        scheme = "postgresql+asyncpg"
    return f"{scheme}{separator}{rest}"


def _by_statement(engine: AsyncEngine) -> AsyncEngine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _engine(url: str, application_name: str, pool_size: int, lock_timeout_ms: int) -> AsyncEngine:
    server_settings: Mapping[str, str] = {
        "application_name": application_name,
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "lock_timeout": str(lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_TIMEOUT_MS),
        "timezone": "UTC",
        "jit": "off",
        # A plan that was made while a table was empty must not go on reading all of it.
        "enable_seqscan": "off",
    }
    return create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=0,
        # What a statement was given is told in no error and no log.
        hide_parameters=True,
        pool_timeout=5,
        pool_use_lifo=True,
        # JSON passes through as the text it is: decoding it twice would change its numbers.
        json_serializer=str,
        json_deserializer=_as_text,
        connect_args={
            "record_class": Row,
            "timeout": _CONNECT_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_MS / 1000 + 2,
            "server_settings": server_settings,
        },
    )


def _as_text(json: str | bytes) -> str:
    return json if isinstance(json, str) else json.decode()


class Trouble(Enum):
    """What kind of failure a transaction met, by what helps against it."""

    CONTENTION = "somebody else holds a lock: wait apart from the others"
    CONNECTION = "the database went away: ask again on a new connection"
    EXHAUSTION = "the database has no room: give up for now"
    OTHER = "not the database's state but this very statement"


_CONTENTION: Final = {"55P03", "40P01", "40001", "57014", "23505"}
_CONNECTION: Final = {"57P01", "57P02", "57P03", "53300", "25P03", "25006"}


def trouble(error: BaseException) -> Trouble:
    """Name the trouble behind an exception that a transaction raised."""
    if isinstance(error, (PoolTimeoutError, OSError, asyncio.TimeoutError, InterfaceError)):
        return Trouble.CONNECTION
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return Trouble.CONNECTION
        sqlstate = getattr(error.orig, "sqlstate", None)
    elif isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate
    elif isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        # The driver's own word for a connection in no state to be used, or for a bad argument.
        return Trouble.OTHER if isinstance(error, ValueError) else Trouble.CONNECTION
    else:
        return Trouble.OTHER
    if sqlstate is None or sqlstate in _CONNECTION or sqlstate.startswith("08"):
        return Trouble.CONNECTION
    if sqlstate in _CONTENTION:
        return Trouble.CONTENTION
    if sqlstate.startswith(("53", "58", "XX")):
        return Trouble.EXHAUSTION
    return Trouble.OTHER
