"""Promises about API processes: many share one database, and each ends without a broken promise."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable

import asyncpg
import httpx

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]


async def test_identical_first_deposits_over_two_processes_are_one(
    start_api: Start, sql: asyncpg.Connection
) -> None:
    """64 at once to a wallet that is not there: one effect, 64 identical answers, no 5xx."""
    urls = [start_api()[1], start_api()[1]]
    limits = httpx.Limits(max_connections=64)
    body = {"amount": "10.00", "requestId": "first", "metadata": {"a": 1}}
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        answers = await asyncio.gather(
            *(client.post(f"{urls[n % 2]}/v1/wallets/new/deposit", json=body) for n in range(64))
        )

    assert {(each.status_code, each.content) for each in answers} == {(201, answers[0].content)}
    assert answers[0].json()["balance"] == "10.00"
    assert sum("Idempotent-Replay" not in each.headers for each in answers) == 1
    for table, rows in [("wallets", 1), ("operations", 1), ("ledger_entries", 1), ("events", 2)]:
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == rows
    assert await sql.fetchval("SELECT count(*) FROM api_audit WHERE status = 201") == 64


async def test_a_stopping_process_answers_what_it_has_begun(
    start_api: Start, sql: asyncpg.Connection, eventually: Eventually
) -> None:
    """On SIGTERM sixty requests that wait for the database are all answered 201; then it ends."""
    process, url = start_api()
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        await asyncio.gather(
            *(client.post(f"/v1/wallets/w{n}/deposit", json={"amount": "1"}) for n in range(3))
        )
        blocking = sql.transaction()
        await blocking.start()
        await sql.execute("LOCK TABLE outbox IN SHARE MODE")
        waiting = [
            asyncio.create_task(client.post(f"/v1/wallets/w{n % 3}/deposit", json={"amount": "1"}))
            for n in range(60)
        ]

        async def all_have_arrived() -> bool:
            ready = (await client.get("/readyz")).json()
            return bool(ready["pendingRequests"] == 60)

        await eventually(all_have_arrived)
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: refuses_connections(url))
        await blocking.rollback()
        answers = await asyncio.gather(*waiting)

    assert [each.status_code for each in answers] == [201] * 60
    code = await asyncio.to_thread(process.wait, 15)
    assert code in {0, -signal.SIGTERM}
    assert await sql.fetchval("SELECT sum(balance_minor) FROM wallets") == 6300


async def refuses_connections(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as stranger:
            await stranger.get(f"{url}/healthz")
    except httpx.TransportError:
        return True
    return False
