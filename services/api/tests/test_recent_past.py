"""This module is where the past of a moment ago is read over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC

import asyncpg
import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]


@pytest.mark.parametrize("kind", ["wallet", "statement"])
async def test_an_answer_about_the_past_is_final_however_recent(
    api: httpx.AsyncClient, sql: asyncpg.Connection, a_wallet: AWallet, kind: str
) -> None:
    """A deposit that has its time already and is not committed yet is waited for."""
    wallet_id = await a_wallet("144.00")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

    async def look(at: str) -> str:
        path = f"/v1/wallets/{wallet_id}"
        if kind == "statement":
            answer = await api.get(f"{path}/statement", params={"to": at})
            return str(answer.json()["closingBalance"])
        answer = await api.get(path, params={"at": at})
        return str(answer.json()["balance"])

    async with asyncio.timeout(10):
        async with sql.transaction():
            await sql.execute("LOCK TABLE ledger_entries IN SHARE MODE")
            body = {"amount": "7.00"}
            depositing = asyncio.create_task(
                api.post(f"/v1/wallets/{wallet_id}/deposit", json=body)
            )
            while not await sql.fetchval(waiting):
                pass
            at = (await sql.fetchval("SELECT clock_timestamp()")).astimezone(UTC).isoformat()
            looking = asyncio.create_task(look(at))
            while not looking.done() and await sql.fetchval(waiting) == 1:
                pass
        first, _ = await asyncio.gather(looking, depositing)

    assert (first, await look(at)) == ("151.00", "151.00")


@pytest.mark.parametrize("rest", ["?at=2999-01-01T00:00:00Z", "/statement", "/explain"])
async def test_a_wallet_that_stays_locked_is_busy(
    api: httpx.AsyncClient, sql: asyncpg.Connection, a_wallet: AWallet, rest: str
) -> None:
    """How it stands cannot be told while somebody holds it: 503 until nobody does."""
    address = f"/v1/wallets/{await a_wallet()}{rest}"

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets FOR UPDATE")
        answer = await api.get(address)

    told = answer.json()
    assert (answer.status_code, told["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
    assert told["detail"].startswith("The wallet or the database is busy")
    assert (await api.get(address)).status_code == 200
