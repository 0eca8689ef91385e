"""Promises about the event feed over HTTP: one order, resumed anywhere, whatever is filtered."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api import cursors
from wallet_api.settings import ApiSettings
from wallet_common.events import Envelope
from wallet_db_orm.outbox import RelaySession

ClientOf = Callable[[ApiSettings], Any]
SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[RelaySession]:
    """Yield the active relay's session."""
    session = RelaySession(database_url)
    assert await session.acquire()
    yield session
    await session.close()


async def publish(relay: RelaySession) -> list[bytes]:
    """Bring out what waits, and return it as it went over the wire."""
    taken = await relay.take(1_000)
    await relay.remove([each.position for each in taken])
    return [each.body for each in taken]


async def ask(api: httpx.AsyncClient, **query: str | int) -> dict[str, Any]:
    answered = await api.get("/v1/events", params=query)
    assert answered.status_code == 200, answered.text
    page: dict[str, Any] = answered.json()
    return page


async def test_items_are_the_envelopes_with_their_position(
    api: httpx.AsyncClient, relay: RelaySession
) -> None:
    """An item has what a consumer of the broker sees, and where to go on from it."""
    await api.post("/v1/wallets", json={"id": "b"})
    await api.post("/v1/wallets/a/deposit", json={"amount": "5", "requestId": "k"})
    await api.post("/v1/wallets/a/transfer", json={"amount": "1", "toWalletId": "b"})
    sent = [httpx.Response(200, content=body).json() for body in await publish(relay)]

    page = await ask(api)

    fields = set(Envelope.__struct_encode_fields__)
    assert [item.keys() - fields for item in page["items"]] == [{"position"}] * 7
    assert [{name: item[name] for name in fields} for item in page["items"]] == sent
    assert page["next"] == page["items"][-1]["position"]


async def test_any_position_leads_on(api: httpx.AsyncClient, relay: RelaySession) -> None:
    """Behind each item comes the rest, with whatever filters; `next` works also at the end."""
    start = await ask(api)
    for number in range(6):
        await api.post(f"/v1/wallets/w{number % 2}/deposit", json={"amount": "1"})
    await publish(relay)
    every = (await ask(api, after=start["next"]))["items"]
    assert start["items"] == []
    assert len(every) == 8

    for place, item in enumerate(every):
        rest = every[place + 1 :]
        after = item["position"]
        assert (await ask(api, after=after))["items"] == rest
        of_wallet = [each for each in rest if each["walletId"] == "w1"]
        assert (await ask(api, after=after, walletId="w1"))["items"] == of_wallet
        opened = [each for each in rest if each["type"] == "WalletCreated"]
        assert (await ask(api, after=after, type="WalletCreated"))["items"] == opened
    end = await ask(api, after=every[-1]["position"], type="WalletFlagged", walletId="w1")
    assert end == {"items": [], "next": every[-1]["position"]}


async def test_following_next_meets_all(api: httpx.AsyncClient, relay: RelaySession) -> None:
    """Pages of any size are the same list; one that waits at the end is served what comes."""
    for number in range(9):
        await api.post(f"/v1/wallets/w{number}/deposit", json={"amount": "1"})
    await publish(relay)
    whole = (await ask(api, limit=200))["items"]
    page: dict[str, Any] = {}
    for limit in (1, 4, 18):
        met, page = [], await ask(api, limit=limit)
        while page["items"]:
            met += page["items"]
            page = await ask(api, limit=limit, after=page["next"])
        assert met == whole

    await api.post("/v1/wallets/w0/deposit", json={"amount": "1"})
    assert (await ask(api, after=page["next"]))["items"] == []
    await publish(relay)
    later = (await ask(api, after=page["next"]))["items"]
    assert [(each["walletId"], each["walletVersion"]) for each in later] == [("w0", 3)]


async def test_a_verdict_is_in_the_feed(
    api: httpx.AsyncClient, relay: RelaySession, sql: asyncpg.Connection
) -> None:
    """The feed holds the worker's verdicts too; they have no version."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    await sql.execute(
        "WITH told AS (INSERT INTO events (wallet_id, id, type, payload, occurred_at)"
        " VALUES ('w', gen_random_uuid(), 'WalletFlagged', '{}', now()) RETURNING *)"
        " INSERT INTO outbox (wallet_id, event_id) SELECT wallet_id, id FROM told"
    )
    await publish(relay)

    found = (await ask(api, type="WalletFlagged"))["items"]

    assert [(each["type"], each["walletVersion"]) for each in found] == [("WalletFlagged", None)]


@pytest.mark.parametrize(
    "query",
    [
        *("after=", "after=x", "after=0", "after=AAAA", "type=Nothing", "type=", "limit=0"),
        *("limit=201", "limit=x", "walletId=", "walletId=a%20b", "cursor=x", "type=a&type=b"),
    ],
)
async def test_a_bad_query_is_refused(api: httpx.AsyncClient, query: str) -> None:
    """Positions that nobody gave, unknown types, limits and parameters are a 400."""
    refused = await api.get(f"/v1/events?{query}")

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), refused.text


@pytest.mark.parametrize("place", ["x", "-1", "9" * 30, "", "01", "1e3", "\u0661"])
async def test_a_position_made_by_hand_is_refused(api: httpx.AsyncClient, place: str) -> None:
    """A position's check is no secret, so what it leads to is looked at as well."""
    for scope in ("events", "wallets:None:None:None"):
        made = cursors.encode(scope, place)
        assert (await api.get("/v1/events", params={"after": made})).status_code == 400


async def test_only_readers_of_every_wallet_are_let_in(
    configured: Callable[..., ApiSettings], client_of: ClientOf, token: Callable[..., str]
) -> None:
    """Without a token 401, with a role that has no such right 403."""
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)
    async with client_of(settings) as client:
        for path, told_a_user in (("/v1/events", 403), ("/v1/wallets/w/events/stream", 404)):
            bare = await client.get(path)
            weak = await client.get(path, headers=bearer(token(roles=["emperor"])))
            assert (bare.status_code, weak.status_code) == (401, 403)
            user = await client.get(path, headers=bearer(token(roles=["user"])))
            assert user.status_code == told_a_user
        read = await client.get("/v1/events", headers=bearer(token(roles=["auditor"])))
        assert read.status_code == 200
        assert (await client.get("/metrics")).status_code == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
