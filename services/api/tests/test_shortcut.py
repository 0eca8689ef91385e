"""Promises about the shortcut: plain requests take it, and nobody can tell the difference."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from wallet_api import reads, routes
from wallet_api.app import create_litestar
from wallet_api.books import open_books
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings
from wallet_api.shortcut import Shortcut
from wallet_db_orm import group_commit
from wallet_db_orm.database import Database

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
JSON = {"Content-Type": "application/json"}
# A status that is the framework's own business.
ANY = 0
BRIM = "92233720368547758.07"
GOOD = b'{"amount":"1"}'
# Two wallets' worth of names that differ in this word alone, which has as many letters.
TWINS = ("left", "rite")
VOLATILE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
)
ClientBefore = Callable[[Edge], AbstractAsyncContextManager[httpx.AsyncClient]]


class Row(NamedTuple):
    """A request, with `@` where the twins' names differ, and the status of its answer."""

    method: str
    path: str
    status: int
    body: bytes = b""
    headers: dict[str, str] = JSON


def posts(verb: str, *rows: tuple[int, bytes]) -> list[Row]:
    return [Row("POST", f"/v1/wallets/@w/{verb}", status, body) for status, body in rows]


PLAIN = [
    *posts("deposit", (201, b'{"amount":"50","requestId":"d","metadata":{"a":1.50}}')),
    *posts("deposit", (201, b'{"amount":"50","requestId":"d","metadata":{"a":1.50}}')),
    *posts("deposit", (422, b'{"amount":"51","requestId":"d"}'), (201, GOOD), (400, b"{")),
    *posts("deposit", (400, b'{"amount":"1e2"}'), (400, b'{"amount":"1.001"}'), (400, b"[]")),
    *posts("deposit", (400, b'{"amount":"1","more":1}'), (400, b'{"amount":"1","requestId":""}')),
    *posts("withdraw", (201, b'{"amount":1.5,"requestId":"w","reference":"rent"}')),
    *posts("withdraw", (201, b'{"amount":1.5,"requestId":"w","reference":"rent"}')),
    *posts("withdraw", *[(422, b'{"amount":"999","requestId":"x"}')] * 2),
    *posts("transfer", *[(201, b'{"amount":"2","requestId":"t","toWalletId":"@o"}')] * 2),
    *posts("transfer", *[(422, b'{"amount":"2","requestId":"f","toWalletId":"@full"}')] * 2),
    *posts("transfer", *[(422, b'{"amount":"2","requestId":"n","toWalletId":"@none"}')] * 2),
    *posts("transfer", (422, b'{"amount":"2","toWalletId":"@w"}'), (400, GOOD)),
    Row("POST", "/wallet/@w/deposit", 201, GOOD, JSON | {"Idempotency-Key": "@key"}),
    Row("POST", "/wallet/@w/deposit", 201, GOOD, JSON | {"Idempotency-Key": "@key"}),
    Row("POST", "/v1/wallets/@w/deposit", 400, GOOD, JSON | {"Idempotency-Key": "a b"}),
    Row("POST", "/v1/wallets/@none/withdraw", 404, GOOD),
    Row("POST", "/v1/wallets/@none/transfer", 404, b'{"amount":"1","toWalletId":"@w"}'),
    Row("GET", "/v1/wallets/@w", 200),
    Row("GET", "/wallet/@w", 200, headers={}),
    Row("GET", "/v1/wallets/@none", 404),
]
# What asks for more than the shortcut knows: it belongs to the framework, as before.
FRAMED = [
    *(Row("POST", f"/v1/wallets/@w/deposit?{each}", 400, GOOD) for each in ("x=1", "amount=2")),
    *(
        Row("POST", "/v1/wallets/@w/deposit", status, GOOD, headers)
        for status, headers in [
            (201, {"Content-Type": "application/json; charset=utf-8"}),
            (201, {"Content-Type": "Application/JSON"}),
            (201, JSON | {"Content-Encoding": "identity"}),
            (415, JSON | {"Content-Encoding": "gzip"}),
            (415, {"Content-Type": "application/json; charset=latin-1"}),
            (415, {"Content-Type": "text/plain"}),
            (415, {}),
        ]
    ),
    *posts("deposit", (400, b"")),
    *posts("deposit/", (404, GOOD)),
    *posts("history", (405, GOOD)),
    *(Row("PUT", f"/v1/wallets/@w{each}", 405, GOOD) for each in ("", "/deposit")),
    *(Row(each, "/v1/wallets/@w", 405) for each in ("HEAD", "POST", "DELETE")),
    Row("GET", "/v1/wallets/@w/deposit", 405),
    Row("GET", "/v1/wallets/@w?at=2020-01-01T00:00:00Z", 404),
    Row("GET", "/v1/wallets/@w?limit=1", 400),
    Row("GET", "/v1/wallets/@w/", 404),
    Row("GET", "/v1/wallets/-@w", 400),
    Row("GET", "/v1/wallets/@w/history?limit=0", 400),
    Row("POST", "/v1/wallets/-@w/deposit", 400, GOOD),
    Row("POST", "/v2/wallets/@w/deposit", 404, GOOD),
]
# The address is decoded before anybody looks at it: both ways must read it alike.
ENCODED = [
    Row("GET", "/v1/wallets/@w%0A", ANY),
    Row("GET", "/v1/wallets/@%77", 200),
    Row("POST", "/v1/wallets/@%77/deposit", 201, GOOD),
    Row("POST", "/v1/wallets/@w/d%65posit", 201, GOOD),
    Row("POST", "/v1/wallets/%40@w/deposit", 400, GOOD),
]


class Application(NamedTuple):
    """A client of an application, and the addresses that its framework was asked for."""

    client: httpx.AsyncClient
    framed: list[str]


def build(settings: ApiSettings, *, has_shortcut: bool) -> tuple[Edge, list[str]]:
    """Put an application together as `create_app` does, but note what reaches the framework."""
    database = Database(settings.database_url.get_secret_value(), application_name="wallet-api")
    books, framed = open_books(settings, database), list[str]()
    litestar = create_litestar(settings, books)

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            framed.append(scope["path"])
        await litestar(scope, receive, send)

    handlers = {**routes.PLAIN, **reads.PLAIN} if has_shortcut else {}
    shortcut = Shortcut(handlers, books)
    return Edge(framework, shortcut, books), framed


@pytest.fixture
async def twins(
    configured: Callable[..., ApiSettings],
    client_before: ClientBefore,
    request: pytest.FixtureRequest,
) -> AsyncIterator[tuple[Application, Application]]:
    """Yield an application with the shortcut and one without; a parameter asks for tokens."""
    secured = {"WALLET_AUTH": "jwt", "WALLET_JWT_SECRET": SECRET}
    settings = configured(**(secured if getattr(request, "param", False) else {}))
    quick, quick_framed = build(settings, has_shortcut=True)
    slow, slow_framed = build(settings, has_shortcut=False)
    async with client_before(quick) as one, client_before(slow) as other:
        yield Application(one, quick_framed), Application(other, slow_framed)


def alike(text: str, name: str = "") -> str:
    if name == "allow":  # whose order means nothing and differs from run to run
        return ", ".join(sorted(text.split(", ")))
    for twin in TWINS:
        text = text.replace(twin, "twin")
    return VOLATILE.sub("<some>", text)


async def ask(client: httpx.AsyncClient, row: Row, twin: str, trace_id: str) -> httpx.Response:
    headers = {name: text.replace("@", twin) for name, text in row.headers.items()}
    path, body = row.path.replace("@", twin), row.body.replace(b"@", twin.encode())
    headers |= {"X-Trace-Id": f"{twin}-{trace_id}"}
    return await client.request(row.method, path, content=body, headers=headers)


async def seen(sql: asyncpg.Connection, answered: httpx.Response) -> dict[str, Any]:
    """Return everything that a caller or an auditor sees, without what is new each time."""
    rows = await sql.fetch(
        "SELECT method, url, encode(body, 'escape') AS body, headers::text AS headers, status,"
        " principal, wallet_id, request_id, trace_id, client_ip::text"
        " FROM api_audit WHERE trace_id = $1",
        answered.headers["X-Trace-Id"],
    )
    headers = answered.headers.multi_items()
    return {
        "status": answered.status_code,
        "body": alike(answered.text),
        "headers": sorted((name, alike(text, name)) for name, text in headers),
        "audit": [alike(repr(dict(row))) for row in rows],
    }


async def compare(
    twins: tuple[Application, Application], sql: asyncpg.Connection, row: Row, number: int
) -> tuple[httpx.Response, bool]:
    """Ask both applications alike; return the answer, and whether the framework was asked."""
    (quick, framed), (slow, slow_framed) = twins
    before, slow_before = len(framed), len(slow_framed)
    answered = await ask(quick, row, TWINS[0], str(number))
    framework_answered = await ask(slow, row, TWINS[1], str(number))

    assert row.status in {ANY, answered.status_code}, (row, answered.text)
    assert await seen(sql, answered) == await seen(sql, framework_answered), row
    assert answered.headers["X-Content-Type-Options"] == "nosniff", row
    assert answered.headers["Cache-Control"] == "no-store", row
    # The edge itself knows that no address ends with a slash.
    assert len(slow_framed) > slow_before or row.path.endswith("/"), row
    return answered, len(framed) > before


async def open_wallets(twins: tuple[Application, Application]) -> None:
    for (client, _), twin in zip(twins, TWINS, strict=True):
        for name in ("w", "o", "full"):
            await client.post("/v1/wallets", json={"id": f"{twin}{name}"})
        await client.post(f"/v1/wallets/{twin}full/deposit", json={"amount": BRIM})


async def test_plain_requests_are_answered_without_the_framework(
    twins: tuple[Application, Application], sql: asyncpg.Connection
) -> None:
    """Deposits, withdrawals, transfers, their refusals and replays, and balances: all the same."""
    await open_wallets(twins)

    for number, row in enumerate(PLAIN):
        _, is_framed = await compare(twins, sql, row, number)
        assert not is_framed, row


async def test_everything_else_is_the_frameworks(
    twins: tuple[Application, Application], sql: asyncpg.Connection
) -> None:
    """Queries, other media types, methods and addresses go the long way, with the same answers."""
    await open_wallets(twins)

    for number, row in enumerate(FRAMED):
        answered, is_framed = await compare(twins, sql, row, number)
        assert is_framed or row.path.endswith("/"), row
        assert ("Allow" in answered.headers) == (row.status == 405), row


async def test_encoded_addresses_are_read_alike(
    twins: tuple[Application, Application], sql: asyncpg.Connection
) -> None:
    """An encoded address means to the shortcut what it means to the framework."""
    await open_wallets(twins)

    for number, row in enumerate(ENCODED):
        await compare(twins, sql, row, number)


@pytest.mark.parametrize("twins", [True], indirect=True)
async def test_who_may_not_is_told_the_same(
    twins: tuple[Application, Application], sql: asyncpg.Connection, token: Callable[..., str]
) -> None:
    """With tokens: none, a bad one, the wrong role and the right one, for writes and for reads."""
    bearers: list[tuple[str | None, tuple[int, int, int]]] = [
        *((each, (401, 401, 401)) for each in (None, "Bearer x", "Basic x")),
        (f"Bearer {token(roles=None)}", (403, 403, 403)),
        (f"Bearer {token(roles=['user'])}", (403, 400, 404)),
        (f"Bearer {token(roles=['auditor'])}", (403, 403, 200)),
        (f"Bearer {token()}", (201, 400, 200)),
    ]
    asked = [("POST", "/deposit", GOOD), ("POST", "/transfer", GOOD), ("GET", "", b"")]
    for (client, _), twin in zip(twins, TWINS, strict=True):
        headers = {"Authorization": bearers[-1][0] or ""}
        await client.post("/v1/wallets", json={"id": f"{twin}w"}, headers=headers)

    number = 0
    for bearer, expected in bearers:
        headers = JSON | ({"Authorization": bearer} if bearer else {})
        for status, (method, path, body) in zip(expected, asked, strict=True):
            number += 1
            row = Row(method, f"/v1/wallets/@w{path}", status, body, headers)
            answered, is_framed = await compare(twins, sql, row, number)
            assert not is_framed, row
            assert ("WWW-Authenticate" in answered.headers) == (status == 401)


async def test_who_comes_when_all_is_full_is_told_the_same(
    twins: tuple[Application, Application],
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 503 asks to come back in as many seconds on both ways."""
    await open_wallets(twins)
    monkeypatch.setattr(group_commit, "PENDING_MAX", 0)

    answered, _ = await compare(twins, sql, posts("deposit", (503, GOOD))[0], 0)

    assert (answered.json()["code"], answered.headers["Retry-After"]) == ("busy", "1")


async def test_a_fault_of_ours_is_told_the_same(
    twins: tuple[Application, Application], sql: asyncpg.Connection
) -> None:
    """A 500 tells as little on both ways."""
    await open_wallets(twins)
    await sql.execute("ALTER TABLE wallets RENAME TO lost")

    for number, row in enumerate(
        [*posts("deposit", (500, GOOD)), Row("GET", "/v1/wallets/@w", 500)]
    ):
        answered, _ = await compare(twins, sql, row, number)
        assert "lost" not in answered.text
        assert "SELECT" not in answered.text
