"""This module is where an operation is found by its id, with what could be taken back of it."""

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask


async def original(engine: AsyncEngine, operation_id: str) -> Row[Any] | None:
    """
    Return the operation with its wallet's owner, its entry and its transfer; None if there is none.

    What is of the entry (`amount_minor` is signed) is None where it moved nothing, `state` and
    `to_wallet_id` where it started no transfer.
    """
    return (await ask(engine, _ORIGINAL, {"operation_id": operation_id})).one_or_none()


_ORIGINAL: Final = text("""
SELECT o.wallet_id, o.request_id, o.type, w.owner_id, e.type AS entry_type, e.amount_minor,
    e.reference, e.metadata, t.state, t.to_wallet_id, t.reverses, t.quote_id
FROM operations AS o
JOIN wallets AS w ON w.id = o.wallet_id
LEFT JOIN LATERAL (
    SELECT * FROM ledger_entries
    WHERE wallet_id = o.wallet_id AND operation_id = o.operation_id
        -- The fee of a deposit has left after it.
        AND wallet_version BETWEEN (o.outcome ->> 'version')::bigint - 1
            AND (o.outcome ->> 'version')::bigint
        AND counter_account <> '@fees'
) AS e ON true
LEFT JOIN transfers AS t ON t.from_wallet_id = o.wallet_id AND t.id = o.operation_id
WHERE o.operation_id = CAST(:operation_id AS uuid)
""")
