"""This module is where it is told that the time of holds is over, though nobody asks."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.orders import asked_for
from wallet_common.commands import PlaceHold
from wallet_common.money import parse_amount
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Recorded
from wallet_worker import recovery

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker

Until = Callable[..., Awaitable[None]]
# Longer than it takes to place a hold on a busy machine.
SOON = timedelta(seconds=2)


async def test_two_workers_tell_once_of_each_hold_whose_time_is_over(
    bank: "Bank", worker_at: Callable[[None], "Worker"], until: Until
) -> None:
    """Ten holds of ten wallets end by themselves: one event each, and the money is free."""
    wallet_ids = [f"w{number}" for number in range(10)]
    await bank.deposits(1, *wallet_ids)
    for wallet_id in wallet_ids:
        hold = PlaceHold(
            wallet_id=wallet_id,
            request_id=new_id(),
            operation_id=new_id(),
            amount=parse_amount("2.00"),
            expires_at=datetime.now(UTC) + SOON,
        )
        assert isinstance(await bank.lanes.submit(asked_for(hold)), Recorded)
    workers = [asyncio.create_task(recovery.run(bank.database, bank.lanes)) for _ in range(2)]

    async def are_free() -> bool:
        return bool(await bank.value("SELECT sum(held_minor) = 0 FROM wallets"))

    await until(are_free)

    for worker in workers:
        worker.cancel()
    told = await bank.rows("SELECT wallet_id FROM events WHERE type = 'HoldExpired' ORDER BY 1")
    assert [row["wallet_id"] for row in told] == wallet_ids
    worker_at(None).start_direct()
    await until(bank.is_quiet)
    assert await bank.violations() == []
