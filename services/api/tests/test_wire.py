"""Promises about connections: what is no request is refused in words, and nobody waits for ever."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest

from wallet_api import wire
from wallet_api.app import create_app
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings

HEAD = b"POST /v1/wallets/w/deposit HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
GOOD = b'{"amount":"1"}'
Serve = Callable[[Edge], Awaitable[int]]


@pytest.fixture
async def port(configured: Callable[..., ApiSettings], serve: Serve) -> int:
    """Return where the application listens."""
    return await serve(create_app(configured()))


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, each on its own; return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(10):
        answered = await reader.read()
    writer.close()
    return answered


@pytest.mark.parametrize("head", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
async def test_a_head_that_does_not_arrive_is_answered_408(
    monkeypatch: pytest.MonkeyPatch, port: int, head: bytes
) -> None:
    """Who connects and says nothing, or half a head, is told so and let go."""
    monkeypatch.setattr(wire, "HEAD_TIMEOUT_S", 0.2)

    answered = await ask(port, head)

    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answered


async def test_an_endless_header_is_refused_while_it_comes(port: int) -> None:
    """A head is bounded before it is complete: nobody keeps what never ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answering = asyncio.create_task(reader.read())
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(100):
        if answering.done():
            break
        writer.write(b"x" * 20_000)
        await asyncio.wait({answering}, timeout=0.05)
    answered = await answering
    writer.close()

    assert answered.startswith(b"HTTP/1.1 431 ")


async def test_fields_behind_a_body_are_refused(port: int, sql: asyncpg.Connection) -> None:
    """A trailer can't say who asks or under which key: a proxy has not seen it."""
    trailer = b"0\r\nIdempotency-Key: k\r\nAuthorization: Bearer x\r\n\r\n"

    answered = await ask(port, CHUNKED + b"\r\ne\r\n" + GOOD + b"\r\n" + trailer)

    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert await sql.fetchval("SELECT count(*) FROM operations") == 0


async def test_a_body_in_tiny_chunks_is_taken(port: int) -> None:
    """Chunks of one byte are a body as any other: framing is bounded by what it frames."""
    text = GOOD.ljust(20_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text)

    answered = await ask(port, CHUNKED + b"Connection: close\r\n\r\n", chunks + b"0\r\n\r\n")

    assert answered.startswith(b"HTTP/1.1 201 ")


async def test_pipelined_requests_are_answered_in_order_and_garbage_ends_it(
    port: int, sql: asyncpg.Connection
) -> None:
    """What was complete before the garbage is answered as it was carried out, or never begun."""
    one = HEAD + b"Content-Length: 14\r\n\r\n" + GOOD

    answered = await ask(port, one + b"\0\0\0")
    both = await ask(port, one, one.replace(b"Host: a", b"Host: a\r\nConnection: close"))

    assert answered.count(b"HTTP/1.1 201 ") == answered.count(b"HTTP/1.1 ") == 1
    assert both.count(b"HTTP/1.1 201 ") == both.count(b"HTTP/1.1 ") == 2
    assert await sql.fetchval("SELECT count(*) FROM operations") == 3


async def test_who_takes_no_answer_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
    configured: Callable[..., ApiSettings],
    serve: Serve,
    eventually: Callable[..., Awaitable[object]],
) -> None:
    """A client that asks for much and reads nothing holds the one place only for a while."""
    monkeypatch.setattr(wire, "DEAF_TIMEOUT_S", 0.5)
    port = await serve(create_app(configured(WALLET_CONCURRENCY_MAX="1")))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n" * 12)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def has(status: int) -> bool:
                return (await client.get("/v1/wallets/w")).status_code == status

            await eventually(lambda: has(503))
            await eventually(lambda: has(404))


async def test_half_a_body_holds_a_place(
    configured: Callable[..., ApiSettings],
    serve: Serve,
    eventually: Callable[..., Awaitable[object]],
) -> None:
    """Bodies that are on their way count: no more are held at a time than requests are served."""
    port = await serve(create_app(configured(WALLET_CONCURRENCY_MAX="1")))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Content-Length: 60000\r\n\r\n{")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def has(status: int) -> bool:
            return (await client.get("/v1/wallets/w")).status_code == status

        await eventually(lambda: has(503))
        writer.close()
        await eventually(lambda: has(404))


async def test_a_strangers_batch_is_refused_before_it_is_received(
    configured: Callable[..., ApiSettings], serve: Serve
) -> None:
    """Beyond what any body may have, a batch is taken from those alone who may send one."""
    secured = configured(
        WALLET_AUTH="jwt", WALLET_JWT_SECRET="".join(chr(code) for code in range(64, 104))
    )
    port = await serve(create_app(secured))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /v1/batches HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    writer.write(head + b"Content-Length: 4000000\r\n\r\n" + b" " * 70_000)
    async with asyncio.timeout(5):
        answered = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert answered.startswith(b"HTTP/1.1 401 ")
