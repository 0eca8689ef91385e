"""This module is where a transfer saga is driven to its end, by its caller or by recovery."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.commands import CompleteTransfer, CreditTransfer, RefundTransfer
from wallet_common.errors import Busy
from wallet_common.transfer import Transfer
from wallet_common.transfer_steps import credit_of, end_of
from wallet_common.wallet import Rejected
from wallet_db_orm import statements as sql
from wallet_db_orm.database import statement
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order, Recorded
from wallet_db_orm.rows import StoredTransfer, stored_transfer_of


async def finish(lanes: GroupCommit, stored: StoredTransfer) -> Transfer:
    """
    Take a debited transfer to its end and return it; a finished one is returned as it is.

    Safe to call by many at once, also by one who slept through the end: the recipient's answer is
    remembered under the transfer's id, and the sender's row is left once, under the sender's lock.
    Raises Busy when the end could not be reached now.
    """
    transfer = stored.transfer
    if transfer.is_final:
        return transfer
    credited = await lanes.submit(_order(stored, credit_of(transfer, new_id())))
    if isinstance(credited, Rejected):
        message = "the reversal has to wait: the wallet it goes back to is full"
        raise Busy(message)
    assert isinstance(credited, Recorded)
    step = end_of(transfer, credited.operation.outcome, new_id())
    ended = await lanes.submit(_order(stored, step))
    if isinstance(ended, Transfer):
        return ended
    message = "the refund has to wait: the sender's wallet is full"
    raise Busy(message)


async def load(engine: AsyncEngine, wallet_id: str, transfer_id: str) -> StoredTransfer:
    """Read a transfer by its key; it must exist."""
    async with statement(engine) as connection:
        rows = await connection.fetch(sql.READ_TRANSFERS, [wallet_id], [transfer_id])
    assert len(rows) == 1, "the caller has just read its operation"
    return stored_transfer_of(rows[0])


async def unfinished(
    engine: AsyncEngine, *, older_than_s: float, limit: int
) -> Sequence[StoredTransfer]:
    """Return some debited transfers whose driver seems gone; one that must wait blocks no other."""
    async with engine.connect() as connection:
        rows = await connection.execute(_UNFINISHED, {"older_than_s": older_than_s, "limit": limit})
        return [stored_transfer_of(row) for row in rows]


_UNFINISHED: Final = text(f"""
SELECT {sql.TRANSFER_COLUMNS} FROM transfers
WHERE state = 'debited' AND initiated_at < now() - make_interval(secs => :older_than_s)
ORDER BY random() LIMIT :limit
""")  # noqa: S608  # a constant


def _order(
    stored: StoredTransfer, step: CreditTransfer | CompleteTransfer | RefundTransfer
) -> Order:
    return Order(step, stored.trace_id, stored.audit_id)
