"""This module is where the balances of system accounts are derived from the entries' other legs."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask


class Balance(msgspec.Struct, frozen=True):
    """
    What a system account has: minor units, and what rounding left over beside.

    `residue` is in units of the currency, and exact.
    """

    minor: int = 0
    residue: Decimal = Decimal()


async def balances(
    engine: AsyncEngine,
    *,
    currency: str | None = None,
    account: str | None = None,
    at: datetime | None = None,
) -> Mapping[tuple[str, str], Balance]:
    """
    Return balances by (account, currency), now or `at` a time.

    Every entry is read: no account is a row, so that none can be contended for.
    """
    rows = await ask(engine, _BALANCES, {"currency": currency, "account": account, "at": at})
    return {(row.account, row.currency): Balance(int(row.minor), row.residue) for row in rows}


# What arrives is rounded: the account of exchanges has given the exact amount, that of rounding has
# what was too much, or has paid what was too little.
_BALANCES: Final = text("""
SELECT account, currency, sum(minor) AS minor, sum(residue) AS residue
FROM (
    SELECT counter_account AS account, currency, -sum(amount_minor) AS minor, 0 AS residue
    FROM ledger_entries
    WHERE (CAST(:currency AS text) IS NULL OR currency = :currency)
        AND (CAST(:account AS text) IS NULL OR counter_account = :account)
        AND (CAST(:at AS timestamptz) IS NULL OR occurred_at <= :at)
    GROUP BY counter_account, currency
    UNION ALL
    SELECT leg.account, t.to_currency, 0, leg.residue
    FROM transfers AS t
    JOIN operations AS o
        ON o.wallet_id = t.to_wallet_id AND o.request_id = 'credit ' || t.id::text
            AND o.outcome ->> 'type' = 'posted'
    CROSS JOIN LATERAL (VALUES
        ('@fx:' || t.to_currency, -CAST(t.residue AS numeric)),
        ('@rounding', CAST(t.residue AS numeric))
    ) AS leg (account, residue)
    WHERE t.quote_id IS NOT NULL
        AND (CAST(:currency AS text) IS NULL OR t.to_currency = :currency)
        AND (CAST(:account AS text) IS NULL OR leg.account = :account)
        AND (CAST(:at AS timestamptz) IS NULL OR o.occurred_at <= :at)
) AS legs
GROUP BY account, currency
""")
