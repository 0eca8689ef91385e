"""This module is where a check of the books is told what to look at, and tells what it found."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from wallet_db_orm.database import Driver

# A broken ledger may break everywhere: this many examples are enough to start with.
VIOLATIONS_MAX: Final = 100


class Proven(msgspec.Struct, frozen=True):
    """A wallet that has moved since a proof: the version and the balance that it had there."""

    wallet_id: str
    version: int
    balance_minor: int


class Scope(msgspec.Struct, frozen=True):
    """
    What a proof looks at: everything, or what these wallets did behind their proven versions.

    A wallet that no proof has seen is behind version 0, with nothing in it. `position` is the last
    place in the feed that a proof has seen.
    """

    behind: Sequence[Proven] | None = None
    position: int = 0

    @property
    def is_whole(self) -> bool:
        return self.behind is None


class Tally:
    """What one check has found so far: how many rows it looked at, and some violations."""

    def __init__(self) -> None:
        self.checked = 0
        self.violations: list[dict[str, Any]] = []

    @property
    def is_full(self) -> bool:
        """Whether further violations would not be told; a check may end then."""
        return len(self.violations) >= VIOLATIONS_MAX

    def violated(self, wallet_id: str | None, **keys: str | int | None) -> None:
        """Note a violation by its keys; `wallet_id` is None only where there is no wallet."""
        if not self.is_full:
            self.violations.append({"walletId": wallet_id, **keys})

    def unreadable(self, error: str) -> None:
        """Note that the check could not be carried out to its end; the last one gives way."""
        self.violations[VIOLATIONS_MAX - 1 :] = [{"walletId": None, "unreadable": error}]


# Reads in the proof's snapshot and tells the tally; bounded memory, so a cursor and not a list.
Examine: TypeAlias = Callable[[Driver, Scope, Tally], Awaitable[None]]


class Examination(msgspec.Struct, frozen=True):
    """An invariant that takes more than a query: `examine` looks, in Python."""

    id: str
    name: str
    examine: Examine
