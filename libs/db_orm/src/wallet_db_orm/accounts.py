"""This module is where the balances of system accounts are derived from the entries' other legs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask


async def balances(
    engine: AsyncEngine,
    *,
    currency: str | None = None,
    account: str | None = None,
    at: datetime | None = None,
) -> Mapping[tuple[str, str], int]:
    """
    Return balances in minor units by (account, currency), now or `at` a time.

    Every entry is read: no account is a row, so that none can be contended for.
    """
    rows = await ask(engine, _BALANCES, {"currency": currency, "account": account, "at": at})
    return {(row.account, row.currency): int(row.minor) for row in rows}


_BALANCES: Final = text("""
SELECT counter_account AS account, currency, -sum(amount_minor) AS minor
FROM ledger_entries
WHERE (CAST(:currency AS text) IS NULL OR currency = :currency)
    AND (CAST(:account AS text) IS NULL OR counter_account = :account)
    AND (CAST(:at AS timestamptz) IS NULL OR occurred_at <= :at)
GROUP BY counter_account, currency
""")
