"""This module is where the fraud rules are shown to judge event times and amounts, nothing else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from wallet_common.fraud import Flag, FraudRules, Withdrawal, examine
from wallet_common.money import Amount, parse_amount

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = FraudRules()


def a_withdrawal(
    event_id: str = "now",
    *,
    seconds_ago: float = 0,
    amount: str = "10.00",
    currency: str = "USD",
) -> Withdrawal:
    return Withdrawal(
        event_id,
        NOON - timedelta(seconds=seconds_ago),
        parse_amount(amount).to_minor(currency),
        currency,
    )


def test_three_withdrawals_within_a_minute_are_flagged() -> None:
    """The flag says what was counted, over which time, and which events show it, oldest first."""
    earlier = [a_withdrawal("e1", seconds_ago=50), a_withdrawal("e2", seconds_ago=20)]

    flags = examine(a_withdrawal("e3"), earlier, RULES)

    assert flags == (
        Flag(
            rule_id="rapid_withdrawals",
            rule_version=1,
            threshold=3,
            observed=3,
            evidence=("e1", "e2", "e3"),
            reason="3 withdrawals within 60 s (threshold 3)",
            window_seconds=60,
        ),
    )


def test_two_withdrawals_are_not_flagged() -> None:
    """One fewer than the threshold raises no flag, however close."""
    flags = examine(a_withdrawal(), [a_withdrawal("e1", seconds_ago=0.001)], RULES)

    assert flags == ()


def test_a_first_withdrawal_is_not_flagged() -> None:
    """A small withdrawal without earlier ones is nothing to look at."""
    assert examine(a_withdrawal(), [], RULES) == ()


def test_each_further_rapid_withdrawal_is_flagged_with_all_its_evidence() -> None:
    """The fourth within a minute shows four events, not only the last three."""
    earlier = [a_withdrawal(f"e{number}", seconds_ago=40 - number) for number in range(3)]

    (flag,) = examine(a_withdrawal("e3"), earlier, RULES)

    assert flag.observed == 4
    assert flag.evidence == ("e0", "e1", "e2", "e3")


@pytest.mark.parametrize(
    ("seconds_ago", "is_flagged"), [(59.999, True), (60.0, True), (60.001, False), (86_400, False)]
)
def test_the_window_includes_its_edge(seconds_ago: float, *, is_flagged: bool) -> None:
    """A withdrawal exactly 60.000 s ago still counts, one 60.001 s ago does not."""
    earlier = [a_withdrawal("e1", seconds_ago=seconds_ago), a_withdrawal("e2", seconds_ago=1)]

    flags = examine(a_withdrawal("e3"), earlier, RULES)

    assert bool(flags) is is_flagged


def test_only_event_time_counts() -> None:
    """Instants are compared, whatever zone they are written in and whenever the rule is asked."""
    long_gone = datetime(1999, 12, 31, 23, 59, 30, tzinfo=UTC)
    tokyo = timezone(timedelta(hours=9))
    earlier = [
        Withdrawal("e1", (long_gone - timedelta(seconds=60)).astimezone(tokyo), 100, "USD"),
        Withdrawal("e2", long_gone.astimezone(tokyo), 100, "USD"),
    ]

    (flag,) = examine(Withdrawal("e3", long_gone, 100, "USD"), earlier, RULES)

    assert flag.evidence == ("e1", "e2", "e3")


def test_the_first_instant_of_all_is_no_exception() -> None:
    """A withdrawal at the beginning of the calendar is judged like any other."""
    first = Withdrawal("e1", datetime.min.replace(tzinfo=UTC), 100, "USD")

    assert examine(first, [], RULES) == ()


def test_later_withdrawals_are_no_evidence() -> None:
    """A flag looks back only: what happened after a withdrawal says nothing about it."""
    later = [a_withdrawal("e2", seconds_ago=-1), a_withdrawal("e3", seconds_ago=-2)]

    assert examine(a_withdrawal("e1"), later, RULES) == ()


@given(st.sets(st.integers(-5, 130), max_size=8), st.data())
def test_order_and_duplicates_of_arrival_do_not_matter(ages: set[int], data: st.DataObject) -> None:
    """However events arrive, late, twice, or the withdrawal itself among them: one verdict."""
    in_order = [a_withdrawal(f"{age}", seconds_ago=age) for age in sorted(ages, reverse=True)]
    again = data.draw(st.lists(st.sampled_from([*in_order, a_withdrawal()]), max_size=9))
    arrived = data.draw(st.permutations(in_order + again))

    assert examine(a_withdrawal(), arrived, RULES) == examine(a_withdrawal(), in_order, RULES)


@pytest.mark.parametrize(
    ("currency", "below", "threshold"),
    [
        ("USD", "9999.99", "10000.00"),
        ("JPY", "9999", "10000"),
        ("KWD", "9999.999", "10000.000"),
        ("CLF", "9999.9999", "10000.0000"),
    ],
)
def test_a_large_withdrawal_is_flagged_from_the_threshold_on(
    currency: str, below: str, threshold: str
) -> None:
    """Ten thousand units of the wallet's own currency are large; the least bit less is not."""
    small = a_withdrawal(amount=below, currency=currency)
    large = a_withdrawal(amount=threshold, currency=currency)

    assert examine(small, [], RULES) == ()
    assert examine(large, [], RULES) == (
        Flag(
            rule_id="large_transaction",
            rule_version=1,
            threshold=threshold,
            observed=threshold,
            evidence=("now",),
            reason=f"withdrawal of {threshold} {currency} (threshold {threshold})",
        ),
    )


def test_one_withdrawal_can_raise_both_flags() -> None:
    """A withdrawal that is large and the third of a minute is flagged by each rule."""
    earlier = [a_withdrawal("e1", seconds_ago=2), a_withdrawal("e2", seconds_ago=1)]

    flags = examine(a_withdrawal("e3", amount="10000.00"), earlier, RULES)

    assert [flag.rule_id for flag in flags] == ["rapid_withdrawals", "large_transaction"]


def test_large_withdrawals_do_not_add_up() -> None:
    """The threshold is for a single withdrawal: two of half the amount are not large."""
    earlier = [a_withdrawal("e1", amount="5000.00", seconds_ago=1)]

    assert examine(a_withdrawal("e2", amount="5000.00"), earlier, RULES) == ()


def test_thresholds_are_settings() -> None:
    """Count, window and amount can be set, and a flag shows what it was measured by."""
    rules = FraudRules(
        rapid_count=2, rapid_window_seconds=10, large_threshold=Amount(5_005, decimals=1)
    )
    earlier = [a_withdrawal("e1", seconds_ago=10), a_withdrawal("e0", seconds_ago=10.001)]

    rapid, large = examine(a_withdrawal("e2", amount="500.50"), earlier, rules)

    assert (rapid.threshold, rapid.observed, rapid.window_seconds) == (2, 2, 10)
    assert rapid.evidence == ("e1", "e2")
    assert (large.threshold, large.observed) == ("500.50", "500.50")


def test_a_threshold_finer_than_the_currency_is_rounded_up() -> None:
    """A threshold of 0.5 units means one whole yen."""
    rules = FraudRules(large_threshold=Amount(5, decimals=1))

    (flag,) = examine(a_withdrawal(amount="1", currency="JPY"), [], rules)

    assert flag.threshold == "1"
