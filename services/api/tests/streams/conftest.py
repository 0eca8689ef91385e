"""This module is where the tests of event streams get them: open, as a browser reads them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from wallet_api.app import create_app
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings


class Opened:
    """An open stream, as a browser reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_event_id: str | None = None
        self._lines = response.aiter_lines()

    async def block(self) -> dict[str, str]:
        """Return the fields up to the next empty line; a comment has none."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(15):
            async for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
            else:
                raise EOFError
        self.last_event_id = fields.get("id", self.last_event_id)
        return fields

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Return the next events; their three lines tell the same."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            fields = await self.block()
            if "data" in fields:
                event = json.loads(fields["data"])
                assert fields["id"] == str(event["walletVersion"])
                assert fields["event"] == event["type"]
                found.append(event)
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """Return all that still comes until the stream ends."""
        found: list[dict[str, Any]] = []
        try:
            while True:
                found += await self.events(1)
        except EOFError:
            return found


@pytest.fixture
async def served(
    configured: Callable[..., ApiSettings], serve: Callable[[Edge], Awaitable[int]]
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application behind a real server: streams need one."""
    port = await serve(create_app(configured()))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client


@pytest.fixture
def opened() -> Callable[..., AbstractAsyncContextManager[Opened]]:
    """Return how to open a wallet's stream, behind the version `last` or from now on."""
    return _opened


@asynccontextmanager
async def _opened(
    client: httpx.AsyncClient, wallet_id: str, last: object = None, **query: object
) -> AsyncIterator[Opened]:
    """Open a stream and wait until it is there."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    path = f"/v1/wallets/{wallet_id}/events/stream"
    async with client.stream("GET", path, headers=headers, params=query) as response:  # type: ignore[arg-type]  # numbers too
        assert response.status_code == 200, await response.aread()
        stream = Opened(response)
        await stream.block()
        yield stream
