"""This module is where reads live: plain selects, plain rows, one index probe each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Result, Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.events import Envelope
from wallet_common.operations import Operation
from wallet_db_orm.rows import StoredTransfer, envelope_of, operation_of, stored_transfer_of

Rows = Sequence[Row[Any]]


async def wallet(engine: AsyncEngine, wallet_id: str) -> Row[Any] | None:
    """Return the wallet as it stands."""
    return await _one(engine, _WALLET, wallet_id=wallet_id)


async def wallet_at(engine: AsyncEngine, wallet_id: str, at: datetime) -> Row[Any] | None:
    """Return the wallet as it stood at `at`; None before it existed."""
    return await _one(engine, _WALLET_AT, wallet_id=wallet_id, at=at)


async def wallets(
    engine: AsyncEngine,
    *,
    owner_id: str | None,
    currency: str | None,
    status: str | None,
    after: str,
    limit: int,
) -> Rows:
    """Return wallets in id order, those behind the id `after`."""
    return await _all(
        engine,
        _WALLETS,
        owner_id=owner_id,
        currency=currency,
        status=status,
        after=after,
        limit=limit,
    )


async def history(
    engine: AsyncEngine,
    wallet_id: str,
    *,
    below_version: int | None,
    before: datetime | None,
    limit: int,
) -> Sequence[Envelope]:
    """Return the wallet's own events, newest first."""
    rows = await _all(
        engine,
        _HISTORY,
        wallet_id=wallet_id,
        below_version=_NEWEST if below_version is None else below_version,
        before=before,
        limit=limit,
    )
    return [envelope_of(row) for row in rows]


async def entries(
    engine: AsyncEngine,
    wallet_id: str,
    *,
    below_version: int | None,
    since: datetime | None,
    until: datetime | None,
    entry_type: str | None,
    limit: int,
) -> Rows:
    """Return the wallet's ledger entries, newest first; `until` is not included."""
    return await _all(
        engine,
        _ENTRIES,
        wallet_id=wallet_id,
        below_version=_NEWEST if below_version is None else below_version,
        since=since,
        until=until,
        entry_type=entry_type,
        limit=limit,
    )


async def stats(engine: AsyncEngine, wallet_id: str) -> Row[Any] | None:
    """Return the wallet's statistics, null where no event has arrived yet."""
    return await _one(engine, _STATS, wallet_id=wallet_id)


async def flags(engine: AsyncEngine, wallet_id: str, *, limit: int) -> Rows:
    """Return the wallet's latest fraud flags, newest first."""
    return await _all(engine, _FLAGS, wallet_id=wallet_id, limit=limit)


async def operation(engine: AsyncEngine, wallet_id: str, request_id: str) -> Operation | None:
    """Return what is remembered under the wallet's key."""
    row = await _one(engine, _OPERATION, wallet_id=wallet_id, request_id=request_id)
    return None if row is None else operation_of(row)


async def transfer(engine: AsyncEngine, transfer_id: str) -> tuple[StoredTransfer, Row[Any]] | None:
    """Return a transfer, and its row with the times of its steps."""
    row = await _one(engine, _TRANSFER, transfer_id=transfer_id)
    return None if row is None else (stored_transfer_of(row), row)


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    await _one(engine, _PING)


async def _one(engine: AsyncEngine, statement: Any, **parameters: object) -> Row[Any] | None:  # noqa: ANN401
    return (await _rows(engine, statement, parameters)).one_or_none()


async def _all(engine: AsyncEngine, statement: Any, **parameters: object) -> Rows:  # noqa: ANN401
    return (await _rows(engine, statement, parameters)).all()


async def _rows(engine: AsyncEngine, statement: Any, parameters: Any) -> Result[Any]:  # noqa: ANN401
    """Ask, and once more if the connection was stale: after a restart all pooled ones are."""
    try:
        return await _asked(engine, statement, parameters)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        return await _asked(engine, statement, parameters)


async def _asked(engine: AsyncEngine, statement: Any, parameters: Any) -> Result[Any]:  # noqa: ANN401
    async with engine.connect() as connection:
        result: Result[Any] = await connection.execute(statement, parameters)
        return result


WALLET_COLUMNS: Final = (
    "id, owner_id, currency, balance_minor, held_minor, status, version, created_at, updated_at,"
    " metadata"
)

_PING: Final = text("SELECT 1")

_WALLET: Final = text(f"""
SELECT {WALLET_COLUMNS} FROM wallets WHERE id = :wallet_id
""")  # noqa: S608  # a constant

# The version of that instant comes from the events, the balance from the last entry up to it.
_WALLET_AT: Final = text("""
SELECT w.id, w.owner_id, w.currency, coalesce(entry.balance_after_minor, 0) AS balance_minor,
    0::bigint AS held_minor, w.status, latest.wallet_version AS version, w.created_at,
    latest.occurred_at AS updated_at, w.metadata
FROM wallets AS w
CROSS JOIN LATERAL (
    SELECT wallet_version, occurred_at FROM events
    WHERE wallet_id = w.id AND wallet_version IS NOT NULL AND occurred_at <= :at
    ORDER BY wallet_version DESC LIMIT 1
) AS latest
LEFT JOIN LATERAL (
    SELECT balance_after_minor FROM ledger_entries
    WHERE wallet_id = w.id AND wallet_version <= latest.wallet_version
    ORDER BY wallet_version DESC LIMIT 1
) AS entry ON true
WHERE w.id = :wallet_id
""")

_WALLETS: Final = text(f"""
SELECT {WALLET_COLUMNS} FROM wallets
WHERE id > :after
    AND (CAST(:owner_id AS text) IS NULL OR owner_id = :owner_id)
    AND (CAST(:currency AS text) IS NULL OR currency = :currency)
    AND (CAST(:status AS text) IS NULL OR status = :status)
ORDER BY id LIMIT :limit
""")  # noqa: S608  # a constant

# The bound on the version is always there, so that it is the index's even in a generic plan: a page
# deep in a long past costs what the first one does.
_NEWEST: Final = 2**63 - 1

_HISTORY: Final = text("""
SELECT id, type, occurred_at, wallet_id, wallet_version, transfer_id, audit_id, trace_id, payload
FROM events
WHERE wallet_id = :wallet_id AND wallet_version IS NOT NULL
    AND wallet_version < :below_version
    AND (CAST(:before AS timestamptz) IS NULL OR occurred_at < :before)
ORDER BY wallet_version DESC LIMIT :limit
""")

_ENTRIES: Final = text("""
SELECT wallet_id, wallet_version, type, amount_minor, balance_after_minor, currency,
    counter_account, operation_id, transfer_id, request_id, occurred_at, audit_id, trace_id,
    reference, metadata
FROM ledger_entries
WHERE wallet_id = :wallet_id
    AND wallet_version < :below_version
    AND (CAST(:since AS timestamptz) IS NULL OR occurred_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR occurred_at < :until)
    AND (CAST(:entry_type AS text) IS NULL OR type = :entry_type)
ORDER BY wallet_version DESC LIMIT :limit
""")

_STATS: Final = text("""
SELECT w.id, w.currency, s.total_deposited_minor, s.total_withdrawn_minor,
    s.total_transferred_in_minor, s.total_transferred_out_minor, s.last_activity_at,
    s.suspicious, s.suspicious_reason
FROM wallets AS w LEFT JOIN wallet_stats AS s ON s.wallet_id = w.id
WHERE w.id = :wallet_id
""")

_FLAGS: Final = text("""
SELECT verdict FROM fraud_flags
WHERE wallet_id = :wallet_id
ORDER BY occurred_at DESC, event_id DESC, rule_id LIMIT :limit
""")

_OPERATION: Final = text("""
SELECT wallet_id, request_id, operation_id, type, meaning, outcome, trace_id, audit_id, occurred_at
FROM operations WHERE wallet_id = :wallet_id AND request_id = :request_id
""")

# The credit's time is that of the recipient's operation, found under its derived key.
_TRANSFER: Final = text("""
SELECT t.*, credit.occurred_at AS credited_at
FROM transfers AS t
LEFT JOIN operations AS credit
    ON credit.wallet_id = t.to_wallet_id AND credit.request_id = 'credit ' || t.id::text
        AND credit.outcome ->> 'type' = 'posted'
WHERE t.id = :transfer_id
""")
