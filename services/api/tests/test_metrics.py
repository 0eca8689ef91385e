"""Promises about the figures: what Prometheus is told, with a database and without."""

from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families

from wallet_api.settings import ApiSettings
from wallet_db_orm.outbox import RelaySession
from wallet_tools.ports import free_port

ClientOf = Callable[[ApiSettings], Any]
Configured = Callable[..., ApiSettings]
OF_THE_DATABASE = {
    *("wallet_outbox_rows", "wallet_outbox_lag_seconds", "wallet_relay_active"),
    *("wallet_feed_position", "wallet_dead_letters"),
}


async def figures(client: httpx.AsyncClient) -> dict[str, float]:
    """Return the samples of a page, by name and labels as they are spelled."""
    page = await client.get("/metrics")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name + "".join(f",{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


async def test_the_relays_lag_is_told(
    api: httpx.AsyncClient, database_url: str, sql: asyncpg.Connection
) -> None:
    """Rows and age of what waits, whether a relay is active, how far the feed is, letters."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    await sql.execute("UPDATE outbox SET recorded_at = recorded_at - interval '1 hour'")
    await sql.execute(
        "INSERT INTO dead_letters SELECT gen_random_uuid(), 'q', 'k', '', 'e', 'E', 1, 0, now(),"
        " now() FROM generate_series(1, 3)"
    )
    before = await figures(api)
    relay = RelaySession(database_url)
    assert await relay.acquire()
    await relay.remove([each.position for each in await relay.take(10)])
    after = await figures(api)
    await relay.close()

    assert before.keys() >= OF_THE_DATABASE
    assert (before["wallet_outbox_rows"], after["wallet_outbox_rows"]) == (2, 0)
    assert 3600 <= before["wallet_outbox_lag_seconds"] < 3660
    assert after["wallet_outbox_lag_seconds"] == 0
    assert (before["wallet_relay_active"], after["wallet_relay_active"]) == (0, 1)
    assert (before["wallet_feed_position"], after["wallet_feed_position"]) == (0, 2)
    assert after["wallet_dead_letters"] == 3
    assert after["wallet_database_up"] == 1


async def test_requests_are_counted(api: httpx.AsyncClient) -> None:
    """By method, route and class of status; what a stranger writes makes no new label."""
    for number in range(3):
        await api.post(f"/v1/wallets/w{number}/deposit", json={"amount": "1"})
    await api.get("/v1/wallets/w0")
    await api.get("/v1/wallets/nobody")
    await api.get("/v1/wallets/w0/history?limit=1")
    await api.get("/v1/wallets/w1/history")
    for number in range(3):
        await api.request(f"BREW{number}", f"/nothing/{number}")
    await api.put("/v1/wallets", json={})

    told = await figures(api)

    counts = {
        name.removeprefix("wallet_requests_total,"): value
        for name, value in told.items()
        if name.startswith("wallet_requests_total")
    }
    assert counts == {
        "POST,/v1/wallets/{wallet_id}/deposit,2xx": 3,
        "GET,/v1/wallets/{wallet_id},2xx": 1,
        "GET,/v1/wallets/{wallet_id},4xx": 1,
        "GET,/v1/wallets/{wallet_id}/history,2xx": 2,
        "other,none,4xx": 3,
        "PUT,none,4xx": 1,
    }
    assert told["wallet_requests_pending"] == told["wallet_streams_open"] == 0


async def test_with_a_broker_its_letters_are_not_told(
    configured: Configured, client_of: ClientOf
) -> None:
    """Letters rest in the broker then, to which the API does not talk."""
    settings = configured(RABBITMQ_URL=f"amqp://u:p@127.0.0.1:{free_port()}/")
    async with client_of(settings) as client:
        told = await figures(client)

    assert OF_THE_DATABASE - told.keys() == {"wallet_dead_letters"}


async def test_without_a_database_the_rest_is_told(
    configured: Configured, client_of: ClientOf
) -> None:
    """The page is there all the same: what needs the database is absent, and it says why."""
    gone = f"postgresql://wallet:wallet@127.0.0.1:{free_port()}/wallet"
    async with client_of(configured(WALLET_DATABASE_URL=gone)) as client:
        await client.get("/healthz")
        told = await figures(client)

    assert told["wallet_database_up"] == 0
    assert not OF_THE_DATABASE & told.keys()
    assert told["wallet_requests_total,GET,/healthz,2xx"] == 1
