"""This module is where an event takes effect exactly once, however often it arrives."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.events import Event, WalletFlagged
from wallet_common.fraud import FraudRules
from wallet_db_orm import projections
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.projections import Flagged
from wallet_db_orm.statements import transpose


class Applied(msgspec.Struct, frozen=True):
    """What a batch did: new flags, and the wallets of its events that nobody has heard of."""

    flagged: Sequence[Flagged]
    strangers: frozenset[str]


async def apply(engine: AsyncEngine, events: Sequence[Event], rules: FraudRules) -> Applied:
    """
    Apply those of `events` that are new, all in one transaction with the note that they are.

    Order and repetition do not matter: totals are sums, and verdicts are computed on event times
    from what the ledger recorded. Locks the wallets' statistics in wallet order.
    """
    async with transaction(engine) as connection:
        return await apply_within(connection, events, rules)


async def apply_within(connection: Driver, events: Sequence[Event], rules: FraudRules) -> Applied:
    """Do the same within a transaction of the caller's."""
    by_id = {(event.wallet_id, event.id): event for event in events}
    known = await _known(connection, {wallet_id for wallet_id, _ in by_id})
    strangers = frozenset(wallet_id for wallet_id, _ in by_id if wallet_id not in known)
    fresh = await _claim(connection, {k: e for k, e in by_id.items() if k[0] in known})
    await projections.add(connection, fresh)
    flagged = await projections.flag(connection, fresh, rules)
    return Applied(flagged, strangers)


async def _known(connection: Driver, wallet_ids: set[str]) -> set[str]:
    rows = await connection.fetch(_KNOWN, list(wallet_ids))
    return {row[0] for row in rows}


async def _claim(connection: Driver, by_id: Mapping[tuple[str, str], Event]) -> Sequence[Event]:
    """Note the events as processed and return those that were not; verdicts are no news."""
    steps = sorted(key for key, event in by_id.items() if not isinstance(event, WalletFlagged))
    if not steps:
        return []
    rows = await connection.fetch(_CLAIM, *transpose(steps, ("wallet_id", "event_id")))
    return [by_id[row[0], row[1]] for row in rows]


_KNOWN: Final = "SELECT id FROM wallets WHERE id = ANY($1::text[])"

_CLAIM: Final = """
INSERT INTO processed_events (wallet_id, event_id)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING
RETURNING wallet_id, event_id
"""
