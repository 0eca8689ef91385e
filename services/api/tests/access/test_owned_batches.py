"""This module is where an owner's batch pays other owners, whose wallets may be held."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest

from services.api.tests.test_batch_limits import a_batch
from services.api.tests.test_batch_streams import ADDRESS, LINES, lines

Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]
OUT = {"type": "transfer", "walletId": "one", "toWalletId": "two", "amount": "5"}
MORE = OUT | {"amount": "1"}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_owner_who_leaves_leaves_no_transfer_halfway(
    guarded: httpx.AsyncClient,
    owned: Callable[..., Awaitable[str]],
    bearer: Callable[..., dict[str, str]],
    sql: asyncpg.Connection,
    eventually: Eventually,
    is_stream: bool,
) -> None:
    """Dropped while a stranger has the recipient: what was debited arrives, and nobody recovers."""
    await owned("ada", "one")
    await owned("bob", "two")
    waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
    asked = (
        guarded.post(ADDRESS, content=lines(OUT, MORE), headers=LINES | bearer("ada"))
        if is_stream
        else guarded.post("/v1/batches", json=a_batch(OUT, MORE), headers=bearer("ada"))
    )

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'two' FOR UPDATE")
        dropped = asyncio.create_task(asked)
        await eventually(lambda: sql.fetchval(waits))
        dropped.cancel()
        await asyncio.wait([dropped])
    ended = "SELECT count(*) = 1 FROM transfers WHERE state = 'completed'"

    await eventually(lambda: sql.fetchval(ended))

    balances = await sql.fetch("SELECT balance_minor FROM wallets ORDER BY id")
    assert [each["balance_minor"] for each in balances] == [9_500, 10_500]
