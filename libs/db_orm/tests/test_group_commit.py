"""This module is where callers who share transactions are kept out of each other's troubles."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from asyncpg import CheckViolationError

from wallet_common.commands import Command, Withdraw
from wallet_common.errors import Busy
from wallet_db_orm import group_commit, queries
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import BATCH_MAX, PENDING_MAX, GroupCommit
from wallet_db_orm.orders import Applied, Order

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

# The contract's limit for a caller whose wallet somebody else holds.
BUSY_WITHIN_S = 6
ONE_LANE = "one lane"
# Shorter than a wallet's own lane waits for its lock.
SHORT_PATIENCE_S = 0.6


def an_order(command: Command) -> Order:
    return Order(command, "trace")


@pytest.fixture
async def one_lane(database_url: str) -> AsyncIterator[GroupCommit]:
    """One lane for all wallets, whose connections bear a name of their own."""
    database = Database(database_url, application_name=ONE_LANE, lane_count=1)
    lanes = GroupCommit(database)
    yield lanes
    await lanes.close()
    await database.dispose()


async def connections(books: "Books") -> int:
    """Count those that the lane has made by now, whether it still needs them or not."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND query ~ 'COMMIT'"
    return int(await books.value(asked, ONE_LANE))


async def test_a_strangers_lock_holds_up_only_the_wallet_that_it_is_on(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """While a stranger holds one wallet, its callers wait and all others are served."""
    for wallet_id in ("held", *map(str, range(20))):
        await ledger.post(a.deposit(wallet_id, "5.00"))

    async with books.lock_on("held"):
        waiting = [
            asyncio.create_task(ledger.record(a.withdrawal("held", "1.00"))) for _ in range(10)
        ]
        for _ in range(5):
            await asyncio.gather(*(ledger.post(a.deposit(str(n), "1.00")) for n in range(20)))
        assert not any(each.done() for each in waiting)

    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await books.balances())["0"] == 1000


async def test_callers_of_held_wallets_are_told_to_come_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """However many wallets are held, callers hear Busy in time and keep their keys."""
    held = [f"held{number}" for number in range(12)]
    await asyncio.gather(*(ledger.post(a.deposit(each, "5.00")) for each in [*held, "free"]))

    orders = [a.withdrawal(wallet_id, "1.00") for wallet_id in held * 2]

    async def told_busy(order: Withdraw) -> None:
        async with asyncio.timeout(BUSY_WITHIN_S):
            with pytest.raises(Busy):
                await ledger.record(order)

    async with books.lock_on(*held), asyncio.TaskGroup() as callers:
        for some in (orders[:12], orders[12:]):
            for order in some:
                callers.create_task(told_busy(order))
            # Once a neighbour is served the callers wait apart, and later ones behind them.
            await ledger.post(a.deposit("free", "1.00"))
            await queries.wallet(ledger.database.reads, "free")

    await asyncio.gather(*(ledger.post(order) for order in orders))
    assert await books.balances() == {"free": 700} | dict.fromkeys(held, 300)


async def test_a_lock_that_is_let_go_in_time_costs_nobody_an_answer(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A caller who waited for a stranger is served as soon as the stranger is gone."""
    await ledger.post(a.deposit("held", "5.00"))
    await ledger.post(a.deposit("free", "5.00"))

    async with books.lock_on("held"):
        waiting = asyncio.create_task(ledger.post(a.withdrawal("held", "1.00")))
        await ledger.post(a.deposit("free", "1.00"))

    assert (await waiting).balance_minor == 400


async def test_a_full_queue_is_busy_at_once(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What the queue cannot hold is refused without waiting, what it holds is carried out."""
    await ledger.post(a.deposit("w1", "1.00"))

    answers = await asyncio.gather(
        *(ledger.post(a.deposit("w1", "1.00")) for _ in range(PENDING_MAX)),
        *(ledger.post(a.deposit("w1", "1.00")) for _ in range(7)),
        return_exceptions=True,
    )

    assert [type(each) for each in answers[PENDING_MAX:]] == [Busy] * 7
    assert not any(isinstance(each, BaseException) for each in answers[:PENDING_MAX])
    assert await books.balances() == {"w1": 100 * (PENDING_MAX + 1)}
    assert ledger.lanes.pending == 0


async def test_a_deep_queue_is_carried_out_by_two_transactions_at_a_time(
    ledger: "Ledger", books: "Books", a: "Builders", one_lane: GroupCommit
) -> None:
    """They share no wallet: each wallet's orders are carried out in the order they came in."""
    wallet_ids = [f"w{number}" for number in range(2 * BATCH_MAX)]
    orders = [a.deposit(each, f"{amount}.00") for amount in (1, 2, 3) for each in wallet_ids]

    await asyncio.gather(*(one_lane.submit(an_order(each)) for each in orders))

    assert await connections(books) == 2
    told = await books.rows(
        "SELECT amount_minor FROM ledger_entries ORDER BY wallet_id, wallet_version"
    )
    assert [each["amount_minor"] for each in told] == [100, 200, 300] * len(wallet_ids)


async def test_a_deep_queue_of_one_wallet_has_one_transaction(
    ledger: "Ledger", books: "Books", a: "Builders", one_lane: GroupCommit
) -> None:
    """A second one would have nothing to do but wait for the first one's lock."""
    orders = [a.deposit("hot", "1.00") for _ in range(4 * BATCH_MAX)]

    await asyncio.gather(*(one_lane.submit(an_order(each)) for each in orders))

    assert await connections(books) == 1
    assert await books.balances() == {"hot": 100 * len(orders)}


async def test_a_caller_who_gives_up_does_no_harm(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Half of the callers leave at any moment; asked again, each order has happened once."""
    orders = [a.deposit(f"w{number % 5}", "1.00") for number in range(200)]
    await ledger.post(orders[0])
    calls = [asyncio.create_task(ledger.record(order)) for order in orders]
    patient = calls[::2]

    for left, call in enumerate(calls[1::2]):
        call.cancel()
        if left % 10 == 0:
            await ledger.post(a.deposit("other", "1.00"))
    await asyncio.gather(*calls, return_exceptions=True)

    assert all(not each.cancelled() and each.exception() is None for each in patient)
    await asyncio.gather(*(ledger.record(order) for order in orders))
    balances = await books.balances()
    assert [balances[f"w{number}"] for number in range(5)] == [4000] * 5
    assert ledger.lanes.pending == 0


async def test_an_order_that_the_database_refuses_fails_alone(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """One order that no transaction can hold raises to its caller; its neighbours are booked."""
    await ledger.post(a.deposit("w1", "1.00"))
    await books.execute(
        "ALTER TABLE ledger_entries ADD CONSTRAINT no_reference CHECK (reference <> 'bad')"
    )

    answers = await asyncio.gather(
        *(
            ledger.post(a.deposit("w1", "1.00", reference="bad" if n == 7 else None))
            for n in range(20)
        ),
        return_exceptions=True,
    )

    assert [n for n, each in enumerate(answers) if isinstance(each, CheckViolationError)] == [7]
    assert await books.balances() == {"w1": 2000}


async def test_closing_finishes_what_is_queued(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A graceful stop carries out all that was accepted, also what waits apart."""
    await ledger.post(a.deposit("w1", "1.00"))
    async with books.lock_on("w1"):
        calls = [asyncio.create_task(ledger.post(a.deposit("w1", "1.00"))) for _ in range(9)]
        await ledger.post(a.deposit("w2", "1.00"))

    await ledger.lanes.close()

    assert await books.balances() == {"w1": 1000, "w2": 100}
    assert len(await asyncio.gather(*calls)) == 9


async def test_nobody_waits_longer_whoever_comes_and_goes(
    ledger: "Ledger", books: "Books", a: "Builders", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held callers hear Busy each at its own deadline, though earlier ones are done, more come."""
    monkeypatch.setattr(group_commit, "PATIENCE_S", SHORT_PATIENCE_S)
    for wallet_id in ("held", "free"):
        await ledger.post(a.deposit(wallet_id, "9.00"))
    loop = asyncio.get_running_loop()
    held: list[asyncio.Future[Applied]] = []
    heard: list[bool] = []

    def ask() -> None:
        answer = ledger.lanes.submit(an_order(a.withdrawal("held", "1.00")))
        held.append(answer)
        # However late the loop itself is: what is due before comes first, and one step later...
        due = SHORT_PATIENCE_S + 0.01
        loop.call_later(due, loop.call_soon, lambda: heard.append(answer.done()))

    async with asyncio.timeout(BUSY_WITHIN_S), books.lock_on("held"):
        # The first of the stream starts the one timer, and is served long before that ends.
        while len(heard) < 20:
            await ledger.insist(a.deposit("free", "0.01"))
            if len(held) < 20:
                ask()

    assert heard == [True] * 20
    assert [type(each.exception()) for each in held] == [Busy] * 20
    assert ledger.lanes.pending == 0
    assert (await books.balances())["held"] == 900


async def test_callers_who_leave_leave_nothing_behind(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Who cancels gives its place back and is watched no more, and nor are those behind it."""
    for wallet_id in ("held", "free"):
        await ledger.post(a.deposit(wallet_id, "9.00"))

    async with books.lock_on("held"):
        for _ in range(3):
            some = [
                ledger.lanes.submit(an_order(a.withdrawal(wallet_id, "0.01")))
                for wallet_id in ("held", "free")
                for _ in range(50)
            ]
            # These are served while the first of the others still waits.
            await asyncio.gather(*some[50:])
            assert ledger.lanes.pending == 50
            for each in some:
                each.cancel()
            await ledger.post(a.deposit("free", "0.50"))
            assert ledger.lanes.pending == 0
            assert len(ledger.lanes._watched) == 1

    assert (await books.balances())["free"] == 900


async def test_there_is_room_for_as_many_as_may_wait(
    ledger: "Ledger", books: "Books", a: "Builders", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is what the waiting leave of the limit; beyond it submitting raises and takes none."""
    monkeypatch.setattr(group_commit, "PENDING_MAX", 10)
    await ledger.post(a.deposit("held", "9.00"))
    lanes = ledger.lanes

    async with books.lock_on("held"):
        some = [lanes.submit(an_order(a.withdrawal("held", "0.01"))) for _ in range(7)]
        assert [lanes.has_room(orders) for orders in (1, 3, 4)] == [True, True, False]
        some += [lanes.submit(an_order(a.withdrawal("held", "0.01"))) for _ in range(3)]
        assert [lanes.has_room(orders) for orders in (0, 1)] == [True, False]
        with pytest.raises(Busy):
            await lanes.submit(an_order(a.withdrawal("held", "0.01")))
        some.pop().cancel()
    await asyncio.gather(*some)

    assert [lanes.has_room(orders) for orders in (10, 11)] == [True, False]
    assert (await books.balances())["held"] == 891
