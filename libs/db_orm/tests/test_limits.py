"""This module is where wallets keep to their limits while many want to spend."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_common.commands import PlaceHold, SetLimits
from wallet_common.limits import AskedVelocity, Period
from wallet_common.money import parse_amount
from wallet_common.wallet import Rejected, RejectionReason as Reason, Wallet
from wallet_db_orm.spending import usage

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Outcomes = list[tuple[bool, str | None]]


def by_day(wallet_id: str, amount: str | None, count: int | None = None) -> SetLimits:
    most = None if amount is None else parse_amount(amount)
    asked = AskedVelocity(period=Period.DAY, amount=most, count=count)
    return SetLimits(wallet_id=wallet_id, velocity=(asked,))


async def spent(ledger: "Ledger", limits: SetLimits) -> tuple[int, int]:
    wallet = await ledger.ask(limits)
    assert isinstance(wallet, Wallet)
    seen = (await usage(ledger.database.primary, wallet)).spending[Period.DAY]
    return seen.amount_minor, seen.count


async def placed(
    ledger: "Ledger", other: "Ledger", holds: Sequence[PlaceHold]
) -> Sequence[PlaceHold]:
    """Ask for the holds at once, by turns through two processes; return those that were placed."""
    ways = [ledger, other] * len(holds)
    asked = (way.record(each) for way, each in zip(ways, holds, strict=False))
    came = await asyncio.gather(*asked)
    return [
        hold
        for hold, each in zip(holds, came, strict=True)
        if not isinstance(each.operation.outcome, Rejected)
    ]


async def test_no_more_leaves_in_a_day_than_may_whoever_asks_and_where(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Of 60 withdrawals of 3.00 through two processes 33 fit into 100.00, in one batch or many."""
    await ledger.post(a.deposit("w1", "1000.00"))
    limits = by_day("w1", "100.00")
    await ledger.ask(limits)
    ways = [ledger, other] * 30

    recorded = await asyncio.gather(*(way.record(a.withdrawal("w1", "3.00")) for way in ways))

    refused = [each.operation.outcome for each in recorded]
    reasons = [each.reason for each in refused if isinstance(each, Rejected)]
    assert reasons == [Reason.LIMIT_EXCEEDED] * 27
    assert await books.balances() == {"w1": 90_100}
    assert await spent(ledger, limits) == (9_900, 33)
    assert await ledger.violations() == {}


async def test_a_limit_knows_what_had_left_before_it_was_set_and_what_came_back(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Withdrawals and transfers count, not one that came back; the count is a limit of its own."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.ask(a.opening("w2"))
    await ledger.post(a.withdrawal("w1", "10.00"))
    await ledger.transfer(a.transfer("w1", "w2", "20.00"))
    stored = await ledger.debit(a.transfer("w1", "w2", "30.00"))
    await ledger.post(a.withdrawal("w2", "20.00"))
    limits = by_day("w1", None, 3)
    before = await spent(ledger, limits)
    await ledger.ask(SetLimits(wallet_id="w2", max_balance=parse_amount("29.99")))
    ended = await ledger.finished(stored)

    third = await ledger.record(a.withdrawal("w1", "1.00"))
    fourth = await ledger.record(a.withdrawal("w1", "1.00"))

    assert (before, ended.reason) == ((6_000, 3), "limit_exceeded")
    assert not isinstance(third.operation.outcome, Rejected)
    assert isinstance(fourth.operation.outcome, Rejected)
    assert await spent(ledger, limits) == (3_100, 3)
    assert await ledger.violations() == {}


async def test_limits_and_withdrawals_of_one_batch_are_taken_in_their_order(
    ledger: "Ledger", a: "Builders"
) -> None:
    """What was spent before the limit came counts, what comes after it is held to it."""
    await ledger.post(a.deposit("w1", "100.00"))

    _, first, _, second, third = await asyncio.gather(
        ledger.ask(by_day("w1", "5.00")),
        ledger.record(a.withdrawal("w1", "5.00")),
        ledger.ask(by_day("w1", "7.00")),
        ledger.record(a.withdrawal("w1", "2.00")),
        ledger.record(a.withdrawal("w1", "0.01")),
    )

    outcomes = [isinstance(each.operation.outcome, Rejected) for each in (first, second, third)]
    assert outcomes == [False, False, True]


async def test_an_overdraft_is_used_once_and_its_holds_are_kept(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """40 holds of 1.00 want 10.00 that may be owed; the ten are captured when it may be no more."""
    await ledger.ask(a.opening("w1"))
    await ledger.ask(SetLimits(wallet_id="w1", overdraft=parse_amount("10.00")))
    won = await placed(ledger, other, [a.hold("w1", "1.00") for _ in range(40)])
    await ledger.ask(SetLimits(wallet_id="w1"))

    await asyncio.gather(*(ledger.post(a.capture(each)) for each in won))
    refused = await ledger.record(a.withdrawal("w1", "0.01"))

    assert len(won) == 10
    assert isinstance(refused.operation.outcome, Rejected)
    assert await books.balances() == {"w1": -1_000}
    assert await ledger.violations() == {}


async def test_an_open_hold_counts_until_it_is_none(
    ledger: "Ledger", other: "Ledger", a: "Builders"
) -> None:
    """Of 40 holds three may be open; a capture takes its place, a release leaves it to another."""
    await ledger.post(a.deposit("w1", "100.00"))
    limits = by_day("w1", None, 3)
    await ledger.ask(limits)
    won = await placed(ledger, other, [a.hold("w1", "1.00") for _ in range(40)])
    assert len(won) == 3
    captured, released = await asyncio.gather(
        ledger.record(a.capture(won[0])), other.record(a.release(won[1]))
    )
    counted = await spent(ledger, limits)
    more = [await ledger.record(a.withdrawal("w1", "1.00")) for _ in range(2)]

    refused = [isinstance(each.operation.outcome, Rejected) for each in (captured, released, *more)]
    assert (counted, refused) == ((100, 2), [False, False, False, True])
    assert await ledger.violations() == {}


async def test_the_database_lets_no_wallet_below_its_floor(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Whatever writes: the row of a wallet that owes more than it may is refused."""
    await ledger.ask(a.opening("w1"))
    await ledger.ask(SetLimits(wallet_id="w1", overdraft=parse_amount("10.00")))
    await ledger.post(a.withdrawal("w1", "10.00"))

    with pytest.raises(asyncpg.CheckViolationError, match="above_its_floor"):
        await books.execute("UPDATE wallets SET balance_minor = -1001")
