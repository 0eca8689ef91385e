"""
This module is where a wallet is read as it stood at some instant, along indexes alone.

A wallet's versions have no gap, and its events' times follow each other: so the version of an
instant is found by halving, an index probe for each half, however long the past is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import Database
from wallet_db_orm.queries import ask

# Longer than any transaction lasts, and than clocks are apart.
_RECENT: Final = timedelta(seconds=60)


async def wallet_at(engine: AsyncEngine, wallet_id: str, at: datetime) -> Row[Any] | None:
    """Return the wallet as it stood at `at`; None before it existed."""
    return (await ask(engine, _WALLET_AT, {"wallet_id": wallet_id, "at": at})).one_or_none()


async def changed_at(engine: AsyncEngine, wallet_id: str, version: int) -> datetime | None:
    """Return when the wallet got its version `version`; None if it never had it."""
    return (await ask(engine, _CHANGED_AT, {"wallet_id": wallet_id, "version": version})).scalar()


async def caught_up(
    database: Database, wallet_id: str, when: datetime | None, *, owner_id: str | None
) -> tuple[AsyncEngine, datetime | None]:
    """
    Return where all is visible that happened on the wallet up to `when`, and when that is.

    None is now; of a wallet that is not there nothing is known then.

    So an answer about the past is final, however recent. A transaction takes its time when it has
    the wallet's lock, and is seen once it has committed: of the last minute the primary is asked,
    after its lock was waited for, unless the wallet is another owner's than the one named. Raises
    as any statement that waits too long for a lock.
    """
    if when is not None and when < datetime.now(UTC) - _RECENT:
        return database.reads, when
    asked = {"wallet_id": wallet_id, "owner_id": owner_id}
    now = (await ask(database.fresh, _CATCH_UP, asked)).scalar()
    return database.fresh, when or now


async def statement(
    engine: AsyncEngine,
    wallet_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """
    Return the wallet's entries from `since` on and before `until`, oldest first, in one snapshot.

    Each row has the times asked for (else from its beginning until now) and the balance at both;
    without an entry there is one row with `wallet_version` None, without a wallet none.
    """
    asked = {"wallet_id": wallet_id, "since": since, "until": until, "limit": limit}
    return (await ask(engine, _STATEMENT, asked)).all()


def version_when(comparison: str, wallet_id: str = ":wallet_id") -> str:
    """Return the query of a wallet's last version whose time compares so; 0 before the first."""
    return f"""(
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, version FROM wallets WHERE id = {wallet_id}
        UNION ALL
        SELECT CASE WHEN is_before THEN middle ELSE low END,
            CASE WHEN is_before THEN high ELSE middle - 1 END
        FROM search
        CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS halved
        CROSS JOIN LATERAL (
            SELECT occurred_at {comparison} AS is_before FROM events
            WHERE wallet_id = {wallet_id} AND wallet_version = halved.middle OFFSET 0
        ) AS probed
        WHERE low < high
    )
    SELECT max(low) FROM search WHERE low = high
)"""  # noqa: S608  # our own text


_CHANGED_AT: Final = text("""
SELECT occurred_at FROM events WHERE wallet_id = :wallet_id AND wallet_version = :version
""")

_CATCH_UP: Final = text("""
SELECT statement_timestamp() FROM wallets
WHERE id = :wallet_id AND (CAST(:owner_id AS text) IS NULL OR owner_id = :owner_id)
FOR SHARE
""")

# The version of that instant comes from the events, the balance from the last entry up to it.
# Held is what the last event of a hold up to then says, without those whose time was over by then:
# whoever next has the wallet's lock notes these before all else, so they follow at once; what
# nobody has noted yet is still open.
_WALLET_AT: Final = text(f"""
SELECT w.id, w.owner_id, w.currency, coalesce(entry.balance_after_minor, 0) AS balance_minor,
    (coalesce(bound.minor, 0) - coalesce(noted.minor, 0) - coalesce(due.minor, 0))::bigint
        AS held_minor, coalesce(stood.status, 'active') AS status,
    latest.wallet_version AS version, w.created_at, latest.occurred_at AS updated_at, w.metadata
FROM wallets AS w
CROSS JOIN LATERAL (
    SELECT wallet_version, occurred_at FROM events
    WHERE wallet_id = w.id AND wallet_version = {version_when("<= :at")}
) AS latest
LEFT JOIN LATERAL (
    SELECT balance_after_minor FROM ledger_entries
    WHERE wallet_id = w.id AND wallet_version <= latest.wallet_version
    ORDER BY wallet_version DESC LIMIT 1
) AS entry ON true
LEFT JOIN LATERAL (
    SELECT payload ->> 'status' AS status FROM events
    WHERE wallet_id = w.id AND wallet_version <= latest.wallet_version
        AND type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')
    ORDER BY wallet_version DESC LIMIT 1
) AS stood ON true
LEFT JOIN LATERAL (
    SELECT replace(payload ->> 'held', '.', '')::bigint AS minor FROM events
    WHERE wallet_id = w.id AND wallet_version <= latest.wallet_version
        AND type IN ('HoldPlaced', 'HoldCaptured', 'HoldReleased', 'HoldExpired')
    ORDER BY wallet_version DESC LIMIT 1
) AS bound ON true
LEFT JOIN LATERAL (
    SELECT wallet_version FROM events
    WHERE wallet_id = w.id AND wallet_version > latest.wallet_version AND type <> 'HoldExpired'
    ORDER BY wallet_version LIMIT 1
) AS following ON true
LEFT JOIN LATERAL (
    SELECT sum(replace(payload ->> 'amount', '.', '')::bigint) AS minor FROM events
    WHERE wallet_id = w.id AND type = 'HoldExpired' AND wallet_version > latest.wallet_version
        AND (following.wallet_version IS NULL OR wallet_version < following.wallet_version)
        AND (payload ->> 'expiresAt')::timestamptz <= :at
) AS noted ON true
LEFT JOIN LATERAL (
    SELECT sum(amount_minor - captured_minor - released_minor) AS minor FROM holds
    WHERE wallet_id = w.id AND status = 'open' AND expires_at <= :at
) AS due ON true
WHERE w.id = :wallet_id
""")  # noqa: S608  # our own text

_STATEMENT: Final = text(f"""
WITH span AS (
    SELECT coalesce(CAST(:since AS timestamptz), least(created_at, until)) AS since, until
    FROM wallets CROSS JOIN LATERAL (
        SELECT coalesce(CAST(:until AS timestamptz), statement_timestamp()) AS until
    ) AS ends
    WHERE id = :wallet_id
), bounds AS (
    SELECT since, until, {version_when("< (SELECT since FROM span)")} AS first,
        {version_when("< (SELECT until FROM span)")} AS last
    FROM span
)
SELECT w.id, w.owner_id, w.currency, b.since, b.until,
    coalesce(opening.balance_after_minor, 0) AS opening_minor,
    coalesce(closing.balance_after_minor, 0) AS closing_minor,
    line.wallet_version, line.type, line.amount_minor, line.balance_after_minor,
    line.counter_account, line.operation_id, line.transfer_id, line.request_id, line.occurred_at,
    line.reference
FROM wallets AS w
CROSS JOIN bounds AS b
LEFT JOIN LATERAL (
    SELECT balance_after_minor FROM ledger_entries
    WHERE wallet_id = w.id AND wallet_version <= b.first
    ORDER BY wallet_version DESC LIMIT 1
) AS opening ON true
LEFT JOIN LATERAL (
    SELECT balance_after_minor FROM ledger_entries
    WHERE wallet_id = w.id AND wallet_version <= b.last
    ORDER BY wallet_version DESC LIMIT 1
) AS closing ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledger_entries
    WHERE wallet_id = w.id AND wallet_version > b.first AND wallet_version <= b.last
    ORDER BY wallet_version LIMIT :limit
) AS line ON true
WHERE w.id = :wallet_id
ORDER BY line.wallet_version
""")  # noqa: S608  # our own text
