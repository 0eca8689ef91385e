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


async def wallets(
    engine: AsyncEngine,
    *,
    owner_id: str | None,
    currency: str | None,
    status: str | None,
    wanted: tuple[str, Sequence[bytes]] | None,
    after: str,
    limit: int,
) -> Rows:
    """
    Return wallets in id order, those behind the id `after`.

    `wanted` is a key of personal data with the digests that its value may have in the index.
    """
    asked = {"currency": currency, "status": status, "after": after, "limit": limit}
    if wanted is not None:
        key, digests = wanted
        found = {"key": key, "digests": digests, "owner_id": owner_id}
        return await _all(engine, _WALLETS_INDEXED, **found, **asked)
    if owner_id is None:
        return await _all(engine, _WALLETS, **asked)
    return await _all(engine, _WALLETS_OF_OWNER, owner_id=owner_id, **asked)


async def history(
    engine: AsyncEngine,
    wallet_id: str,
    *,
    below_version: int | None,
    before: datetime | None,
    limit: int,
    owner_id: str | None = None,
) -> Sequence[Envelope]:
    """Return the wallet's own events, newest first; none of a wallet of another owner."""
    rows = await _all(
        engine,
        _HISTORY,
        wallet_id=wallet_id,
        owner_id=owner_id,
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
    owner_id: str | None = None,
) -> Rows:
    """
    Return the wallet's ledger entries, newest first; `until` is not included.

    None of a wallet of another owner.
    """
    return await _all(
        engine,
        _ENTRIES,
        wallet_id=wallet_id,
        owner_id=owner_id,
        below_version=_NEWEST if below_version is None else below_version,
        since=since,
        until=until,
        entry_type=entry_type,
        limit=limit,
    )


async def stats(
    engine: AsyncEngine, wallet_id: str, *, owner_id: str | None = None
) -> Row[Any] | None:
    """Return the wallet's statistics, null where no event has arrived yet."""
    return await _one(engine, _STATS, wallet_id=wallet_id, owner_id=owner_id)


async def flags(engine: AsyncEngine, wallet_id: str, *, limit: int) -> Rows:
    """Return the wallet's latest fraud flags, newest first."""
    return await _all(engine, _FLAGS, wallet_id=wallet_id, limit=limit)


async def operation(
    engine: AsyncEngine, wallet_id: str, request_id: str, *, owner_id: str | None = None
) -> Operation | None:
    """Return what is remembered under the wallet's key; nothing if it is another owner's."""
    asked = {"wallet_id": wallet_id, "request_id": request_id, "owner_id": owner_id}
    row = await _one(engine, _OPERATION, **asked)
    return None if row is None else operation_of(row)


async def transfer(
    engine: AsyncEngine, transfer_id: str, *, owner_id: str | None = None
) -> tuple[StoredTransfer, Row[Any]] | None:
    """Return a transfer, and its row with the times of its steps; it is its sender's."""
    row = await _one(engine, _TRANSFER, transfer_id=transfer_id, owner_id=owner_id)
    return None if row is None else (stored_transfer_of(row), row)


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    await _one(engine, _PING)


async def _one(engine: AsyncEngine, statement: Any, **parameters: object) -> Row[Any] | None:  # noqa: ANN401
    return (await ask(engine, statement, parameters)).one_or_none()


async def _all(engine: AsyncEngine, statement: Any, **parameters: object) -> Rows:  # noqa: ANN401
    return (await ask(engine, statement, parameters)).all()


async def ask(engine: AsyncEngine, statement: Any, parameters: Any) -> Result[Any]:  # noqa: ANN401
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


# Of a hold whose time is over nothing is held, whether anybody has noted that or not.
WALLET_COLUMNS: Final = """
    id, owner_id, currency, balance_minor, CASE WHEN held_minor = 0 THEN 0 ELSE held_minor - (
        SELECT coalesce(sum(amount_minor - captured_minor - released_minor), 0)::bigint
        FROM holds AS h
        WHERE h.wallet_id = wallets.id AND h.status = 'open'
            AND h.expires_at <= statement_timestamp()
    ) END AS held_minor, status, version, created_at, updated_at, metadata
"""

_PING: Final = text("SELECT 1")

_WALLET: Final = text(f"""
SELECT {WALLET_COLUMNS} FROM wallets WHERE id = :wallet_id
""")  # noqa: S608  # a constant

_WALLETS: Final = text(f"""
SELECT {WALLET_COLUMNS} FROM wallets
WHERE id > :after
    AND (CAST(:currency AS text) IS NULL OR currency = :currency)
    AND (CAST(:status AS text) IS NULL OR status = :status)
ORDER BY id LIMIT :limit
""")  # noqa: S608  # a constant

# Along the index of digests, however many wallets there are; a wallet has a key once.
_WALLETS_INDEXED: Final = text(f"""
SELECT {WALLET_COLUMNS} FROM (
    SELECT wallet_id FROM pii_index
    WHERE pii_index.key = :key AND digest = ANY(CAST(:digests AS bytea[])) AND wallet_id > :after
) AS indexed
JOIN wallets ON wallets.id = indexed.wallet_id
WHERE (CAST(:owner_id AS text) IS NULL OR owner_id = :owner_id)
    AND (CAST(:currency AS text) IS NULL OR currency = :currency)
    AND (CAST(:status AS text) IS NULL OR status = :status)
ORDER BY id LIMIT :limit
""")  # noqa: S608  # a constant

# An owner has few wallets, found by the owner whatever the planner knows of the others.
_WALLETS_OF_OWNER: Final = text(f"""
SELECT * FROM (
    SELECT {WALLET_COLUMNS} FROM wallets WHERE owner_id = :owner_id OFFSET 0
) AS theirs
WHERE id > :after
    AND (CAST(:currency AS text) IS NULL OR currency = :currency)
    AND (CAST(:status AS text) IS NULL OR status = :status)
ORDER BY id LIMIT :limit
""")  # noqa: S608  # a constant

# Asked once before a wallet's rows are read, so that a stranger's wallet costs what none does.
_IS_THEIRS: Final = """
    (CAST(:owner_id AS text) IS NULL
        OR (SELECT owner_id = :owner_id FROM wallets WHERE id = :wallet_id))
"""

# The bound on the version is always there, so that it is the index's even in a generic plan: a page
# deep in a long past costs what the first one does.
_NEWEST: Final = 2**63 - 1

_HISTORY: Final = text(f"""
SELECT id, type, occurred_at, wallet_id, wallet_version, transfer_id, audit_id, trace_id, payload
FROM events
WHERE wallet_id = :wallet_id AND wallet_version IS NOT NULL
    AND wallet_version < :below_version
    AND (CAST(:before AS timestamptz) IS NULL OR occurred_at < :before)
    AND {_IS_THEIRS}
ORDER BY wallet_version DESC LIMIT :limit
""")  # noqa: S608  # a constant

# No entry is ever edited: what became of it is what its transfer and its reversals say by now. The
# reversals of a transfer are its recipient's, who gives the money back.
_ENTRIES: Final = text(f"""
SELECT l.*, x.quote_id, x.rate, CASE
    WHEN l.type = 'transfer_debit' AND t.state = 'debited' THEN 'PENDING'
    WHEN l.type = 'transfer_debit' AND t.state = 'failed' THEN 'REVERSED'
    WHEN l.counter_account = '@fees' THEN 'CONFIRMED'
    WHEN back.minor >= abs(l.amount_minor) THEN 'REVERSED'
    ELSE 'CONFIRMED' END AS status
FROM (
SELECT wallet_id, wallet_version, type, amount_minor, balance_after_minor, currency,
    counter_account, operation_id, transfer_id, request_id, occurred_at, audit_id, trace_id,
    reference, metadata
FROM ledger_entries
WHERE wallet_id = :wallet_id
    AND wallet_version < :below_version
    AND (CAST(:since AS timestamptz) IS NULL OR occurred_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR occurred_at < :until)
    AND (CAST(:entry_type AS text) IS NULL OR type = :entry_type)
    AND {_IS_THEIRS}
ORDER BY wallet_version DESC LIMIT :limit
) AS l
LEFT JOIN LATERAL (
    SELECT state, to_wallet_id FROM transfers
    WHERE from_wallet_id = l.wallet_id AND id = l.transfer_id OFFSET 0
) AS t ON l.type = 'transfer_debit'
LEFT JOIN LATERAL (
    SELECT quote_id, rate FROM transfers WHERE id = l.transfer_id OFFSET 0
) AS x ON l.counter_account LIKE '@fx:%'
CROSS JOIN LATERAL (
    SELECT sum(amount_minor) AS minor FROM reversals
    WHERE wallet_id = coalesce(t.to_wallet_id, l.wallet_id)
        AND operation_id = coalesce(l.transfer_id, l.operation_id)
) AS back
ORDER BY l.wallet_version DESC
""")  # noqa: S608  # a constant

_STATS: Final = text("""
SELECT w.id, w.currency, s.total_deposited_minor, s.total_withdrawn_minor,
    s.total_transferred_in_minor, s.total_transferred_out_minor, s.last_activity_at,
    s.suspicious, s.suspicious_reason
FROM wallets AS w LEFT JOIN wallet_stats AS s ON s.wallet_id = w.id
WHERE w.id = :wallet_id AND (CAST(:owner_id AS text) IS NULL OR w.owner_id = :owner_id)
""")

_FLAGS: Final = text("""
SELECT verdict FROM fraud_flags
WHERE wallet_id = :wallet_id
ORDER BY occurred_at DESC, event_id DESC, rule_id LIMIT :limit
""")

_OPERATION: Final = text(f"""
SELECT wallet_id, request_id, operation_id, type, meaning, outcome, trace_id, audit_id, occurred_at
FROM operations WHERE wallet_id = :wallet_id AND request_id = :request_id AND {_IS_THEIRS}
""")  # noqa: S608  # a constant

# The credit's time is that of the recipient's operation, found under its derived key.
_TRANSFER: Final = text("""
SELECT t.*, credit.occurred_at AS credited_at
FROM transfers AS t
LEFT JOIN operations AS credit
    ON credit.wallet_id = t.to_wallet_id AND credit.request_id = 'credit ' || t.id::text
        AND credit.outcome ->> 'type' = 'posted'
WHERE t.id = :transfer_id
    AND (CAST(:owner_id AS text) IS NULL
        OR (SELECT owner_id = :owner_id FROM wallets WHERE id = t.from_wallet_id))
""")
