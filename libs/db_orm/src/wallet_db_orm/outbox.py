"""This module is where events that nobody confirmed yet are taken, and removed once they are."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from wallet_common.events import encode
from wallet_db_orm.database import asyncpg_url
from wallet_db_orm.rows import envelope_of

# Any fixed number: who holds this advisory lock is the one relay of the database.
_RELAY_LOCK: Final = 7_302_118_002
# A relay that says nothing for so long is dead or stopped: the server ends its session, which
# frees the lock, and whatever the sleeper does on waking meets a closed connection.
IDLE_SESSION_TIMEOUT_MS: Final = 4_000


class Pending(msgspec.Struct, frozen=True):
    """An event on its way out; `body` is the encoded envelope."""

    position: int
    wallet_id: str
    event_id: str
    routing_key: str
    body: bytes


class Lag(msgspec.Struct, frozen=True):
    """How far the relay is behind: rows not yet confirmed, and the age of the oldest."""

    rows: int
    seconds: float


class RelaySession:
    """
    The one connection of a relay: it holds the lock, and only through it rows are removed.

    So a relay that lost the lock, however late it notices, can publish twice but never remove
    what its successor has not published.
    """

    def __init__(self, database_url: str) -> None:
        settings = {
            "application_name": "wallet-relay",
            "idle_session_timeout": str(IDLE_SESSION_TIMEOUT_MS),
            "timezone": "UTC",
            "enable_seqscan": "off",
        }
        self._engine = create_async_engine(
            asyncpg_url(database_url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            json_deserializer=str,
            connect_args={"timeout": 3, "command_timeout": 10, "server_settings": settings},
        )
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> bool:
        """Try to become the active relay; False while another one is."""
        if self._connection is None:
            self._connection = await self._engine.connect()
        locked = await self._connection.execute(_TRY_LOCK, {"lock": _RELAY_LOCK})
        return bool(locked.scalar_one())

    async def take(self, limit: int, *, without: Collection[str] = ()) -> Sequence[Pending]:
        """Return the first `limit` events not confirmed yet, in order, `without` some wallets'."""
        rows = await self._held().execute(_TAKE, {"limit": limit, "without": list(without)})
        return [_pending(row) for row in rows]

    async def remove(self, positions: Sequence[int]) -> None:
        """Forget events that the receiver has confirmed."""
        await self._held().execute(_REMOVE, {"positions": list(positions)})

    async def close(self) -> None:
        """Give the lock up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _held(self) -> AsyncConnection:
        assert self._connection is not None, "acquire() comes first"
        return self._connection


async def lag(engine: AsyncEngine) -> Lag:
    """Measure how far behind the relay is."""
    async with engine.connect() as connection:
        row = (await connection.execute(_LAG)).one()
    return Lag(row.rows, float(row.seconds))  # tidy: seconds, not money


async def is_active(engine: AsyncEngine) -> bool:
    """Say whether some relay holds the lock."""
    async with engine.connect() as connection:
        held = await connection.execute(_IS_HELD, {"lock": _RELAY_LOCK})
        return bool(held.scalar_one())


_TRY_LOCK: Final = text("""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = :lock
) OR pg_try_advisory_lock(:lock)
""")

_IS_HELD: Final = text("""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32 | objid::bigint) = :lock
)
""")

# LEFT JOIN: a row without its event goes out as the unreadable message that it is, and so ends
# with the dead letters instead of stopping everything behind it. LATERAL … OFFSET 0: one index
# probe per row, whatever the planner thinks of the size of `events`.
_TAKE: Final = text("""
SELECT o.position, o.wallet_id, o.event_id AS id, coalesce(e.type, 'Missing') AS type,
    coalesce(e.occurred_at, o.recorded_at) AS occurred_at, coalesce(e.payload, 'null') AS payload,
    e.wallet_version, e.transfer_id, e.audit_id, e.trace_id
FROM (
    SELECT * FROM outbox WHERE wallet_id <> ALL(CAST(:without AS text[]))
    ORDER BY position LIMIT :limit
) AS o
LEFT JOIN LATERAL (
    SELECT * FROM events AS kept WHERE kept.wallet_id = o.wallet_id AND kept.id = o.event_id
    OFFSET 0
) AS e ON true
ORDER BY o.position
""")

_REMOVE: Final = text("DELETE FROM outbox WHERE position = ANY(:positions)")

_LAG: Final = text("""
SELECT count(*) AS rows,
    coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0) AS seconds
FROM outbox
""")


def _pending(row: Row[Any]) -> Pending:
    envelope = envelope_of(row)
    return Pending(row.position, row.wallet_id, envelope.id, envelope.type, encode(envelope))
