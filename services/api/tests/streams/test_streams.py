"""Promises about event streams: live, in order, resumed anywhere without a gap."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest

from wallet_api import streams

if TYPE_CHECKING:
    from services.api.tests.streams.conftest import Opened

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
Open = Callable[..., AbstractAsyncContextManager["Opened"]]
Event = dict[str, Any]


async def deposit(client: httpx.AsyncClient, wallet_id: str, times: int = 1) -> None:
    for _ in range(times):
        done = await client.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "1"})
        assert done.status_code == 201, done.text


def versions(events: list[Event]) -> list[int]:
    return [event["walletVersion"] for event in events]


async def test_events_come_as_they_are_committed(served: httpx.AsyncClient, opened: Open) -> None:
    """From now on, each event once and in order, as in the history; no relay is needed."""
    await deposit(served, "w")
    async with opened(served, "w") as stream:
        assert stream.last_event_id == "2"
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert stream.response.headers["X-Trace-Id"]
        await deposit(served, "other")
        for version in (3, 4, 5):
            await deposit(served, "w")
            assert versions(await stream.events(1)) == [version]

        await served.post("/v1/wallets/w/transfer", json={"amount": "2", "toWalletId": "other"})
        told = await stream.events(3)

    history = (await served.get("/v1/wallets/w/history", params={"limit": 3})).json()["items"]
    assert told == history[::-1]


@pytest.mark.parametrize("way", ["header", "query", "both"])
async def test_a_stream_resumes_behind_what_was_seen(
    served: httpx.AsyncClient, way: str, opened: Open
) -> None:
    """From any version on, without a gap and without a repetition; the header counts first."""
    await deposit(served, "w", 6)
    for seen in (0, 3, 7):
        last = None if way == "query" else seen
        query = {} if way == "header" else {"after": 1 if way == "both" else seen}
        async with opened(served, "w", last, **query) as stream:
            past = await stream.events(7 - seen)
            await deposit(served, "other")
        assert versions(past) == list(range(seen + 1, 8))


async def test_a_long_past_is_read_through(served: httpx.AsyncClient, opened: Open) -> None:
    """More events than one look brings arrive all the same, and then the new ones."""
    await asyncio.gather(*(deposit(served, "w", 10) for _ in range(17)))

    async with opened(served, "w", 0) as stream:
        past = await stream.events(171)
        await deposit(served, "w")
        assert versions([*past, *await stream.events(1)]) == list(range(1, 173))


async def test_two_processes_serve_the_same_streams(start_api: Start, opened: Open) -> None:
    """What one process writes, the other's streams tell; a client changes over at any event."""
    urls = [start_api()[1], start_api()[1]]
    async with (
        httpx.AsyncClient(base_url=urls[0], timeout=20) as first,
        httpx.AsyncClient(base_url=urls[1], timeout=20) as second,
    ):
        await deposit(first, "w", 3)
        writing = [
            asyncio.create_task(deposit(each, "w", 19)) for each in (first, second) for _ in "12"
        ]
        met: list[Event] = []
        last = "0"
        for turn in range(10):
            async with opened((first, second)[turn % 2], "w", last) as stream:
                met += await stream.events(8)
                assert stream.last_event_id is not None
                last = stream.last_event_id
        await asyncio.gather(*writing)

    assert versions(met) == list(range(1, 81))
    assert len({event["id"] for event in met}) == 80


@pytest.mark.parametrize("bad", ["", "x", "-1", "1.0", "01", "9" * 30, "3", "\u0661"])
async def test_a_version_that_never_was_is_refused(api: httpx.AsyncClient, bad: str) -> None:
    """What no stream of this wallet can have told is a 400, in the header and in the query."""
    await deposit(api, "w")
    path = "/v1/wallets/w/events/stream"

    in_header = await api.get(path, headers=[(b"Last-Event-ID", bad.encode())])
    in_query = await api.get(path, params={"after": bad})

    for refused in (in_header, in_query):
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")


async def test_an_unknown_wallet_has_no_stream(api: httpx.AsyncClient) -> None:
    """A wallet that nobody opened is a 404, with and without a version; other parameters a 400."""
    for headers in ({}, {"Last-Event-ID": "1"}):
        refused = await api.get("/v1/wallets/nobody/events/stream", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (404, "wallet_not_found")
    assert (await api.get("/v1/wallets/nobody/events/stream?limit=1")).status_code == 400


async def test_silence_is_filled(
    served: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    """Where nothing happens a comment comes from time to time."""
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.05)
    await deposit(served, "w")
    async with opened(served, "w") as stream:
        assert [await stream.block() for _ in range(3)] == [{}, {}, {}]
        await deposit(served, "w")
        assert versions(await stream.events(1)) == [3]


async def test_a_database_that_goes_away_interrupts_nobody(
    served: httpx.AsyncClient, sql: asyncpg.Connection, opened: Open
) -> None:
    """The reader's connection is made anew; what was committed meanwhile comes, once."""
    await deposit(served, "w")
    async with opened(served, "w") as stream:
        await deposit(served, "w")
        assert versions(await stream.events(1)) == [3]

        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'wallet-api' AND datname = current_database()"
        )
        await deposit(served, "w", 3)

        assert versions(await stream.events(3)) == [4, 5, 6]
