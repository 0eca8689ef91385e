"""This module is where events that nobody confirmed yet are taken, and removed once they are."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from wallet_common.events import Envelope, encode
from wallet_common.topology import ANSWER_KEY
from wallet_db_orm.database import Driver, asyncpg_url
from wallet_db_orm.doorbell import Listener

# Any fixed number: who holds this advisory lock is the one relay of the database.
RELAY_LOCK: Final = 7_302_118_002
# A relay that says nothing for so long is dead or stopped: the server ends its session, which
# frees the lock, and whatever the sleeper does on waking meets a closed connection.
IDLE_SESSION_TIMEOUT_MS: Final = 3_000
# So long a statement may take for the server; its client, which may be stopped, waits longer.
STATEMENT_TIMEOUT_MS: Final = 10_000
_COMMAND_TIMEOUT_S: Final = 15
# What answers to other services are ordered by: among themselves, and no wallet's events behind
# them, for it is the others' queues that may refuse them. No wallet can be called so.
ANSWERS: Final = "@answers"
# Counting more would make a probe slow just when it matters.
COUNTED_MAX: Final = 100_000


class Pending(msgspec.Struct, frozen=True):
    """
    An event on its way out; `body` is the encoded envelope.

    Or an answer to another service: then `body` is all it says, and `wallet_id` only orders it.
    `replays` counts how often an operator put the event back.
    """

    position: int
    wallet_id: str
    event_id: str
    routing_key: str
    body: bytes
    is_answer: bool = False
    replays: int = 0


class Lag(msgspec.Struct, frozen=True):
    """
    How far the relay is behind: rows not yet confirmed, and the age of the first in line.

    Rows are counted up to `COUNTED_MAX`; more are told as the span of their positions, which is
    never too few.
    """

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
            # One that stops within a statement is not idle: neither before it has named the
            # arguments, nor while its system takes no more of the answer.
            "transaction_timeout": str(STATEMENT_TIMEOUT_MS),
            "tcp_user_timeout": str(IDLE_SESSION_TIMEOUT_MS),
            "timezone": "UTC",
            "enable_seqscan": "off",
        }
        self._engine = create_async_engine(
            asyncpg_url(database_url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            json_deserializer=str,
            connect_args={
                "timeout": 3,
                "command_timeout": _COMMAND_TIMEOUT_S,
                "server_settings": settings,
            },
        )
        self._connection: AsyncConnection | None = None
        self._driver: Driver | None = None
        self._bell = Listener()

    async def acquire(self) -> bool:
        """Try to become the active relay; False while another one is."""
        if self._connection is None:
            self._connection = await self._engine.connect()
            self._driver = (await self._connection.get_raw_connection()).driver_connection
            await self._bell.attach(self._driver)
        return bool(await self._held().fetchval(_TRY_LOCK, RELAY_LOCK))

    async def take(
        self, limit: int, *, without: Collection[str] = (), sent: Sequence[int] = ()
    ) -> Sequence[Pending]:
        """
        Return the first `limit` events not confirmed yet, in order.

        Neither those of the wallets in `without`, nor the positions that are `sent` already.
        """
        self._bell.expect()
        rows = await self._held().fetch(_TAKE, limit, list(without), list(sent))
        return [_pending(row) for row in rows]

    async def rest(self, seconds: float) -> None:
        """Return when there may be more than the last `take` found, or after so many seconds."""
        await self._bell.wait(seconds)

    async def remove(self, positions: Sequence[int]) -> None:
        """
        Forget events that the receiver has confirmed, and give them their place in the feed.

        In one statement and through the connection that holds the lock: places are given in one
        order, without a gap, and none is given behind one that somebody may have seen already.
        """
        await self._held().execute(_REMOVE, list(positions))

    async def close(self) -> None:
        """Give the lock up."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _held(self) -> Driver:
        assert self._driver is not None, "acquire() comes first"
        return self._driver


async def lag(engine: AsyncEngine) -> Lag:
    """Measure how far behind the relay is, at a bounded cost whatever the backlog."""
    async with engine.connect() as connection:
        row = (await connection.execute(LAG, {"counted_max": COUNTED_MAX})).one()
    return Lag(row.rows, float(row.seconds))  # tidy: seconds, not money


async def is_active(engine: AsyncEngine) -> bool:
    """Say whether some relay holds the lock."""
    async with engine.connect() as connection:
        held = await connection.execute(_IS_HELD, {"lock": RELAY_LOCK})
        return bool(held.scalar_one())


_TRY_LOCK: Final = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = $1::bigint
) OR pg_try_advisory_lock($1::bigint)
"""

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
_TAKE: Final = """
SELECT o.position, o.answer, o.replays,
    o.wallet_id, o.event_id, coalesce(e.type, 'Missing'),
    coalesce(e.occurred_at, o.recorded_at), coalesce(e.payload, 'null'),
    e.wallet_version, e.transfer_id, e.audit_id, e.trace_id
FROM (
    SELECT * FROM outbox
    WHERE wallet_id <> ALL($2::text[]) AND position <> ALL($3::bigint[])
    ORDER BY position LIMIT $1
) AS o
LEFT JOIN LATERAL (
    SELECT * FROM events AS kept WHERE kept.wallet_id = o.wallet_id AND kept.id = o.event_id
    OFFSET 0
) AS e ON true
ORDER BY o.position
"""

_REMOVE: Final = """
WITH gone AS (
    DELETE FROM outbox WHERE position = ANY($1::bigint[])
    RETURNING position, wallet_id, event_id, answer IS NULL AND replays = 0 AS is_news
)
INSERT INTO feed (position, wallet_id, event_id)
SELECT coalesce((SELECT position FROM feed ORDER BY position DESC LIMIT 1), 0)
    + row_number() OVER (ORDER BY gone.position), e.wallet_id, e.id
FROM gone CROSS JOIN LATERAL (
    SELECT wallet_id, id FROM events AS kept
    WHERE kept.wallet_id = gone.wallet_id AND kept.id = gone.event_id
    OFFSET 0
) AS e
WHERE gone.is_news
"""

# One more than is counted tells that there are more. The ends of the key are one probe each.
LAG: Final = text("""
SELECT
    CASE WHEN counted.rows <= :counted_max THEN counted.rows
        ELSE ends.last - ends.first + 1 END AS rows,
    coalesce(extract(epoch FROM clock_timestamp() - oldest.recorded_at), 0) AS seconds
FROM (
    SELECT count(*) AS rows FROM (
        SELECT position FROM outbox ORDER BY position LIMIT :counted_max + 1
    ) AS waiting
) AS counted
CROSS JOIN (SELECT min(position) AS first, max(position) AS last FROM outbox) AS ends
LEFT JOIN (
    SELECT recorded_at FROM outbox ORDER BY position LIMIT 1
) AS oldest ON true
""")


def _pending(row: Sequence[Any]) -> Pending:
    position, answer, replays, wallet_id, event_id, kind, *told = row
    if answer is not None:
        body = answer.encode()
        return Pending(position, wallet_id, str(event_id), ANSWER_KEY, body, is_answer=True)
    occurred_at, payload, wallet_version, transfer_id, audit_id, trace_id = told
    envelope = Envelope(
        id=str(event_id),
        type=kind,
        occurred_at=occurred_at,
        wallet_id=wallet_id,
        wallet_version=wallet_version,
        transfer_id=transfer_id and str(transfer_id),
        audit_id=audit_id and str(audit_id),
        trace_id=trace_id,
        payload=msgspec.Raw(payload.encode()),
    )
    return Pending(position, wallet_id, envelope.id, kind, encode(envelope), replays=replays)
