"""This module is where it is computed what an operation costs, and where the fee moves."""

import msgspec

from wallet_common import commands as ask
from wallet_common.facts import EventType, Fact
from wallet_common.money import MAX_MINOR, half_even, parse_amount, render
from wallet_common.payloads import FeeTold
from wallet_common.postings import post
from wallet_common.schedules import FeeSchedule
from wallet_common.wallet import Entry, EntryType, Wallet


class Paid(msgspec.Struct, frozen=True):
    """The wallet once the fee has moved, the facts that tell it, and its entry."""

    wallet: Wallet
    facts: tuple[Fact, ...] = ()
    entry: Entry | None = None


def fee_of(schedule: FeeSchedule | None, amount_minor: int) -> int:
    """
    Return what an operation with the amount costs, in minor units.

    That is the flat part and the percentage, which is rounded half to even, kept within the bounds.
    """
    if schedule is None:
        return 0
    fee_minor = schedule.flat_minor
    if schedule.percent is not None:
        share = parse_amount(schedule.percent)
        fee_minor += half_even(amount_minor * share.digits, 100 * 10**share.decimals)
    # As much as an entry can be; no wallet has that and an amount besides.
    fee_minor = min(max(fee_minor, schedule.min_minor), MAX_MINOR)
    return fee_minor if schedule.max_minor is None else min(fee_minor, schedule.max_minor)


def charge(
    wallet: Wallet,
    command: ask.Deposit | ask.Withdraw | ask.DebitTransfer,
    schedule: FeeSchedule | None,
    fee_minor: int,
) -> Paid:
    """Let the fee leave; the wallet has it, or this is a bug of the caller."""
    if fee_minor == 0:
        return Paid(wallet)
    assert schedule is not None, "a fee has its schedule"
    after, entry = post(wallet, EntryType.FEE, -fee_minor)
    return _paid(EventType.FEE_CHARGED, after, entry, command, schedule.id)


def give_back(wallet: Wallet, command: ask.RefundTransfer, fee_minor: int) -> Paid:
    """Let the fee come back with the transfer that it was for."""
    if fee_minor == 0:
        return Paid(wallet)
    after, entry = post(wallet, EntryType.FEE_REFUND, fee_minor)
    return _paid(EventType.FEE_REFUNDED, after, entry, command)


def _paid(
    event_type: EventType,
    after: Wallet,
    entry: Entry,
    command: ask.Deposit | ask.Withdraw | ask.DebitTransfer | ask.RefundTransfer,
    schedule_id: str | None = None,
) -> Paid:
    told = FeeTold(
        amount=render(abs(entry.amount_minor), after.currency),
        currency=after.currency,
        new_balance=render(after.balance_minor, after.currency),
        request_id=command.request_id,
        operation_id=command.operation_id,
        schedule_id=schedule_id,
    )
    return Paid(after, (Fact(event_type, told),), entry)
