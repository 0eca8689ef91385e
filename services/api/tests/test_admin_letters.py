"""This module is where an administrator deals with dead letters over HTTP."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api.settings import ApiSettings
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database
from wallet_db_orm.ids import new_id
from wallet_db_orm.outbox import RelaySession
from wallet_tools.ports import free_port

LETTERS = "/v1/admin/dead-letters"
SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"

Lay = Callable[..., Awaitable[str]]
Configured = Callable[..., ApiSettings]
ClientOf = Callable[[ApiSettings], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def lay(database_url: str) -> AsyncIterator[Lay]:
    """Yield how to lay a letter down in the table; it returns the letter's id."""
    database = Database(database_url, application_name="wallet-test")

    async def down(body: bytes = b"poison", error: str = "unreadable") -> str:
        letter_id = new_id()
        now = datetime.now(UTC)
        await dead_letters.keep(
            database.primary,
            dead_letters.Letter(
                id=letter_id,
                queue="wallet.events.worker",
                routing_key="FundsDeposited",
                body=body,
                error=error,
                error_class="Poison",
                attempts=1,
                first_failed_at=now,
                last_failed_at=now,
            ),
        )
        return letter_id

    yield down
    await database.dispose()


@pytest.fixture
def lost(
    a_wallet: Callable[..., Awaitable[str]], database_url: str, lay: Lay
) -> Callable[[], Awaitable[str]]:
    """Return how to make a deposit whose event has become a letter; it returns the letter's id."""

    async def make() -> str:
        await a_wallet("10.00")
        session = RelaySession(database_url)
        assert await session.acquire()
        pending = await session.take(1_000)
        await session.remove([each.position for each in pending])
        await session.close()
        (body,) = [each.body for each in pending if each.routing_key == "FundsDeposited"]
        return await lay(body)

    return make


async def test_letters_are_listed_in_groups(api: httpx.AsyncClient, lay: Lay) -> None:
    """Items oldest first, as the command lists them; those that died alike are one group."""
    ids = [await lay(error=f"wrong {number}") for number in range(3)]

    told = (await api.get(LETTERS)).json()

    assert [item["id"] for item in told["items"]] == ids
    assert set(told["items"][0]) == {
        *("id", "queue", "routingKey", "group", "error", "errorClass", "attempts", "replays"),
        *("firstFailedAt", "lastFailedAt", "size"),
    }
    (group,) = told["groups"]
    assert (set(group), group["count"]) == ({"group", "count", "oldest", "newest"}, 3)


async def test_a_letter_tells_what_a_replay_would_change(
    api: httpx.AsyncClient, lost: Callable[[], Awaitable[str]], sql: asyncpg.Connection
) -> None:
    """The body, the wallet as it stands, the projection before and after; and nothing happened."""
    letter_id = await lost()

    for _ in range(2):
        told = (await api.get(f"{LETTERS}/{letter_id}")).json()
        assert told["payload"]["type"] == "FundsDeposited"
        assert base64.b64decode(told["bodyBase64"]).startswith(b"{")
        assert told["wallet"]["balance"] == "10.00"
        assert told["wallet"]["walletId"] == told["walletId"] == told["payload"]["walletId"]
        assert told["projection"]["before"]["totalDeposited"] == "0.00"
        assert told["projection"]["after"]["totalDeposited"] == "10.00"
        assert told["projection"]["reason"] is None
    for table in ("wallet_stats", "processed_events", "operator_log"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_poison_has_no_projection(api: httpx.AsyncClient, lay: Lay) -> None:
    """What is no event of ours is shown byte by byte, with the reason why nothing is foretold."""
    letter_id = await lay(b"\xff no json")

    told = (await api.get(f"{LETTERS}/{letter_id}")).json()

    assert base64.b64decode(told["bodyBase64"]) == b"\xff no json"
    assert (told["payload"], told["walletId"]) == (None, None)
    assert (told["projection"]["before"], told["projection"]["after"]) == (None, None)
    assert "no event of ours" in told["projection"]["reason"]


async def test_a_letter_is_replayed(
    api: httpx.AsyncClient,
    lost: Callable[[], Awaitable[str]],
    sql: asyncpg.Connection,
    audited: Callable[[httpx.Response], Awaitable[list[int]]],
) -> None:
    """It is back in the outbox with its replay counted, audited and logged; a second time 404."""
    letter_id = await lost()

    replayed = await api.post(f"{LETTERS}/{letter_id}/replay")

    assert (replayed.status_code, replayed.json()["replayed"]) == (201, 1)
    assert await sql.fetchval("SELECT replays FROM outbox") == 1
    assert await audited(replayed) == [201]
    logged = await sql.fetchrow("SELECT operator, act, subject FROM operator_log")
    assert tuple(logged) == ("unknown (auth is off)", "letter.replay", letter_id)
    again = await api.post(f"{LETTERS}/{letter_id}/replay", json={})
    assert (again.status_code, again.json()["code"]) == (404, "letter_not_found")


async def test_what_cannot_be_replayed_stays(api: httpx.AsyncClient, lay: Lay) -> None:
    """Poison has no event to put back: refused in words, alone and among others."""
    letter_id = await lay()

    alone = await api.post(f"{LETTERS}/{letter_id}/replay")
    among = await api.post(f"{LETTERS}/replay", json={"all": True})

    assert (alone.status_code, alone.json()["code"]) == (422, "letter_not_replayable")
    assert among.json() | {"refused": []} == {"replayed": 0, "refused": [], "remaining": 0}
    assert among.json()["refused"][0]["id"] == letter_id
    assert len((await api.get(LETTERS)).json()["items"]) == 1


async def test_a_group_is_replayed(
    api: httpx.AsyncClient, lost: Callable[[], Awaitable[str]], lay: Lay
) -> None:
    """Letters of the group named go back, at the rate asked for; others stay."""
    letter_id = await lost()
    stays = await lay(error="another error altogether")
    group = (await api.get(f"{LETTERS}/{letter_id}")).json()["group"]

    replayed = await api.post(f"{LETTERS}/replay", json={"group": group, "rate": 5})

    assert replayed.json() == {"replayed": 1, "refused": [], "remaining": 0}
    assert [item["id"] for item in (await api.get(LETTERS)).json()["items"]] == [stays]


async def test_a_letter_is_discarded(
    api: httpx.AsyncClient, lay: Lay, sql: asyncpg.Connection
) -> None:
    """With a reason, and kept in the archive."""
    letter_id = await lay(b"junk")

    discarded = await api.post(f"{LETTERS}/{letter_id}/discard", json={"reason": "a test of ours"})

    assert discarded.status_code == 201
    assert discarded.json() == {"id": letter_id, "discarded": True}
    kept = await sql.fetchrow("SELECT body, reason FROM discarded_letters")
    assert tuple(kept) == (b"junk", "a test of ours")
    assert (await api.get(LETTERS)).json() == {"items": [], "groups": []}


async def test_what_is_asked_badly_is_refused(api: httpx.AsyncClient, lay: Lay) -> None:
    """Bodies and queries are as strict as everywhere, and nothing happens."""
    letter_id = await lay()
    bad: list[tuple[str, Any]] = [
        ("/replay", {}),
        ("/replay", {"all": True, "group": "00000000"}),
        ("/replay", {"all": "yes"}),
        ("/replay", {"all": True, "rate": 0}),
        ("/replay", {"group": "x"}),
        ("/replay", {"all": True, "fast": True}),
        (f"/{letter_id}/replay", {"all": True}),
        (f"/{letter_id}/replay", []),
        (f"/{letter_id}/discard", {}),
        (f"/{letter_id}/discard", {"reason": ""}),
        (f"/{letter_id}/discard", {"reason": "a\nb"}),
        (f"/{letter_id}/discard", {"reason": "  "}),
        (f"/{letter_id}/discard", {"reason": "\x9b2J"}),
        (f"/{letter_id}/discard", {"reason": "a \u202e b"}),
        (f"/{letter_id}/discard", {"reason": "a", "by": "me"}),
        (f"/{letter_id}/discard?x=1", {"reason": "a"}),
    ]

    for path, body in bad:
        refused = await api.post(f"{LETTERS}{path}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), path
    unknown = await api.post(f"{LETTERS}/replay", json={"group": "00000000"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "letter_not_found")
    assert (await api.get(f"{LETTERS}?limit=5")).status_code == 400
    assert (await api.get(f"{LETTERS}/no-such")).status_code == 404
    assert (await api.get(f"{LETTERS}/%00")).status_code == 400
    assert len((await api.get(LETTERS)).json()["items"]) == 1


async def test_a_replay_takes_json_or_nothing(api: httpx.AsyncClient, lay: Lay) -> None:
    """What is said to be another type leaves the letter where it is, also without a body."""
    path = f"{LETTERS}/{await lay()}/replay"
    for body in (b"", b"{}"):
        for said in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
            refused = await api.post(path, content=body, headers=said)
            assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")

    assert len((await api.get(LETTERS)).json()["items"]) == 1


async def test_only_administrators_may(
    configured: Configured, client_of: ClientOf, token: Callable[..., str], lay: Lay
) -> None:
    """Every other role gets a 403, nobody a 401; the log names the token's subject."""
    letter_id = await lay()
    discard = (f"{LETTERS}/{letter_id}/discard", {"reason": "a test"})
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)
    async with client_of(settings) as client:
        for roles, wanted in ((["payments", "auditor"], 403), (["user"], 403), (["admin"], None)):
            headers = {"Authorization": f"Bearer {token(sub='root', roles=roles)}"}
            assert (await client.get(LETTERS, headers=headers)).status_code == (wanted or 200)
            acted = await client.post(discard[0], json=discard[1], headers=headers)
            assert acted.status_code == (wanted or 201)
        assert (await client.get(LETTERS)).status_code == 401


async def test_a_broker_that_is_away_is_a_503(configured: Configured, client_of: ClientOf) -> None:
    """Each route says so at once, with a time to come back, and wallets are served all the same."""
    settings = configured(RABBITMQ_URL=f"amqp://a:b@127.0.0.1:{free_port()}/")
    async with client_of(settings) as client:
        asked = [
            await client.get(LETTERS),
            await client.get(f"{LETTERS}/x"),
            await client.post(f"{LETTERS}/x/replay"),
            await client.post(f"{LETTERS}/replay", json={"all": True}),
            await client.post(f"{LETTERS}/x/discard", json={"reason": "a"}),
        ]
        for refused in asked:
            assert (refused.status_code, refused.json()["code"]) == (503, "letters_unavailable")
            assert refused.headers["Retry-After"]
        assert (await client.get("/v1/wallets")).status_code == 200
