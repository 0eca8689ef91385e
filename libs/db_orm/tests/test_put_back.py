"""This module is where a queue goes on without what another process holds just now."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from wallet_common.commands import Deposit
from wallet_common.errors import Busy
from wallet_db_orm import group_commit, statements
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import BATCH_MAX, PENDING_MAX, GroupCommit
from wallet_db_orm.orders import Order

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Until = Callable[..., Awaitable[bool]]

AMOUNTS = (1, 2, 3)


class Heard:
    """One lane for all wallets, and what its connections have asked."""

    def __init__(self, database: Database) -> None:
        self.lanes = GroupCommit(database)
        self.asked: list[str] = []
        event.listen(database.lanes.sync_engine, "connect", self._listen)

    def _listen(self, connection: Any, _: object) -> None:  # noqa: ANN401  # of the pool
        connection.driver_connection.add_query_logger(lambda each: self.asked.append(each.query))

    async def waits(self) -> bool:
        """Say whether a lock was ever waited for."""
        return statements.LOCK_WALLETS in self.asked

    async def set_apart(self) -> bool:
        """Say whether a wallet waits in a lane of its own."""
        return bool(self.lanes.apart)

    def submit(self, command: Deposit) -> "asyncio.Future[Any]":
        return self.lanes.submit(Order(command, "trace"))


@pytest.fixture
async def heard(database_url: str) -> AsyncIterator[Heard]:
    database = Database(database_url, application_name="heard", lane_count=1)
    heard = Heard(database)
    yield heard
    await heard.lanes.close()
    await database.dispose()


async def amounts(books: "Books", wallet_id: str) -> list[int]:
    rows = await books.rows(
        "SELECT amount_minor FROM ledger_entries WHERE wallet_id = $1 ORDER BY wallet_version",
        wallet_id,
    )
    return [each["amount_minor"] for each in rows]


@pytest.mark.parametrize("others", [BATCH_MAX, PENDING_MAX - len(AMOUNTS)])
async def test_a_queue_does_not_wait_for_what_another_process_holds(
    others: int,
    ledger: "Ledger",
    books: "Books",
    a: "Builders",
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes back to the head, for the last few others too, and its orders keep their order."""
    monkeypatch.setattr(group_commit, "PUT_BACK_MAX", PENDING_MAX)
    await ledger.post(a.deposit("held", "9.00"))

    async with books.lock_on("held"):
        held = [heard.submit(a.deposit("held", f"{each}.00")) for each in AMOUNTS]
        free = [heard.submit(a.deposit(f"w{n}", "1.00")) for n in range(others)]
        await asyncio.gather(*free[: 2 * BATCH_MAX])
        assert not any(each.done() for each in held)
        assert statements.LOCK_FREE_WALLETS in heard.asked
        assert statements.LOCK_WALLETS not in heard.asked
    await asyncio.gather(*held, *free)

    assert await amounts(books, "held") == [900, 100, 200, 300]


async def test_what_stays_held_is_waited_for_in_the_end(
    ledger: "Ledger", books: "Books", a: "Builders", heard: Heard, until: Until
) -> None:
    """However much else comes, it leaves the queue and waits apart, in its order."""
    await ledger.post(a.deposit("held", "9.00"))
    others = [a.deposit(f"w{n}", "1.00") for n in range(PENDING_MAX - len(AMOUNTS))]

    async with books.lock_on("held"):
        held = [heard.submit(a.deposit("held", f"{each}.00")) for each in AMOUNTS]
        await asyncio.gather(*(heard.submit(each) for each in others))
        assert await until(heard.set_apart)
    await asyncio.gather(*held)

    assert await amounts(books, "held") == [900, 100, 200, 300]


async def test_a_batch_of_which_nothing_can_be_done_is_waited_for(
    ledger: "Ledger", books: "Books", a: "Builders", heard: Heard, until: Until
) -> None:
    """Asking for one wallet again and again would only keep the machine busy."""
    await ledger.post(a.deposit("held", "9.00"))

    async with books.lock_on("held"):
        held = [heard.submit(a.deposit("held", "1.00")) for _ in range(3 * BATCH_MAX)]
        assert await until(heard.waits)
    await asyncio.gather(*held)

    assert heard.asked.count(statements.LOCK_FREE_WALLETS) <= 3
    assert await amounts(books, "held") == [900] + [100] * len(held)


async def test_nothing_is_done_behind_what_was_not(
    ledger: "Ledger", books: "Books", a: "Builders", heard: Heard
) -> None:
    """Of one caller's orders none happens after a Busy, though the wallet is free for the rest."""
    await ledger.post(a.deposit("held", "9.00"))
    asked: list[asyncio.Future[Any]] = []

    async with books.lock_on("held"):
        for _ in range(BATCH_MAX + 8):
            behind = asked[-1] if asked else None
            order = Order(a.deposit("held", "1.00"), "trace")
            asked.append(heard.lanes.submit(order, behind=behind))
        await asyncio.wait(asked[:1])
    came = await asyncio.gather(*asked, return_exceptions=True)

    assert {type(each) for each in came} == {Busy}
    assert await amounts(books, "held") == [900]
