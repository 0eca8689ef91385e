"""This module is where rates and quotes are kept, each with the audit row of its request."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.fx import Exchange, Quote, exchanged
from wallet_common.money import parse_amount
from wallet_db_orm.database import Driver, statement, transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.rows import quote_of
from wallet_db_orm.statements import RECORD_AUDIT, Record


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit of a currency is worth in another, from a time on and until one, if any."""

    from_currency: str
    to_currency: str
    rate: str
    valid_from: datetime
    valid_to: datetime | None


async def set_rate(engine: AsyncEngine, rate: Rate, audit: Record, *, from_now_on: bool) -> Rate:
    """
    Record the rate and return it; of those that are in force the one recorded last counts.

    When it was recorded, and when now is, the database's clock says, whichever process asks.
    """
    since = None if from_now_on else rate.valid_from
    async with transaction(engine) as connection:
        valid_from = await connection.fetchval(
            _ADD_RATE,
            *(rate.from_currency, rate.to_currency, rate.rate, since, rate.valid_to, audit[0]),
        )
        await connection.execute(RECORD_AUDIT, [audit])
    return replace(rate, valid_from=valid_from)


async def current_rate(engine: AsyncEngine, from_currency: str, to_currency: str) -> Rate | None:
    """Return the rate that is in force now."""
    async with statement(engine) as connection:
        return await _rate(connection, from_currency, to_currency)


async def make_quote(
    engine: AsyncEngine,
    from_minor: int,
    currencies: tuple[str, str],
    *,
    lasts: timedelta,
    owner_id: str | None,
    audit: Record | None,
) -> Quote | None:
    """
    Offer to change an amount at the rate in force now; None if there is none.

    Without an `audit` row it is a rehearsal: nothing is kept. Raises InvalidAmount.
    """
    from_currency, to_currency = currencies
    async with transaction(engine) as connection:
        rate = await _rate(connection, from_currency, to_currency)
        if rate is None:
            return None
        asked = parse_amount(rate.rate)
        to_minor, residue = exchanged(from_minor, from_currency, to_currency, asked)
        now: datetime = await connection.fetchval("SELECT now()")
        terms = Exchange(
            quote_id=new_id(),
            rate=rate.rate,
            from_currency=from_currency,
            from_minor=from_minor,
            to_currency=to_currency,
            to_minor=to_minor,
            residue=residue,
        )
        quote = Quote(terms=terms, expires_at=now + lasts, owner_id=owner_id)
        if audit is not None:
            await connection.execute(
                _ADD_QUOTE,
                *(terms.quote_id, from_currency, to_currency, rate.rate, from_minor, to_minor),
                *(residue, owner_id, audit[0], now, quote.expires_at),
            )
            await connection.execute(RECORD_AUDIT, [audit])
    return quote


async def find_quote(engine: AsyncEngine, quote_id: str) -> Quote | None:
    """Return the quote as it was offered, and what has used it."""
    async with statement(engine) as connection:
        row = await connection.fetchrow("SELECT * FROM fx_quotes WHERE id = $1::uuid", quote_id)
    return None if row is None else quote_of(row)


async def _rate(connection: Driver, from_currency: str, to_currency: str) -> Rate | None:
    row = await connection.fetchrow(_CURRENT_RATE, from_currency, to_currency)
    return None if row is None else Rate(**dict(row))


# Ids are drawn by the one clock that all processes share, so they tell which came last. A rate may
# be over as soon as it is there, but not before.
_ADD_RATE: Final = """
INSERT INTO fx_rates (id, from_currency, to_currency, rate, valid_from, valid_to, audit_id,
    recorded_at)
VALUES (uuidv7(), $1, $2, $3,
    coalesce($4, least(clock_timestamp(), $5::timestamptz - interval '1 us')),
    $5, $6, clock_timestamp())
RETURNING valid_from
"""

_CURRENT_RATE: Final = """
SELECT from_currency, to_currency, rate, valid_from, valid_to FROM fx_rates
WHERE from_currency = $1 AND to_currency = $2
    AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
ORDER BY id DESC LIMIT 1
"""

_ADD_QUOTE: Final = """
INSERT INTO fx_quotes (id, from_currency, to_currency, rate, from_minor, to_minor, residue,
    owner_id, audit_id, quoted_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
