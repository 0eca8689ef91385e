"""This module is where many commands are one transaction, in spite of what may come."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Final

from wallet_common.errors import Busy
from wallet_db_orm.batch_keys import BatchKey
from wallet_db_orm.database import Database, Lease, Trouble, trouble
from wallet_db_orm.known import Known
from wallet_db_orm.ledger import Whole, apply_whole, is_refused
from wallet_db_orm.orders import Applied, Order
from wallet_db_orm.statements import Record

# Longer than this nobody waits: the caller is told to come back.
PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.2


class Rehearsal:
    """What would come of orders, part by part; nothing changes: no effect, no key, no event."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Known | None = None

    async def fold(self, orders: Sequence[Order]) -> Sequence[Applied]:
        """
        Return what would come of each, on what the ones before it would leave.

        Raises Busy as `carry_out` does.
        """
        whole = await _apply(self._database, orders, keeps=lambda _: False, earlier=self._known)
        self._known = whole.known
        return whole.applied


async def rehearsed(database: Database, order: Order) -> Applied:
    """Return what would come of one order; raises Busy as `carry_out` does."""
    (applied,) = await Rehearsal(database).fold([order])
    return applied


async def carry_out_in_order(database: Database, orders: Sequence[Order]) -> Sequence[Applied]:
    """
    Carry out the `orders` one after the other, each with its own outcome, in one transaction.

    Returns what came of each. Raises Busy as `carry_out` does.
    """
    return (await _apply(database, orders, keeps=lambda _: True)).applied


async def carry_out(
    database: Database, orders: Sequence[Order], row: Record, key: BatchKey | None
) -> Whole:
    """
    Carry out all `orders` in a transaction of their own, or none if one is refused.

    `row` is the audit row of the request, `key` the batch's own, written with them. Raises
    IdempotencyKeyReused if the key means something else, and Busy when a lock or the database
    cannot be had in time; then nothing is known.
    """
    return await _apply(database, orders, keeps=_none_is_refused, row=row, key=key)


def _none_is_refused(applied: Sequence[Applied]) -> bool:
    return not any(map(is_refused, applied))


async def _apply(
    database: Database,
    orders: Sequence[Order],
    *,
    keeps: Callable[[Sequence[Applied]], bool],
    row: Record | None = None,
    key: BatchKey | None = None,
    earlier: Known | None = None,
) -> Whole:
    """
    Do what `apply_whole` does, again where that helps.

    A COMMIT that went unanswered is asked again: every order is remembered by its key.
    """
    deadline_s = monotonic() + PATIENCE_S
    # Beside the lanes, which it may keep waiting and which may keep it waiting.
    async with aclosing(Lease(database.apart)) as lease:
        while True:
            try:
                # Each of many locks may be waited for, one after the other.
                async with asyncio.timeout(deadline_s - monotonic()):
                    return await apply_whole(
                        lease, orders, keeps=keeps, row=row, key=key, earlier=earlier
                    )
            except Exception as error:
                kind = trouble(error)
                if kind is Trouble.OTHER:
                    raise
                if kind is Trouble.EXHAUSTION or monotonic() > deadline_s:
                    message = "a wallet or the database is busy"
                    raise Busy(message) from error
            await asyncio.sleep(_PAUSE_S)
