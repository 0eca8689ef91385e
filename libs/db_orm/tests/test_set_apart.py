"""This module is where a wallet that somebody else holds has a lane of its own, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_db_orm import group_commit, group_read
from wallet_db_orm.group_read import GroupRead

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Until = Callable[..., Awaitable[bool]]


async def test_orders_keep_their_order_when_their_batch_breaks_at_a_held_wallet(
    ledger: "Ledger", books: "Books", a: "Builders", until: Until
) -> None:
    """A bad order splits the batch, the wallet is held, its orders move apart: one by one still."""
    await ledger.post(a.deposit("w1", "1.00"))
    await books.execute(
        "ALTER TABLE ledger_entries ADD CONSTRAINT no_reference CHECK (reference <> 'bad')"
    )
    amounts = [f"{number}.00" for number in range(1, 6)]

    async with books.lock_on("w1"):
        asked = [
            asyncio.create_task(ledger.post(a.deposit("w1", amount, reference=reference)))
            for amount, reference in [("9.00", "bad"), *((each, None) for each in amounts)]
        ]
        assert await until(lambda: has_own_lane(ledger, "w1"))
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [isinstance(each, asyncpg.CheckViolationError) for each in answers] == [True] + [
        False
    ] * 5
    entries = await books.rows("SELECT amount_minor FROM ledger_entries ORDER BY wallet_version")
    assert [row["amount_minor"] for row in entries] == [100, 100, 200, 300, 400, 500]


async def test_a_wallet_that_is_free_again_goes_the_common_way(
    ledger: "Ledger",
    books: "Books",
    a: "Builders",
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own lane is forgotten once nobody has asked for it for a while."""
    monkeypatch.setattr(group_commit, "_STAYS_APART_S", 0.1)
    await ledger.post(a.deposit("w1", "1.00"))
    async with books.lock_on("w1"):
        waiting = asyncio.create_task(ledger.post(a.deposit("w1", "1.00")))
        assert await until(lambda: has_own_lane(ledger, "w1"))
    await waiting

    assert await until(lambda: has_no_own_lane(ledger))
    await ledger.post(a.deposit("w1", "1.00"))
    assert await books.balances() == {"w1": 300}


async def test_many_held_wallets_wait_and_others_do_not(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Fifteen wallets held at once, more than there are connections for: the rest is served."""
    held = [f"held{number}" for number in range(15)]
    await asyncio.gather(*(ledger.post(a.deposit(each, "1.00")) for each in [*held, "free"]))

    async with books.lock_on(*held):
        waiting = [asyncio.create_task(ledger.post(a.deposit(each, "1.00"))) for each in held]
        for _ in range(10):
            await asyncio.wait_for(ledger.post(a.deposit("free", "1.00")), 2)
        assert not any(each.done() for each in waiting)
    await asyncio.gather(*waiting, return_exceptions=True)

    assert (await books.balances())["free"] == 1100


async def test_a_reader_does_not_wait_for_ever(
    ledger: "Ledger", books: "Books", a: "Builders", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that somebody keeps to himself: readers are told in time, later ones are answered."""
    monkeypatch.setattr(group_read, "PATIENCE_S", 0.3)
    await ledger.post(a.deposit("w1", "1.00"))
    reads = GroupRead(ledger.database.reads)
    async with books.session() as stranger, stranger.transaction():
        await stranger.execute("LOCK TABLE wallets IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reads.wallet("w1"), 5)

    row = await reads.wallet("w1")

    assert row is not None
    assert row.balance_minor == 100


async def has_own_lane(ledger: "Ledger", wallet_id: str) -> bool:
    return wallet_id in ledger.lanes.apart


async def has_no_own_lane(ledger: "Ledger") -> bool:
    return not ledger.lanes.apart
