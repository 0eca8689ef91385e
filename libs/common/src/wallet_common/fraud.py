"""This module is where fraud rules live: a withdrawal and its neighbours in, flags out."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from wallet_common.money import Amount, render

RAPID_WITHDRAWALS: Final = "rapid_withdrawals"
LARGE_TRANSACTION: Final = "large_transaction"
RULE_VERSION: Final = 1


class FraudRules(msgspec.Struct, frozen=True):
    """The thresholds; `large_threshold` counts units of the wallet's currency."""

    rapid_count: int = 3
    rapid_window_seconds: int = 60
    large_threshold: Amount = Amount(10_000, 0)


class Withdrawal(msgspec.Struct, frozen=True):
    """A withdrawal as its event tells it; `occurred_at` is event time."""

    event_id: str
    occurred_at: datetime
    amount_minor: int
    currency: str


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's verdict on one withdrawal, with everything needed to check it by hand."""

    rule_id: str
    rule_version: int
    threshold: int | str
    observed: int | str
    evidence: tuple[str, ...]
    reason: str
    window_seconds: int | None = None


def examine(
    withdrawal: Withdrawal, earlier: Iterable[Withdrawal], rules: FraudRules
) -> tuple[Flag, ...]:
    """
    Return the flags that `withdrawal` raises, in rule order.

    `earlier` are withdrawals of the same wallet that happened before it; those outside the window
    are passed over. The verdict depends on event times alone, so it is the same whenever and how
    often it is asked.
    """
    flags = (_rapid(withdrawal, earlier, rules), _large(withdrawal, rules))
    return tuple(flag for flag in flags if flag is not None)


def _rapid(withdrawal: Withdrawal, earlier: Iterable[Withdrawal], rules: FraudRules) -> Flag | None:
    seconds = rules.rapid_window_seconds
    window = timedelta(seconds=seconds)
    now = withdrawal.occurred_at
    within = {
        (each.occurred_at, each.event_id)
        for each in earlier
        if timedelta(0) <= now - each.occurred_at <= window and each.event_id != withdrawal.event_id
    }
    evidence = tuple(event_id for _, event_id in sorted(within))
    count = len(evidence) + 1
    if count < rules.rapid_count:
        return None
    return Flag(
        rule_id=RAPID_WITHDRAWALS,
        rule_version=RULE_VERSION,
        threshold=rules.rapid_count,
        observed=count,
        evidence=(*evidence, withdrawal.event_id),
        reason=f"{count} withdrawals within {seconds} s (threshold {rules.rapid_count})",
        window_seconds=seconds,
    )


def _large(withdrawal: Withdrawal, rules: FraudRules) -> Flag | None:
    currency = withdrawal.currency
    threshold_minor = rules.large_threshold.to_minor_rounded_up(currency)
    if withdrawal.amount_minor < threshold_minor:
        return None
    threshold = render(threshold_minor, currency)
    observed = render(withdrawal.amount_minor, currency)
    return Flag(
        rule_id=LARGE_TRANSACTION,
        rule_version=RULE_VERSION,
        threshold=threshold,
        observed=observed,
        evidence=(withdrawal.event_id,),
        reason=f"withdrawal of {observed} {currency} (threshold {threshold})",
    )
