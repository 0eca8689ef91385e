"""Promises about the end of event streams: a stop, a client that left or does not read, a limit."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from wallet_api import streams
from wallet_api.app import create_app
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings
from wallet_db_orm.feed import NEW_PER_WALLET_MAX

if TYPE_CHECKING:
    from services.api.tests.streams.conftest import Opened

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]
Open = Callable[..., AbstractAsyncContextManager["Opened"]]
Configured = Callable[..., ApiSettings]
Event = dict[str, Any]


async def deposit(client: httpx.AsyncClient, wallet_id: str, times: int = 1) -> None:
    for _ in range(times):
        done = await client.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "1"})
        assert done.status_code == 201, done.text


def versions(events: list[Event]) -> list[int]:
    return [event["walletVersion"] for event in events]


async def streams_open(client: httpx.AsyncClient) -> int:
    page = (await client.get("/metrics")).text
    return int(page.partition("\nwallet_streams_open ")[2].partition(".")[0])


async def test_a_stopping_process_ends_its_streams(
    start_api: Start, eventually: Eventually, opened: Open
) -> None:
    """On SIGTERM open streams end whole and at once, and the process with them."""
    process, url = start_api()
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        await deposit(client, "w")
        async with opened(client, "w") as one, opened(client, "w", 0) as two:
            assert versions(await two.events(2)) == [1, 2]
            asked_at = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert [*await one.rest(), *await two.rest()] == []
            code = await asyncio.to_thread(process.wait, 15)
            took_s = time.monotonic() - asked_at

    assert code in {0, -signal.SIGTERM}
    assert took_s < 3


async def test_a_client_that_leaves_is_forgotten(
    served: httpx.AsyncClient, sql: asyncpg.Connection, eventually: Eventually, opened: Open
) -> None:
    """A stream without a client is closed, and the last one takes the connection along."""
    await deposit(served, "w")
    listeners = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND (query LIKE 'LISTEN%' OR query LIKE '%asked.read%') AND pid <> pg_backend_pid()"
    )
    assert await sql.fetchval(listeners) == 0
    async with opened(served, "w"), opened(served, "w"):
        assert await streams_open(served) == 2
        await eventually(lambda: is_value(sql, listeners, 1))

    async def all_are_gone() -> bool:
        return await streams_open(served) == 0

    await eventually(all_are_gone)
    await eventually(lambda: is_value(sql, listeners, 0))


async def is_value(sql: asyncpg.Connection, query: str, expected: int) -> bool:
    return bool(await sql.fetchval(query) == expected)


async def test_only_so_many_streams_are_served(
    served: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, opened: Open
) -> None:
    """Beyond the limit 503 with Retry-After; a place that is left can be had again."""
    monkeypatch.setattr(streams, "STREAMS_MAX", 1)
    await deposit(served, "w")
    path = "/v1/wallets/w/events/stream"
    async with opened(served, "w"):
        refused = await served.get(path)
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["Retry-After"].isdigit()

    async def there_is_room() -> bool:
        return await streams_open(served) == 0

    await eventually(there_is_room)
    async with opened(served, "w") as stream:
        await deposit(served, "w")
        assert versions(await stream.events(1)) == [3]


async def test_who_does_not_read_is_let_go(
    configured: Configured,
    client_before: Callable[[Edge], Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """A client that takes nothing loses its place; what waited for it was one look's worth."""
    monkeypatch.setattr(streams, "STALLED_S", 0.3)
    app = create_app(configured())
    taken: list[bytes] = []

    async def receive() -> Any:  # noqa: ANN401  # an ASGI message
        await asyncio.Event().wait()

    async def send(message: Any) -> None:  # noqa: ANN401  # as above
        taken.append(message.get("body", b""))
        if b"data: " in taken[-1]:
            await asyncio.Event().wait()

    path = "/v1/wallets/w/events/stream"
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"after=0",
        "headers": [(b"host", b"wallet")],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    async with client_before(app) as client:
        await asyncio.gather(*(deposit(client, "w", 10) for _ in range(15)))
        asked_at = time.monotonic()
        serving = asyncio.create_task(app(scope, receive, send))
        await serving
        assert time.monotonic() - asked_at < 5
        assert await streams_open(client) == 0

    assert b"".join(taken).count(b"data: ") == NEW_PER_WALLET_MAX


async def test_a_stream_is_no_slow_request(
    served: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    """A stream that was open for long is not told as a request that took so long."""
    monkeypatch.setattr("wallet_api.edge._SLOW_MS", 400.0)
    monkeypatch.setattr(streams, "LIFETIME_S", 1.0)
    await deposit(served, "w")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    with capture_logs() as said:
        async with opened(served, "w") as stream:
            assert await stream.rest() == []
        await served.get("/nothing")

    assert [line["path"] for line in said if line["event"] == "request.handled"] == [
        # What a stranger made up may be a secret.
        "/[redacted]"
    ]
