"""This module is where a wallet's own limits live: what it may owe, keep, and let go in a time."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never
from zoneinfo import ZoneInfo

import msgspec

from wallet_common.money import Amount


class Period(StrEnum):
    """How long what has left counts: from one midnight to another in the wallet's time zone."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Velocity(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much, and how many times, money may leave in one period; None is no limit."""

    period: Period
    amount_minor: int | None = None
    count: int | None = None


class AskedVelocity(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and how many times, may leave in a period."""

    period: Period
    amount: Amount | None = None
    count: int | None = None


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a wallet may do, in minor units of its currency; None is no limit.

    `time_zone` is the IANA name of that in whose midnights the periods begin, weeks on a Monday.
    """

    overdraft_minor: int = 0
    max_balance_minor: int | None = None
    max_transaction_minor: int | None = None
    velocity: tuple[Velocity, ...] = ()
    time_zone: str = "UTC"


NO_LIMITS: Final = Limits()


class Spent(msgspec.Struct, frozen=True):
    """
    What has left a wallet in a period, without what came back from transfers that failed.

    An open hold counts once, until it is captured or released; its amount is the wallet's.
    """

    amount_minor: int = 0
    count: int = 0

    def and_also(self, amount_minor: int, times: int) -> "Spent":
        """Return what it is after more has left, or below zero: has come back."""
        return Spent(max(self.amount_minor + amount_minor, 0), max(self.count + times, 0))


# By period; a period that is not there saw nothing leave.
Spending = Mapping[Period, Spent]


class Excess(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which limit a command would break: its value, what is used of it, and when that ends."""

    limit: str
    value_minor: int | None = None
    used_minor: int | None = None
    value: int | None = None
    used: int | None = None
    frees_at: datetime | None = None


def span(period: Period, time_zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Return when the period that `now` is in began, and when the next one does."""
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    match period:
        case Period.DAY:
            first, following = today, today + timedelta(days=1)
        case Period.WEEK:
            first = today - timedelta(days=today.weekday())
            following = first + timedelta(days=7)
        case Period.MONTH:
            first = today.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
        case _:
            assert_never(period)
    return _midnight(first, zone), _midnight(following, zone)


def too_large(limits: Limits, amount_minor: int) -> Excess | None:
    """Name the limit that one amount breaks by itself."""
    most = limits.max_transaction_minor
    if most is not None and amount_minor > most:
        return Excess("maxTransaction", value_minor=most)
    return None


def too_rich(limits: Limits, balance_minor: int, amount_minor: int) -> Excess | None:
    """Name the limit that a balance would break with `amount_minor` more."""
    most = limits.max_balance_minor
    if most is not None and balance_minor + amount_minor > most:
        return Excess("maxBalance", value_minor=most, used_minor=balance_minor)
    return None


def too_fast(
    limits: Limits, spending: Spending, held_minor: int, amount_minor: int, now: datetime
) -> Excess | None:
    """
    Name the first limit of a period that one more amount would break.

    What is held counts as if it had left.
    """
    for each in limits.velocity:
        spent = spending.get(each.period, Spent())
        used_minor = spent.amount_minor + held_minor
        is_too_much = (
            each.amount_minor is not None and used_minor + amount_minor > each.amount_minor
        )
        if is_too_much or (each.count is not None and spent.count >= each.count):
            _, frees_at = span(each.period, limits.time_zone, now)
            if is_too_much:
                return Excess(
                    f"velocity.{each.period}.amount",
                    value_minor=each.amount_minor,
                    used_minor=used_minor,
                    frees_at=frees_at,
                )
            return Excess(
                f"velocity.{each.period}.count",
                value=each.count,
                used=spent.count,
                frees_at=frees_at,
            )
    return None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant in UTC; where the clocks skip it, that at which they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
