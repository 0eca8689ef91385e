"""This module is where a wallet's own limits are held against time and amounts."""

from datetime import UTC, datetime

import pytest

from wallet_common.commands import Deposit, PlaceHold, SetLimits, Withdraw
from wallet_common.ledger import decide
from wallet_common.limits import (
    AskedVelocity,
    Excess,
    Limits,
    Period,
    Spent,
    Velocity,
    span,
    too_fast,
)
from wallet_common.money import parse_amount
from wallet_common.wallet import Posted, Rejected, RejectionReason, Surroundings, Wallet

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"
CAIRO = "Africa/Cairo"


@pytest.mark.parametrize(
    ("period", "zone", "now", "since", "until"),
    [
        # The day on which Berlin's clocks are put forward has 23 hours.
        ("day", BERLIN, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("day", "UTC", "2026-03-29T00:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
        ("day", BERLIN, "2026-06-01T21:59:59Z", "2026-05-31T22:00:00Z", "2026-06-01T22:00:00Z"),
        ("week", "UTC", "2026-03-29T23:59:59Z", "2026-03-23T00:00:00Z", "2026-03-30T00:00:00Z"),
        ("week", "UTC", "2026-03-30T00:00:00Z", "2026-03-30T00:00:00Z", "2026-04-06T00:00:00Z"),
        ("month", "UTC", "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("month", "UTC", "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", BERLIN, "2026-12-31T23:00:00Z", "2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z"),
        # Where midnight does not exist: the clocks go from 24:00 to 1:00.
        (
            "day",
            CAIRO,
            "2026-04-24T12:00:00Z",
            "2026-04-23T22:00:00Z",
            "2026-04-24T21:00:00Z",
        ),
    ],
)
def test_periods_begin_at_the_midnights_of_the_time_zone(
    period: str, zone: str, now: str, since: str, until: str
) -> None:
    """Also where a day is shorter, and at the ends of weeks, months and years."""
    read = datetime.fromisoformat

    assert span(Period(period), zone, read(now)) == (read(since), read(until))


def test_the_limit_that_is_broken_is_told_with_what_is_used_of_it() -> None:
    """The first that one more amount would break, held money counted as used."""
    limits = Limits(
        velocity=(Velocity(Period.DAY, 100, 3), Velocity(Period.MONTH, 1_000)), time_zone=BERLIN
    )
    spending = {Period.DAY: Spent(60, 2), Period.MONTH: Spent(990, 40)}

    assert too_fast(limits, {}, 0, 100, NOW) is None
    assert too_fast(limits, spending, 30, 10, NOW) == Excess(
        "velocity.month.amount",
        value_minor=1_000,
        used_minor=1_020,
        frees_at=datetime(2026, 3, 31, 22, tzinfo=UTC),
    )
    assert too_fast(limits, spending, 0, 41, NOW) == Excess(
        "velocity.day.amount",
        value_minor=100,
        used_minor=60,
        frees_at=datetime(2026, 3, 29, 22, tzinfo=UTC),
    )
    assert too_fast(limits, {Period.DAY: Spent(3, 3)}, 0, 1, NOW) == Excess(
        "velocity.day.count", value=3, used=3, frees_at=datetime(2026, 3, 29, 22, tzinfo=UTC)
    )


def test_what_comes_back_is_not_spent() -> None:
    """A refund takes away what its debit added; nothing becomes less than nothing."""
    assert Spent().and_also(5, 1).and_also(7, 1).and_also(-5, -1) == Spent(7, 1)
    assert Spent().and_also(-5, -1) == Spent(0, 0)


def asked(limits: SetLimits, wallet: Wallet) -> Wallet:
    posted = decide(wallet, limits, Surroundings())
    assert isinstance(posted, Posted)
    return posted.wallet


def withdrawal(amount: str) -> Withdraw:
    return Withdraw(wallet_id="w", request_id="k", operation_id="o", amount=parse_amount(amount))


def test_a_wallet_may_owe_what_its_overdraft_says() -> None:
    """To the last cent and no further; a hold binds what may be owed, too."""
    wallet = asked(
        SetLimits(wallet_id="w", overdraft=parse_amount("5")), Wallet("w", "USD", balance_minor=100)
    )
    hold = PlaceHold(wallet_id="w", request_id="h", operation_id="h", amount=parse_amount("6"))

    refused = decide(wallet, withdrawal("6.01"), Surroundings(now=NOW))
    bound = decide(wallet, hold, Surroundings(now=NOW))
    gone = decide(wallet, withdrawal("6.00"), Surroundings(now=NOW))

    assert refused == Rejected(
        RejectionReason.INSUFFICIENT_FUNDS, "USD", required_minor=601, available_minor=600
    )
    assert isinstance(bound, Posted)
    assert isinstance(gone, Posted)
    assert (bound.wallet.available_minor, gone.wallet.balance_minor) == (-500, -500)


def test_who_owes_more_than_it_may_from_now_on_owes_it_still() -> None:
    """The floor is where the wallet is; nothing more leaves, and what comes in is welcome."""
    wallet = Wallet("w", "USD", balance_minor=-400, floor_minor=-500, limits=Limits(500))
    now = asked(SetLimits(wallet_id="w", overdraft=parse_amount("1")), wallet)
    deposit = Deposit(wallet_id="w", request_id="k", operation_id="o", amount=parse_amount("1"))

    refused = decide(now, withdrawal("0.01"), Surroundings(now=NOW))
    came = decide(now, deposit, Surroundings())

    assert now.floor_minor == -400
    assert isinstance(refused, Rejected)
    assert refused.available_minor == -300
    assert isinstance(came, Posted)
    assert came.wallet.balance_minor == -300


def test_limits_that_are_so_already_change_nothing() -> None:
    """No event tells of them again; what the currency cannot express is refused by its field."""
    wanted = SetLimits(
        wallet_id="w",
        max_balance=parse_amount("10"),
        velocity=(AskedVelocity(period=Period.DAY, amount=parse_amount("1.00"), count=2),),
    )
    wallet = asked(wanted, Wallet("w", "USD"))
    fine = SetLimits(wallet_id="w", max_transaction=parse_amount("0.001"))

    assert decide(wallet, wanted, Surroundings()) == Posted(wallet)
    assert decide(wallet, fine, Surroundings()) == Rejected(
        RejectionReason.INVALID_LIMIT,
        "USD",
        detail="maxTransaction: USD has 2 decimals, the amount has 3",
    )
