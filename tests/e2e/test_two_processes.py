"""This module is where two API processes meet in the same wallets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]


async def test_identical_first_deposits_are_one(town: "Town", until: Until) -> None:
    """64 copies of a new wallet's first deposit at once: one effect, 64 identical answers."""
    answers = await asyncio.gather(
        *(town.post("/hedged/deposit", amount="12.34", requestId="once") for _ in range(64))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replay" not in answer.headers for answer in answers) == 1
    assert (await town.get("/v1/wallets/hedged"))["balance"] == "12.34"
    assert len((await town.get("/v1/wallets/hedged/ledger"))["items"]) == 1


async def test_opposite_transfers_leave_the_balances(town: "Town", until: Until) -> None:
    """250 transfers each way at once: all arrive, nothing waits for ever, nothing is in transit."""
    for wallet_id in ("left", "right"):
        await town.post(f"/{wallet_id}/deposit", amount="1000.00")
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = await town.value(deadlocks)

    gate = asyncio.Semaphore(50)

    async def transfer(wallet_id: str, to: str) -> int:
        async with gate:
            answer = await town.post(f"/{wallet_id}/transfer", amount="1.00", toWalletId=to)
            return answer.status_code

    statuses = await asyncio.gather(
        *(transfer(*pair) for _ in range(250) for pair in (("left", "right"), ("right", "left")))
    )

    assert set(statuses) == {201}
    for wallet_id in ("left", "right"):
        assert (await town.get(f"/v1/wallets/{wallet_id}"))["balance"] == "1000.00"
    await until(town.is_quiet)
    assert await town.value(deadlocks) == before
    assert await town.violations() == []
