"""This module is where it is read how much has left a wallet since some instant."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.limits import AskedVelocity, Period, Spending, Spent, Velocity, span
from wallet_common.wallet import SPENDING_TYPES, Wallet
from wallet_db_orm.database import Driver, statement
from wallet_db_orm.instants import version_when
from wallet_db_orm.rows import wallet_of
from wallet_db_orm.statements import READ_WALLETS, transpose


class Timed(Protocol):
    """What limits by time: a wallet's limits, or those that it is asked to have."""

    @property
    def velocity(self) -> Sequence[Velocity | AskedVelocity]: ...

    @property
    def time_zone(self) -> str: ...


async def spending(
    connection: Driver, timed: Iterable[tuple[str, Timed]], now: datetime
) -> dict[tuple[str, str], Spending]:
    """
    Return what has left each wallet in the periods named, by wallet and time zone.

    Holds that are open now count once each.
    """
    asked = {
        (wallet_id, limits.time_zone, each.period)
        for wallet_id, limits in timed
        for each in limits.velocity
    }
    found: dict[tuple[str, str], dict[Period, Spent]] = defaultdict(dict)
    for wallet_id, zone, period in asked:
        found[wallet_id, zone][period] = Spent()
    if not asked:
        return {}
    rows = [(*each, span(each[2], each[1], now)[0]) for each in asked]
    columns = transpose(rows, ("wallet_id", "zone", "period", "since"))
    for wallet_id, zone, period, minor, times in await connection.fetch(SPENT, *columns, now):
        found[wallet_id, zone][Period(period)] = Spent(minor, times)
    return dict(found)


class Usage(msgspec.Struct, frozen=True):
    """A wallet with its limits, and what has left it in their periods by `now`."""

    wallet: Wallet
    spending: Spending
    now: datetime


async def limited(engine: AsyncEngine, wallet_id: str) -> Wallet | None:
    """Return the wallet with its limits."""
    async with statement(engine) as connection:
        rows = await connection.fetch(READ_WALLETS, [wallet_id])
    return wallet_of(rows[0]) if rows else None


async def usage(engine: AsyncEngine, wallet: Wallet) -> Usage:
    """Return what is used of the wallet's limits now."""
    limits = wallet.limits
    async with statement(engine) as connection:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        spent = await spending(connection, [(wallet.id, limits)], now)
        due_minor = await connection.fetchval(_DUE, wallet.id, now)
    # What nobody has noted yet is over all the same.
    wallet = replace(wallet, held_minor=wallet.held_minor - due_minor)
    return Usage(wallet, spent.get((wallet.id, limits.time_zone), {}), now)


_DUE: Final = """
SELECT coalesce(sum(amount_minor - captured_minor - released_minor), 0)::bigint FROM holds
WHERE wallet_id = $1 AND status = 'open' AND expires_at <= $2
"""
_COUNTED: Final = ", ".join(f"'{each}'" for each in SPENDING_TYPES)
# Bounded by the range of the column that it is compared with.
SPENT: Final = f"""
SELECT asked.wallet_id, asked.zone, asked.period, gone.minor, gone.times + bound.times
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
    AS asked (wallet_id, zone, period, since)
CROSS JOIN LATERAL (
    SELECT least(greatest(-coalesce(sum(amount_minor), 0), 0), 9223372036854775807)::bigint
            AS minor,
        greatest(coalesce(sum(-sign(amount_minor)), 0), 0)::bigint AS times
    FROM ledger_entries
    WHERE wallet_id = asked.wallet_id AND type IN ({_COUNTED})
        AND wallet_version > {version_when("< asked.since", "asked.wallet_id")}
) AS gone
CROSS JOIN LATERAL (
    SELECT count(*) AS times FROM holds
    WHERE wallet_id = asked.wallet_id AND status = 'open'
        AND (expires_at IS NULL OR expires_at > $5)
) AS bound
"""  # noqa: S608  # our own text
