"""This module is where a wallet is read as it stood at some instant, along indexes alone."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask


async def wallet_at(engine: AsyncEngine, wallet_id: str, at: datetime) -> Row[Any] | None:
    """Return the wallet as it stood at `at`; None before it existed."""
    return (await ask(engine, _WALLET_AT, {"wallet_id": wallet_id, "at": at})).one_or_none()


# The version of that instant comes from the events, the balance from the last entry up to it.
# Held is what the last event of a hold up to then says, without those whose time was over by then:
# whoever next has the wallet's lock notes these before all else, so they follow at once; what
# nobody has noted yet is still open.
_WALLET_AT: Final = text("""
SELECT w.id, w.owner_id, w.currency, coalesce(entry.balance_after_minor, 0) AS balance_minor,
    (coalesce(bound.minor, 0) - coalesce(noted.minor, 0) - coalesce(due.minor, 0))::bigint
        AS held_minor, coalesce(stood.status, 'active') AS status,
    latest.wallet_version AS version, w.created_at, latest.occurred_at AS updated_at, w.metadata
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
""")
