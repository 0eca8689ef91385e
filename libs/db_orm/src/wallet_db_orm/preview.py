"""This module is where it is foretold what an event would change, without changing anything."""

from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.events import Event, WalletFlagged
from wallet_common.fraud import FraudRules
from wallet_common.money import render
from wallet_db_orm import inbox
from wallet_db_orm.database import Driver, transaction

# As many flags as the API shows of a wallet.
_FLAGS_MAX: Final = 100


class Projection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is kept of a wallet besides its books; amounts are decimals, newest flags first."""

    currency: str
    total_deposited: str
    total_withdrawn: str
    total_transferred_in: str
    total_transferred_out: str
    last_activity_at: datetime | None
    suspicious: bool
    suspicious_reason: str | None
    flags: list[msgspec.Raw]


class Preview(msgspec.Struct, frozen=True):
    """The projection of the event's wallet now and afterwards; `reason` says why nothing moves."""

    before: Projection | None
    after: Projection | None
    reason: str | None


class _Enough(Exception):
    """Everything has been seen: roll it back."""


async def preview(engine: AsyncEngine, event: Event, rules: FraudRules) -> Preview:
    """
    Apply the event as the inbox does, look, and roll everything back.

    Holds the wallet's statistics locked for that moment.
    """
    before = after = reason = None
    with suppress(_Enough):
        async with transaction(engine) as connection:
            await connection.execute(_LOCK, event.wallet_id)
            before = await _projection(connection, event.wallet_id)
            if await connection.fetchval(_IS_APPLIED, event.wallet_id, event.id):
                reason = "it was applied before, so nothing changes"
            elif isinstance(event, WalletFlagged):
                reason = "it is a verdict of our own, so nothing changes"
            applied = await inbox.apply_within(connection, [event], rules)
            if applied.strangers:
                reason = f"there is no wallet {event.wallet_id}"
            after = await _projection(connection, event.wallet_id)
            raise _Enough
    return Preview(before, after, reason)


async def _projection(connection: Driver, wallet_id: str) -> Projection | None:
    row = await connection.fetchrow(_LOOK, wallet_id)
    if row is None:
        return None
    flags = await connection.fetch(_FLAGS, wallet_id, _FLAGS_MAX)
    return Projection(
        currency=row.currency,
        total_deposited=render(row.total_deposited_minor or 0, row.currency),
        total_withdrawn=render(row.total_withdrawn_minor or 0, row.currency),
        total_transferred_in=render(row.total_transferred_in_minor or 0, row.currency),
        total_transferred_out=render(row.total_transferred_out_minor or 0, row.currency),
        last_activity_at=row.last_activity_at,
        suspicious=bool(row.suspicious),
        suspicious_reason=row.suspicious_reason,
        flags=[msgspec.Raw(each.verdict.encode()) for each in flags],
    )


# The worker may be at the same wallet: what it does comes before what is seen here, or after.
_LOCK: Final = "SELECT FROM wallet_stats WHERE wallet_id = $1 FOR UPDATE"

_IS_APPLIED: Final = """
SELECT EXISTS (SELECT FROM processed_events WHERE wallet_id = $1 AND event_id = $2)
"""

_LOOK: Final = """
SELECT w.currency, s.total_deposited_minor, s.total_withdrawn_minor,
    s.total_transferred_in_minor, s.total_transferred_out_minor, s.last_activity_at,
    s.suspicious, s.suspicious_reason
FROM wallets AS w LEFT JOIN wallet_stats AS s ON s.wallet_id = w.id
WHERE w.id = $1
"""

_FLAGS: Final = """
SELECT verdict FROM fraud_flags
WHERE wallet_id = $1
ORDER BY occurred_at DESC, event_id DESC, rule_id LIMIT $2
"""
