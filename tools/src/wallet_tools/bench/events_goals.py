"""This module is where the database is asked whether a part of ours has done its work."""

from collections.abc import Callable
from typing import Final

from wallet_tools.bench.books import Books

_LAST_PLACE: Final = "SELECT coalesce(max(position), 0) FROM feed"
_LAST_WAITING: Final = """
    SELECT wallet_id || ' ' || event_id FROM outbox ORDER BY position DESC LIMIT 1
"""
_IS_APPLIED: Final = """
    SELECT EXISTS (SELECT FROM processed_events WHERE wallet_id = $1 AND event_id = $2)
"""
_APPLIED: Final = "SELECT count(*) FROM processed_events"


def everything_left(books: Books) -> Callable[[], bool]:
    """Return what says whether all that waits in the outbox now has its place in the feed."""
    last = books.ask(_LAST_PLACE) + books.backlog()
    return lambda: books.ask(_LAST_PLACE) >= last


def everything_applied(books: Books, last: str, events: int) -> Callable[[], bool]:
    """
    Return what says whether so many events, of which `last` is the last, have taken effect.

    Cheap to ask as long as they have not: events take effect in about the order they left.
    """
    wallet_id, event_id = last.split(" ")
    enough = books.ask(_APPLIED) + events

    def is_done() -> bool:
        is_near = books.ask(_IS_APPLIED, wallet_id, event_id)
        return bool(is_near and books.ask(_APPLIED) >= enough)

    return is_done


def last_waiting(books: Books) -> str:
    """Return the last event in the outbox, which must be a step of a wallet: wallet and id."""
    last: str = books.ask(_LAST_WAITING)
    return last
