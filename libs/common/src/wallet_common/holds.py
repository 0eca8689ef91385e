"""
This module is where a hold lives: money of a wallet that is bound until it is captured or freed.

A hold moves no money: what it binds stays in the wallet's balance and is not available. Its time
is over at the very instant it names, whether or not anybody has noted that yet.
"""

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace


class HoldStatus(StrEnum):
    """Whether a hold binds money; one that does not is told by what became of its last part."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """
    A hold as it stands; amounts in minor units of its wallet's currency, `id` that of its placing.

    Without `expires_at` it stays until it is captured or released.
    """

    id: str
    wallet_id: str
    currency: str
    amount_minor: int
    captured_minor: int = 0
    released_minor: int = 0
    expired_minor: int = 0
    status: HoldStatus = HoldStatus.OPEN
    expires_at: datetime | None = None

    @property
    def remaining_minor(self) -> int:
        """What it still binds."""
        return self.amount_minor - self.captured_minor - self.released_minor - self.expired_minor

    def is_due(self, now: datetime) -> bool:
        """Whether its time is over and that has not been noted."""
        if self.status is not HoldStatus.OPEN or self.expires_at is None:
            return False
        return self.expires_at <= now

    def captured(self, amount_minor: int) -> "Hold":
        """Return it with so much more of it taken."""
        taken = replace(self, captured_minor=self.captured_minor + amount_minor)
        return _ended(taken, HoldStatus.CAPTURED)

    def released(self, amount_minor: int) -> "Hold":
        """Return it with so much more of it freed."""
        freed = replace(self, released_minor=self.released_minor + amount_minor)
        return _ended(freed, HoldStatus.RELEASED)

    def expired(self) -> "Hold":
        """Return it with all that remained freed by time."""
        freed = replace(self, expired_minor=self.expired_minor + self.remaining_minor)
        return _ended(freed, HoldStatus.EXPIRED)

    def seen_at(self, now: datetime) -> "Hold":
        """Return it as it is at `now`, noted or not."""
        return self.expired() if self.is_due(now) else self


def _ended(hold: Hold, status: HoldStatus) -> Hold:
    assert hold.remaining_minor >= 0, "checked before"
    return hold if hold.remaining_minor else replace(hold, status=status)
