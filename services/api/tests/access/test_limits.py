"""Promises about limits: so many requests, whichever process they go to, and a 429 for the rest."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.rate_limits import AHEAD_S, Buckets, Limit

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
Configured = Callable[..., ApiSettings]
ClientOf = Callable[[ApiSettings], Any]
Bearer = Callable[..., dict[str, str]]

_FULL_IN = (
    "SELECT greatest(0, extract(epoch FROM full_at - clock_timestamp()))::float8 FROM rate_limits"
)
RATE, SECONDS, CLIENTS = 50, 6.0, 4


async def test_the_limit_is_one_over_two_processes(
    start_api: Start, secured: dict[str, str], bearer: Bearer, sql: asyncpg.Connection
) -> None:
    """50 a second for one principal, 4 clients over two processes: within 5 % of that."""
    limited = secured | {"WALLET_RATE_LIMIT_PER_SECOND": str(RATE)}
    urls = [start_api(**limited)[1] for _ in range(2)]
    mine, another = bearer("shop", "auditor"), bearer("museum", "auditor")
    told: list[tuple[float, int]] = []

    async def hammer(number: int) -> None:
        port = int(urls[number % 2].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # By hand, because a whole client would ask too seldom on a busy machine.
        bearer = f"Authorization: {mine['Authorization']}"
        asked = f"GET /v1/wallets/none HTTP/1.1\r\nHost: wallet\r\n{bearer}\r\n\r\n".encode()
        while time.monotonic() < ends:
            writer.write(asked)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            told.append((time.monotonic(), int(head.split()[1])))
            length = head.partition(b"content-length: ")[2].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    ends = time.monotonic() + SECONDS
    await asyncio.gather(*(hammer(number) for number in range(CLIENTS)))
    # What nobody came for in time, because this machine was busy, is still in the bucket.
    over = time.monotonic()
    left = RATE - RATE * await sql.fetchval(_FULL_IN)
    async with httpx.AsyncClient(base_url=urls[0], headers=another, timeout=30) as client:
        assert (await client.get("/v1/wallets/none")).status_code == 404

    assert {status for _, status in told} == {404, 429}
    admitted = [at for at, status in told if status == 404]
    # A full bucket to begin with, and what has dripped into it since.
    allowed = RATE + RATE * (over - min(admitted)) - left
    assert 0.95 * allowed <= len(admitted) <= 1.05 * allowed, (len(admitted), allowed, left)


async def test_who_comes_too_often_is_told_so(
    configured: Configured,
    client_of: ClientOf,
    secured: dict[str, str],
    bearer: Bearer,
    audited: Callable[[httpx.Response], Awaitable[list[int]]],
) -> None:
    """429 with Retry-After, audited; repetitions count too and never lose their effect."""
    slow = {"WALLET_RATE_LIMIT_PER_SECOND": "0.01", "WALLET_RATE_LIMIT_BURST": "2"}
    till = bearer("till", "payments")
    body = {"amount": "5.00", "requestId": "k"}
    async with client_of(configured(**secured, **slow)) as client:
        answers = [
            await client.post("/v1/wallets/w/deposit", json=body, headers=till) for _ in range(3)
        ]
        other = await client.post("/v1/wallets/w/deposit", json=body, headers=bearer("b", "admin"))
        probed = await client.get("/readyz", headers=till)

    assert [each.status_code for each in answers] == [201, 201, 429]
    assert answers[0].content == answers[1].content == other.content
    assert "Idempotent-Replay" in other.headers
    refused = answers[2]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json()["code"], refused.json()["retryable"]) == ("rate_limited", True)
    assert 50 < int(refused.headers["Retry-After"]) <= 100
    assert [await audited(each) for each in answers] == [[201], [201], [429]]
    assert probed.status_code == 200


async def test_an_address_is_counted_before_its_token_is_looked_at(
    configured: Configured, client_of: ClientOf, secured: dict[str, str], bearer: Bearer
) -> None:
    """Guessing tokens is slowed down; a header that says another address is not believed."""
    slow = {"WALLET_CLIENT_RATE_LIMIT_PER_SECOND": "0.01", "WALLET_CLIENT_RATE_LIMIT_BURST": "3"}

    async def told(settings: ApiSettings) -> list[int]:
        async with client_of(settings) as client:
            return [
                (
                    await client.get(
                        "/v1/wallets",
                        headers={"Authorization": "Bearer x", "X-Forwarded-For": f"192.0.2.{n}"},
                    )
                ).status_code
                for n in range(5)
            ]

    assert await told(configured(**secured, **slow)) == [401, 401, 401, 429, 429]
    behind = configured(**secured, **slow, TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1")
    assert await told(behind) == [401] * 5


async def test_wrong_addresses_count_too(configured: Configured, client_of: ClientOf) -> None:
    """Whatever a client asks for, and however wrongly, is a request of its address."""
    slow = {"WALLET_CLIENT_RATE_LIMIT_PER_SECOND": "0.01", "WALLET_CLIENT_RATE_LIMIT_BURST": "3"}
    async with client_of(configured(**slow)) as client:
        asked = [("POST", "/v1/nothing"), ("PUT", "/v1/wallets"), ("GET", "/docs"), ("GET", "/v1")]
        answers = [await client.request(method, path) for method, path in asked]
        alive = await client.get("/healthz")

    assert [each.status_code for each in answers] == [404, 405, 200, 429]
    assert alive.status_code == 200


async def test_the_audit_names_the_client_behind_a_trusted_proxy(
    configured: Configured, client_of: ClientOf, sql: asyncpg.Connection
) -> None:
    """The right-most address that is no proxy's is the client's, for the audit too."""
    forwarded = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.1.2.3"}
    async with client_of(configured(TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8")) as client:
        await client.post("/v1/wallets/w/deposit", json={"amount": "1"}, headers=forwarded)

    assert await sql.fetchval("SELECT client_ip FROM api_audit") == "192.0.2.7"


async def test_without_a_database_nobody_passes_uncounted(
    load: Callable[..., ApiSettings], client_of: ClientOf
) -> None:
    """A request that would be refused without any look at the database is a 503 then."""
    away = {"WALLET_DATABASE_URL": "postgresql://wallet:x@127.0.0.1:1/wallet", "WALLET_AUTH": "off"}
    for rate, expected in (("0", 400), ("5", 503)):
        async with client_of(load(**away, WALLET_RATE_LIMIT_PER_SECOND=rate)) as client:
            answer = await client.get("/v1/wallets?limit=0")
        assert answer.status_code == expected


async def test_more_than_fit_are_sent_away(
    configured: Configured,
    client_of: ClientOf,
    sql: asyncpg.Connection,
    eventually: Callable[..., Awaitable[object]],
) -> None:
    """With room for one request the second is a 503 at once, and the probes still answer."""
    async with client_of(configured(WALLET_CONCURRENCY_MAX="1")) as client:
        await client.post("/v1/wallets", json={"id": "w"})
        async with sql.transaction():
            await sql.execute("SELECT 1 FROM wallets WHERE id = 'w' FOR UPDATE")
            waiting = asyncio.create_task(
                client.post("/v1/wallets/w/deposit", json={"amount": "1"})
            )

            async def has_arrived() -> bool:
                ready = (await client.get("/readyz")).json()
                return bool(ready["pendingRequests"])

            await eventually(has_arrived)
            refused = await client.get("/v1/wallets/w")
            alive = await client.get("/healthz")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["Retry-After"]
        assert alive.status_code == 200
        assert (await waiting).status_code == 201
        assert (await client.get("/v1/wallets/w")).status_code == 200


@pytest.fixture
async def database(database_url: str) -> Any:  # noqa: ANN401  # an async generator
    """Yield this test's database."""
    database = Database(database_url, application_name="limits")
    yield database
    await database.dispose()


async def test_a_bucket_gives_what_is_in_it(database: Database) -> None:
    """All of a burst at once and no more, whoever shares the statement; another's is untouched."""
    buckets = Buckets(database.fresh, "test", Limit(0.001, 7))

    waits = await asyncio.gather(*(buckets.take("a") for _ in range(20)))
    others = await asyncio.gather(*(buckets.take("b") for _ in range(7)))

    assert sorted(waits)[:7] == [0] * 7
    assert all(900 < each <= 1000 for each in sorted(waits)[7:])
    assert others == [0] * 7


async def test_nothing_that_was_drawn_is_lost(database: Database) -> None:
    """Who comes while a statement runs gets what it brings beyond those who asked for it."""
    buckets = Buckets(database.fresh, "test", Limit(1_000, 1_000))

    async def come_and_go() -> int:
        return [await buckets.take("a") for _ in range(40)].count(0)

    # Until the first has drawn, the bucket is full and nothing drips into it.
    await buckets.take("a")
    began = time.monotonic()
    passed = sum(await asyncio.gather(*(come_and_go() for _ in range(50))))
    while await buckets.take("a") == 0:
        passed += 1

    assert passed >= 0.95 * (1_000 + 1_000 * (time.monotonic() - began)) - 1_000 * AHEAD_S


async def test_two_processes_cannot_take_the_same(database: Database) -> None:
    """Two drawers of one bucket, all at once, get together what is in it."""
    pair = [Buckets(database.fresh, "test", Limit(0.001, 30)) for _ in range(2)]

    waits = await asyncio.gather(*(pair[n % 2].take("a") for n in range(100)))

    assert waits.count(0) == 30


async def test_most_requests_cost_no_statement(
    database: Database, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy caller's requests are drawn ahead by the tenth of a second."""
    buckets = Buckets(database.fresh, "test", Limit(100_000, 100_000))
    drawn = 0
    fetch = buckets._fetch

    async def counted(ids: list[str], wanted: list[int]) -> Any:  # noqa: ANN401
        nonlocal drawn
        drawn += 1
        return await fetch(ids, wanted)

    monkeypatch.setattr(buckets, "_fetch", counted)
    for _ in range(5_000):
        assert await buckets.take("busy") == 0

    assert drawn < 500
    # Nobody's name is kept, and a full bucket's row goes.
    assert "busy" not in str(await sql.fetch("SELECT * FROM rate_limits"))
    await sql.execute("UPDATE rate_limits SET full_at = now() - interval '1 s'")
    await buckets._sweep()
    assert await sql.fetchval("SELECT count(*) FROM rate_limits") == 0
