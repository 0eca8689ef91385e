"""Promises about every response, whatever happens: its trace id, its shape, and its limits."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import httpx
import pytest

from wallet_api import edge, wire
from wallet_api.app import create_app
from wallet_api.settings import ApiSettings

JSON = {"Content-Type": "application/json"}
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
Serve = Callable[[edge.Edge], Awaitable[int]]

EVERYWHERE = [
    ("GET", "/healthz", 200),
    ("GET", "/docs", 200),
    ("GET", "/docs/nothing", 404),
    ("GET", "/docs/assets/nothing.css", 404),
    ("GET", "/v1/wallets", 200),
    ("GET", "/v1/wallets/nobody", 404),
    ("GET", "/nothing", 404),
    ("GET", "//", 404),
    ("GET", "/", 404),
    ("PUT", "/v1/wallets", 405),
    ("TRACE", "/v1/wallets", 405),
    ("BREW", "/v1/wallets", 405),
    ("POST", "/healthz", 405),
    ("POST", "/v1/wallets", 400),
    ("GET", "/v1/wallets?limit=no", 400),
]


async def test_every_response_has_a_trace_id(api: httpx.AsyncClient) -> None:
    """A given trace id comes back, one is generated when none was given; errors are problems."""
    for method, path, status in EVERYWHERE:
        await check_one(api, method, path, status)


async def check_one(api: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    given = await api.request(method, path, headers={"X-Trace-Id": "my-trace.1_A"})
    generated = await api.request(method, path)

    assert given.status_code == generated.status_code == status
    assert given.headers.get_list("X-Trace-Id") == ["my-trace.1_A"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", generated.headers["X-Trace-Id"])
    if status >= 400:
        assert given.headers["Content-Type"] == "application/problem+json"
        problem = given.json()
        members = {"type", "title", "status", "detail", "instance", "code", "traceId", "retryable"}
        assert members <= problem.keys()
        assert (problem["status"], problem["traceId"]) == (status, "my-trace.1_A")
    if status == 405:
        assert given.headers["Allow"]


async def test_a_path_of_two_handlers_allows_both_methods(api: httpx.AsyncClient) -> None:
    """OPTIONS and a method that is not there are told the same list, and it is whole."""
    for answered in (await api.options("/v1/wallets"), await api.put("/v1/wallets")):
        allowed = set(answered.headers["Allow"].split(", "))
        assert allowed == {"GET", "POST", "OPTIONS"}


async def test_a_bad_trace_id_is_replaced(api: httpx.AsyncClient) -> None:
    """What is no trace id is not echoed and not stored."""
    for bad in ("", "a b", "a" * 65, "é", "a/b", "a\tb"):
        answered = await api.get("/healthz", headers=[(b"X-Trace-Id", bad.encode())])

        assert re.fullmatch(r"[0-9a-f-]{36}", answered.headers["X-Trace-Id"]), bad


async def test_a_trace_id_is_on_every_record(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """The trace id is on the operation, the entries, the events and the audit row it caused."""
    await api.post("/v1/wallets", json={"id": "b"})
    asked = {"amount": "1", "toWalletId": "b"}
    await api.post("/v1/wallets/a/deposit", json={"amount": "5"}, headers={"X-Trace-Id": "t1"})
    await api.post("/v1/wallets/a/transfer", json=asked, headers={"X-Trace-Id": "t2"})

    for table, rows in [("operations", 2), ("ledger_entries", 2), ("events", 4), ("api_audit", 1)]:
        query = f"SELECT count(*) FROM {table} WHERE trace_id = 't2'"
        assert await sql.fetchval(query) == rows, table


async def test_a_fault_of_ours_is_a_problem_and_audited(
    api: httpx.AsyncClient, audited: Audited, sql: asyncpg.Connection
) -> None:
    """A 500 is a problem without inner details, with a trace id and, for a POST, an audit row."""
    await sql.execute("ALTER TABLE operations RENAME TO lost")

    read = await api.get("/v1/wallets/w/operations/k")
    wrote = await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    for answered in (read, wrote):
        assert answered.status_code == 500
        assert answered.headers["Content-Type"] == "application/problem+json"
        assert answered.json()["traceId"] == answered.headers["X-Trace-Id"]
        assert 'operations"' not in answered.text
        assert "SELECT" not in answered.text
    assert await audited(wrote) == [500]


@pytest.mark.parametrize("has_length", [True, False])
async def test_the_body_limit(
    api: httpx.AsyncClient, audited: Audited, *, has_length: bool
) -> None:
    """64 KiB pass and one byte more does not, with and without a Content-Length."""

    async def post(size: int) -> httpx.Response:
        body = b'{"amount":"1"}'.ljust(size)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, size, 10_000):
                yield body[start : start + 10_000]

        content = body if has_length else pieces()
        return await api.post("/v1/wallets/w/deposit", content=content, headers=JSON)

    passed, refused = await post(65_536), await post(65_537)

    assert (passed.status_code, refused.status_code) == (201, 413)
    assert refused.json()["code"] == "body_too_large"
    assert await audited(refused) == [413]


async def ask_raw(port: int, request: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answered = await reader.read()
    writer.close()
    return answered


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
async def test_a_change_of_protocol_is_refused_in_words(
    configured: Callable[..., ApiSettings], serve: Serve, sql: asyncpg.Connection, protocol: bytes
) -> None:
    """The server reads no body behind an Upgrade: its sender is told so at once, and audited."""
    port = await serve(create_app(configured()))

    answered = await ask_raw(
        port,
        b"POST /v1/wallets/w/deposit HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\nContent-Length: 14\r\n\r\n"
        b'{"amount":"1"}',
    )

    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b"upgrade_not_served" in answered
    assert await sql.fetchval("SELECT array_agg(status::int) FROM api_audit") == [400]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 20\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
async def test_a_body_that_does_not_arrive_is_answered_408(
    configured: Callable[..., ApiSettings],
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    books: Look,
    framing: bytes,
) -> None:
    """Who stops in the middle of a body is told so and let go, and nothing happened."""
    monkeypatch.setattr(wire, "BODY_TIMEOUT_S", 0.3)
    port = await serve(create_app(configured()))
    before = await books()
    head = b"POST /v1/wallets/w/deposit HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    answered = await ask_raw(port, head + framing)

    status, _, rest = answered.partition(b"\r\n")
    assert status.startswith(b"HTTP/1.1 408 ")
    assert b"x-trace-id: " in rest.lower()
    assert await books() == before


async def test_a_body_far_over_the_limit_is_answered(
    configured: Callable[..., ApiSettings], serve: Serve
) -> None:
    """Who sends megabytes gets the 413 before the server hangs up."""
    port = await serve(create_app(configured()))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        refused = await client.post("/v1/wallets/w/deposit", content=b" " * 8_000_000, headers=JSON)

    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


async def test_half_a_request_leaves_nothing(
    configured: Callable[..., ApiSettings], serve: Serve, sql: asyncpg.Connection, books: Look
) -> None:
    """A client that leaves before its body is complete has no effect and no audit row."""
    port = await serve(create_app(configured()))
    before = await books()
    head = b"POST /v1/wallets/w/deposit HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b'Content-Length: 20\r\n\r\n{"amount":')
    await writer.drain()
    writer.close()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        alive = await client.get("/healthz")

    assert alive.status_code == 200
    assert await books() == before
    assert await sql.fetchval("SELECT count(*) FROM api_audit") == 0
