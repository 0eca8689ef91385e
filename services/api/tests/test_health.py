"""Promises about bad days: what the probes say, and what callers hear without a database."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api.settings import ApiSettings
from wallet_db_orm import migrations, roles
from wallet_tools import environment
from wallet_tools.ports import free_port
from wallet_tools.postgres import PostgresServer
from wallet_tools.processes import postgres_pids
from wallet_tools.rabbitmq import RabbitServer

ClientOf = Callable[[ApiSettings], Any]
Configured = Callable[..., ApiSettings]


@pytest.fixture(scope="module")
def own_server(server_folder: Path) -> Iterator[PostgresServer]:
    """Yield a server with a migrated database that tests may kill."""
    server = PostgresServer(server_folder / "api-own", server_folder / "api-own.log")
    server.start()
    server.ensure_database("wallet")
    migrations.upgrade(url_of(server))
    yield server
    server.stop()


@pytest.fixture
async def mortal(
    own_server: PostgresServer, configured: Configured, client_of: ClientOf
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application whose database the test may take away."""
    if own_server.process is None or own_server.process.poll() is not None:
        own_server.start()
    async with client_of(configured(WALLET_DATABASE_URL=url_of(own_server))) as client:
        yield client


def url_of(server: PostgresServer) -> str:
    return environment.addresses(server.url("wallet", roles.OWNER), None)["WALLET_DATABASE_URL"]


async def test_all_is_well(api: httpx.AsyncClient) -> None:
    """With a database and no broker configured the process is alive and ready."""
    alive, ready = await api.get("/healthz"), await api.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ok",
        "database": "ok",
        "broker": "not_configured",
        "outboxRows": 0,
        "outboxLagSeconds": 0.0,
        "relayActive": False,
        "pendingRequests": 0,
    }


async def test_a_broker_that_is_away_only_degrades(
    configured: Configured, client_of: ClientOf
) -> None:
    """Without the broker the API is still ready, says so, and takes money; events wait."""
    settings = configured(RABBITMQ_URL=f"amqp://u:p@127.0.0.1:{free_port()}/")
    async with client_of(settings) as client:
        done = await client.post("/v1/wallets/w/deposit", json={"amount": "1"})
        ready = await client.get("/readyz")

    assert (done.status_code, ready.status_code) == (201, 200)
    told = ready.json()
    assert (told["status"], told["broker"], told["outboxRows"]) == ("degraded", "down", 2)


@pytest.mark.broker
async def test_a_broker_that_hangs_is_away(
    broker: RabbitServer, configured: Configured, client_of: ClientOf
) -> None:
    """A stopped process still has its port open; readiness is not deceived, and sees it wake."""
    assert broker.process is not None
    async with client_of(configured(RABBITMQ_URL=broker.url)) as client:
        before = (await client.get("/readyz")).json()
        broker.process.send_signal(signal.SIGSTOP)
        try:
            hanging = (await client.get("/readyz")).json()
        finally:
            broker.process.send_signal(signal.SIGCONT)
        after = (await client.get("/readyz")).json()

    assert [each["broker"] for each in (before, hanging, after)] == ["ok", "down", "ok"]
    assert [each["status"] for each in (before, hanging, after)] == ["ok", "degraded", "ok"]


async def test_a_dead_database_is_told_and_survived(
    mortal: httpx.AsyncClient,
    own_server: PostgresServer,
    eventually: Callable[[Callable[[], Awaitable[object]]], Awaitable[object]],
) -> None:
    """Probes say it, writes and reads get a 503 to come back with, and all heals by itself."""
    body = {"amount": "1", "requestId": "k"}
    first = await mortal.post("/v1/wallets/w/deposit", json=body)
    await asyncio.to_thread(own_server.kill)

    asked_at = time.monotonic()
    ready, alive = await mortal.get("/readyz"), await mortal.get("/healthz")
    assert time.monotonic() - asked_at < 3
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert (ready.json()["status"], ready.json()["database"]) == ("unavailable", "down")
    assert (ready.json()["outboxRows"], ready.json()["relayActive"]) == (None, None)

    lost = {"amount": "2", "requestId": "lost"}
    for refused in await asyncio.gather(
        mortal.post("/v1/wallets/w/deposit", json=lost),
        mortal.post("/v1/wallets", json={"id": "x"}),
        mortal.get("/v1/wallets/w"),
        mortal.get("/v1/wallets"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["Retry-After"].isdigit()
        assert refused.json()["retryable"] is True

    await asyncio.to_thread(own_server.start)

    async def is_ready() -> bool:
        return (await mortal.get("/readyz")).status_code == 200

    await eventually(is_ready)
    again = await mortal.post("/v1/wallets/w/deposit", json=body)
    found = await mortal.post("/v1/wallets/w/deposit", json=lost)
    assert again.content == first.content
    assert (found.status_code, found.json()["balance"]) == (201, "3.00")


async def test_a_hanging_database_is_told_in_time(
    mortal: httpx.AsyncClient, own_server: PostgresServer
) -> None:
    """A database that takes connections and says nothing is down for the probe, within 3 s."""
    await mortal.post("/v1/wallets/w/deposit", json={"amount": "1"})
    stopped = postgres_pids(own_server.data)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        asked_at = time.monotonic()
        ready, alive = await asyncio.gather(mortal.get("/readyz"), mortal.get("/healthz"))
        took_s = time.monotonic() - asked_at
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    assert (alive.status_code, ready.status_code, ready.json()["database"]) == (200, 503, "down")
    assert took_s < 3
    assert (await mortal.get("/readyz")).status_code == 200


async def test_a_lost_connection_is_not_noticed(
    api: httpx.AsyncClient,
    sql: asyncpg.Connection,
    eventually: Callable[[Callable[[], Awaitable[object]]], Awaitable[object]],
) -> None:
    """Requests whose transaction dies with its connection are answered all the same, once."""
    body = {"amount": "1", "requestId": "waits"}
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    stranger = sql.transaction()
    await stranger.start()
    await sql.execute("SELECT FROM wallets WHERE id = 'w' FOR UPDATE")
    waiting = [asyncio.create_task(api.post("/v1/wallets/w/deposit", json=body)) for _ in "123"]

    async def one_is_cut_off() -> object:
        # A transaction would see the activity as it was when it first looked.
        await sql.execute("SELECT pg_stat_clear_snapshot()")
        return await sql.fetchval(
            "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname ="
            " current_database() AND wait_event_type = 'Lock' AND application_name = 'wallet-api'"
        )

    await eventually(one_is_cut_off)
    await stranger.rollback()
    answers = await asyncio.gather(*waiting)

    assert {(each.status_code, each.json()["balance"]) for each in answers} == {(201, "2.00")}
    assert len({each.content for each in answers}) == 1


async def test_a_wallet_that_is_locked_is_busy_and_others_are_not(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """One wallet in a stranger's hands gets 503 busy within 6 s; every other goes on."""
    for wallet_id in ("a", "b", "held"):
        await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "10"})
    body = {"amount": "1", "requestId": "k"}
    stranger = sql.transaction()
    await stranger.start()
    await sql.execute("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")

    asked_at = time.monotonic()
    held = [
        asyncio.create_task(api.post("/v1/wallets/held/deposit", json=body)),
        asyncio.create_task(api.post("/v1/wallets/held/withdraw", json={"amount": "1"})),
        asyncio.create_task(
            api.post("/v1/wallets/held/transfer", json={"amount": "1", "toWalletId": "a"})
        ),
    ]
    others = 0
    while not all(task.done() for task in held):
        done = await api.post("/v1/wallets/a/transfer", json={"amount": "0.01", "toWalletId": "b"})
        read = await api.get("/v1/wallets/held")
        assert (done.status_code, read.status_code) == (201, 200)
        others += 1
    assert time.monotonic() - asked_at < 6

    for task in held:
        refused = task.result()
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["Retry-After"].isdigit()
    assert others > 10
    await stranger.rollback()
    done = await api.post("/v1/wallets/held/deposit", json=body)
    assert (done.status_code, done.json()["balance"]) == (201, "11.00")
    assert "Idempotent-Replay" not in done.headers


async def test_a_transfer_to_a_locked_wallet_is_finished_by_the_retry(
    api: httpx.AsyncClient,
    sql: asyncpg.Connection,
    audited: Callable[[httpx.Response], Awaitable[list[int]]],
) -> None:
    """A transfer whose recipient is locked gets 503; sent again, the same transfer completes."""
    for wallet_id in ("a", "held"):
        await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "10"})
    asked = {"amount": "4", "requestId": "t", "toWalletId": "held"}
    stranger = sql.transaction()
    await stranger.start()
    await sql.execute("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")

    refused = await api.post("/v1/wallets/a/transfer", json=asked)
    pending = (await api.get("/v1/wallets/a/operations/t")).json()
    await stranger.rollback()
    done = await api.post("/v1/wallets/a/transfer", json=asked)

    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert (pending["status"], pending["response"]) == ("pending", None)
    assert done.status_code == 201
    told = done.json()
    assert (told["fromBalance"], told["toBalance"]) == ("6.00", "14.00")
    assert told["transferId"] == pending["transferId"]
    assert (await audited(refused), await audited(done)) == ([503], [201])
