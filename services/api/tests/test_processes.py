"""Promises about API processes: many share one database, and each ends without a broken promise."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import pytest

from wallet_tools import environment

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
    start_api: Start, sql: asyncpg.Connection, eventually: Eventually, tmp_path: Path
) -> None:
    """On SIGTERM sixty requests that wait for a locked table are all answered 201; then code 0."""
    process, url = start_api(tmp_path / "output")
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
    assert await asyncio.to_thread(process.wait, 15) == 0
    assert "Traceback" not in (tmp_path / "output").read_text()
    assert await sql.fetchval("SELECT sum(balance_minor) FROM wallets") == 6300
    assert await sql.fetchval("SELECT count(*) FROM operations") == 63


async def refuses_connections(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as stranger:
            await stranger.get(f"{url}/healthz")
    except httpx.TransportError:
        return True
    return False


async def test_without_tokens_a_handed_down_socket_is_a_local_one(
    database_url: str, tmp_path: Path
) -> None:
    """A supervisor's socket that other machines reach is refused while all are let in."""
    with socket.create_server(("0.0.0.0", 0)) as open_to_all:
        ended = subprocess.run(
            [sys.executable, "-m", "wallet_api.main"],
            env=environment.system()
            | {
                "WALLET_DATABASE_URL": database_url,
                "WALLET_AUTH": "off",
                "WALLET_LISTEN_FD": str(open_to_all.fileno()),
            },
            pass_fds=[open_to_all.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )

    assert ended.returncode == 1
    assert "WALLET_LISTEN_FD: WALLET_AUTH=off is served on loopback only" in ended.stderr


@pytest.mark.slow
async def test_an_idle_connection_is_kept(start_api: Start) -> None:
    """Longer than common clients keep theirs: none asks on one that is just being closed."""
    _, url = start_api()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 7)
    writer.close()


async def test_what_is_rehearsed_by_put_arrives_whole(start_api: Start) -> None:
    """Its length is that of the body that says `dryRun`, so the connection goes on."""
    _, url = start_api()
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await client.post("/v1/wallets", json={"id": "w"})
        for path, body in (
            ("/v1/wallets/w/limits", {"overdraft": "1.00"}),
            ("/v1/fees/deposit/USD", {"flat": "1.00"}),
            ("/v1/fx/rates/USD/EUR", {"rate": "1"}),
        ):
            answer = await client.put(path, params={"dryRun": "true"}, json=body)

            assert answer.json()["dryRun"] is True
            assert int(answer.headers["Content-Length"]) == len(answer.content)
