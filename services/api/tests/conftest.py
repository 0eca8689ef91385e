"""This module is where the API's tests get the application, real processes of it, and its books."""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
import structlog
import uvicorn

from wallet_api.app import create_app
from wallet_api.edge import Edge
from wallet_api.main import Server
from wallet_api.settings import ApiSettings
from wallet_api.wire import Wire
from wallet_tools import environment
from wallet_tools.ports import free_port
from wallet_tools.processes import wait_until

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
DEADLINE_S = 15.0
# Until a process listens, on a machine that has much else to do.
START_S = 120.0
_traces = itertools.count(1)


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """Keep the line per request out of the way: ten thousand requests make ten thousand lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.configure(**before)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiSettings]:
    """Return how to load settings from the given variables, and from none of the caller's."""
    for name in os.environ:
        if name.startswith(environment.PASSED_PREFIXES):
            monkeypatch.delenv(name)

    def read(**given: str) -> ApiSettings:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return ApiSettings.load()

    return read


@pytest.fixture
def configured(load: Callable[..., ApiSettings], database_url: str) -> Callable[..., ApiSettings]:
    """Return how to load settings on this test's database, without tokens unless asked for."""
    usual = {"WALLET_DATABASE_URL": database_url, "WALLET_AUTH": "off"}
    return lambda **given: load(**(usual | given))


@pytest.fixture
def client_of() -> Callable[[ApiSettings], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Return how to run the whole application in this process, from start-up to shutdown."""
    return lambda settings: _client_before(create_app(settings))


@pytest.fixture
def client_before() -> Callable[[Edge], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Return how to run an application that the test has put together, as `client_of` does."""
    return _client_before


@pytest.fixture
async def api(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], AbstractAsyncContextManager[httpx.AsyncClient]],
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application as it is configured by default, without tokens."""
    async with client_of(configured()) as client:
        yield client


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    """Yield a connection to this test's database, past the API."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
def a_wallet(api: httpx.AsyncClient) -> Callable[..., Awaitable[str]]:
    """Return a builder of wallets that hold money; it returns the new wallet's id."""

    async def build(balance: str = "100.00", currency: str = "USD") -> str:
        opened = await api.post("/v1/wallets", json={"currency": currency})
        wallet_id: str = opened.json()["walletId"]
        if balance != "0":
            deposited = await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": balance})
            assert deposited.status_code == 201, deposited.text
        return wallet_id

    return build


@pytest.fixture
def books(sql: asyncpg.Connection) -> Callable[[], Awaitable[tuple[int, ...]]]:
    """Return how to look at all that an effect would change; equal looks mean no effect."""

    async def look() -> tuple[int, ...]:
        tables = ("ledger_entries", "operations", "events", "outbox", "transfers", "wallets")
        counts = [f"(SELECT count(*) FROM {table})" for table in tables]
        sums = "coalesce(sum(balance_minor), 0)::text, coalesce(sum(version), 0)::bigint"
        return tuple(await sql.fetchrow(f"SELECT {', '.join(counts)}, {sums} FROM wallets"))

    return look


@pytest.fixture
def audited(sql: asyncpg.Connection) -> Callable[[httpx.Response], Awaitable[list[int]]]:
    """Return how to ask which statuses the audit has for the request behind a response."""

    async def statuses(response: httpx.Response) -> list[int]:
        rows = await sql.fetch(
            "SELECT status FROM api_audit WHERE trace_id = $1", response.headers["X-Trace-Id"]
        )
        return [row["status"] for row in rows]

    return statuses


@pytest.fixture
def trace() -> Callable[[], dict[str, str]]:
    """Return a builder of headers with a trace id that nobody else has."""
    return lambda: {"X-Trace-Id": f"trace-{next(_traces)}"}


@pytest.fixture
def token() -> Callable[..., str]:
    """Return a minter of tokens; a claim given as None is left out."""

    def mint(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
        usual = {"iss": "wallet", "aud": "wallet", "sub": "alice", "roles": ["payments"]}
        told = usual | {"exp": int(time.time()) + 600} | claims
        kept = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(kept, secret, algorithm=algorithm)

    return mint


@pytest.fixture
def start_api(
    database_url: str,
) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], str]]]:
    """
    Yield how to start a process of the API, as a supervisor would; returns it and its URL.

    What it says goes to `output`, or to the test's own.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(output: Path | None = None, **given: str) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        variables = {
            "WALLET_DATABASE_URL": database_url,
            "WALLET_AUTH": "off",
            "WALLET_PORT": str(port),
            "LOG_LEVEL": "ERROR",
        }
        with contextlib.ExitStack() as opened:
            said = None if output is None else opened.enter_context(output.open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "wallet_api.main"],
                env=environment.system() | variables | given,
                stdout=said,
                stderr=subprocess.STDOUT if said else None,
            )
        started.append(process)
        assert wait_until(lambda: _listens(port), START_S), "the API does not listen"
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Edge], Awaitable[int]]]:
    """Yield how to put a real server in front of an application of this process."""
    async with AsyncExitStack() as stack:

        async def start(app: Edge) -> int:
            return await stack.enter_async_context(_served(app))

        yield start


@pytest.fixture
def eventually() -> Callable[..., Awaitable[object]]:
    """Return how to ask until the answer is true; it fails when the deadline has passed."""

    async def ask(question: Callable[[], Awaitable[object]], seconds: float = DEADLINE_S) -> object:
        async with asyncio.timeout(seconds):
            while not (answer := await question()):
                await asyncio.sleep(0.05)
        return answer

    return ask


@asynccontextmanager
async def _client_before(app: Edge) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # litestar's and httpx' names for the same callable
    async with (
        _lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://wallet", timeout=30) as client,
    ):
        yield client


@asynccontextmanager
async def _lifespan(app: Edge) -> AsyncIterator[None]:
    """Send an application the events by which a server starts and stops it."""
    to_app: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.create_task(app(scope, to_app.get, from_app.put))  # type: ignore[arg-type]  # the framework's messages are TypedDicts
    for step in ("startup", "shutdown"):
        to_app.put_nowait({"type": f"lifespan.{step}"})
        assert (await from_app.get())["type"] == f"lifespan.{step}.complete"
        if step == "startup":
            yield
    await running


@asynccontextmanager
async def _served(app: Edge) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="on", ws="none", http=Wire
        )
        server = Server(config, app)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await running


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
