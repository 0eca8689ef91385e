"""This module is where those who wait for an order are told what came of it."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import msgspec

from wallet_common.errors import Busy
from wallet_db_orm.database import Trouble, trouble
from wallet_db_orm.orders import Applied, Order


class Waiting(msgspec.Struct):
    """
    An order and its caller; `put_back` counts how often another process had its wallet.

    It is not carried out if what it comes `behind` was not.
    """

    order: Order
    answer: asyncio.Future[Applied]
    deadline_s: float
    behind: asyncio.Future[Applied] | None = None
    put_back: int = 0


def wanted(batch: Sequence[Waiting]) -> list[Waiting]:
    """Return those to be carried out; what is behind something that was not is told that too."""
    for each in batch:
        if each.behind is not None and _is_lost(each.behind):
            fail([each], Busy("what it comes behind was not carried out"))
    return [each for each in batch if not each.answer.done()]


def _is_lost(answer: asyncio.Future[Applied]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)


def resolve(batch: Sequence[Waiting], applied: Sequence[Applied | None]) -> Sequence[Waiting]:
    """Answer the callers; return those whose wallet somebody else held."""
    for each, outcome in zip(batch, applied, strict=True):
        if outcome is not None and not each.answer.done():
            each.answer.set_result(outcome)
    return [each for each, outcome in zip(batch, applied, strict=True) if outcome is None]


def within_patience(batch: Sequence[Waiting], error: Exception) -> list[Waiting]:
    """Return those whose time has not come yet; the others are told that nothing is known."""
    now = monotonic()
    fail([each for each in batch if each.deadline_s <= now], error)
    return [each for each in batch if each.deadline_s > now]


def fail(batch: Sequence[Waiting], error: Exception) -> None:
    """Tell the callers: the error if it is a bug, else that the wallet or the database is busy."""
    is_bug = trouble(error) is Trouble.OTHER and not isinstance(error, Busy)
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error if is_bug else _busy(error))


def _busy(error: Exception) -> Busy:
    busy = Busy("the wallet or the database is busy")
    busy.__cause__ = error
    return busy
