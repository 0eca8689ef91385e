"""This module is where it is named what can cost something, and by what."""

from enum import StrEnum

import msgspec


class Charged(StrEnum):
    """The operations that may cost something, by the names under which they are recorded."""

    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    TRANSFER = "transfer"
    CONVERSION = "conversion"


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one operation of a kind costs in one currency, in its minor units.

    It is `flat_minor` and `percent` of the amount (decimal text), at least `min_minor` and at most
    `max_minor`.
    """

    id: str
    flat_minor: int = 0
    percent: str | None = None
    min_minor: int = 0
    max_minor: int | None = None
