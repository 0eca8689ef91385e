"""This module is where holds are read: one, a wallet's, those that are due, what they bind."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.holds import HoldStatus
from wallet_db_orm import rare
from wallet_db_orm.queries import ask


async def hold(engine: AsyncEngine, hold_id: str) -> Row[Any] | None:
    """Return the hold's row, with its wallet's and the time `now`; None if there is none."""
    return (await ask(engine, _HOLD, {"hold_id": hold_id})).one_or_none()


async def of_wallet(
    engine: AsyncEngine,
    wallet_id: str,
    *,
    status: HoldStatus | None,
    below: str | None,
    limit: int,
    owner_id: str | None = None,
) -> Sequence[Row[Any]]:
    """
    Return the wallet's holds as `hold` does, newest first, those below the id `below`.

    None of a wallet of another owner. The `status` is that of now, noted or not.
    """
    asked = {"wallet_id": wallet_id, "status": status, "below": below, "limit": limit}
    return (await ask(engine, _OF_WALLET, {**asked, "owner_id": owner_id})).all()


async def due_wallets(engine: AsyncEngine, *, limit: int) -> Sequence[str]:
    """Return wallets with holds whose time is over and that nobody has noted yet."""
    return (await ask(engine, _DUE, {"limit": limit})).scalars().all()


_COLUMNS: Final = ", ".join(f"h.{name}" for name in rare.HOLD_COLUMNS.split(", "))

_OF_ITS_WALLET: Final = """
    clock.now, w.owner_id, w.balance_minor, w.held_minor - (
        SELECT coalesce(sum(amount_minor - captured_minor - released_minor), 0)::bigint FROM holds
        WHERE wallet_id = w.id AND status = 'open' AND expires_at <= clock.now
    ) AS held_minor
"""

_HOLD: Final = text(f"""
SELECT {_COLUMNS}, {_OF_ITS_WALLET}
FROM (SELECT statement_timestamp() AS now) AS clock, holds AS h
JOIN wallets AS w ON w.id = h.wallet_id
WHERE h.id = CAST(:hold_id AS uuid)
""")  # noqa: S608  # constants

_OF_WALLET: Final = text(f"""
SELECT {_COLUMNS}, {_OF_ITS_WALLET}
FROM (SELECT statement_timestamp() AS now) AS clock, holds AS h
JOIN wallets AS w ON w.id = h.wallet_id
WHERE h.wallet_id = :wallet_id
    AND (CAST(:owner_id AS text) IS NULL OR w.owner_id = :owner_id)
    AND (CAST(:below AS uuid) IS NULL OR h.id < CAST(:below AS uuid))
    AND (CAST(:status AS text) IS NULL OR :status = CASE
        WHEN h.status = 'open' AND h.expires_at <= clock.now THEN 'expired' ELSE h.status END)
ORDER BY h.id DESC LIMIT :limit
""")  # noqa: S608  # constants

_DUE: Final = text("""
SELECT DISTINCT wallet_id FROM (
    SELECT wallet_id FROM holds
    WHERE captured_minor + released_minor + expired_minor < amount_minor
        AND expires_at <= statement_timestamp()
    ORDER BY expires_at LIMIT :limit
) AS due
""")
