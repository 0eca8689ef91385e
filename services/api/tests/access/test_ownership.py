"""Promises about ownership: another owner's wallet is, in every way, one that does not exist."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

import httpx
import pytest

from services.api.tests.inputs.owners import SAMPLES, TIMED, TOLERANCE
from wallet_api import cursors

Headers = dict[str, str]
Bearer = Callable[..., Headers]
Owned = Callable[..., Awaitable[str]]
Books = Callable[[], Awaitable[tuple[int, ...]]]

ABSENT_TRANSFER = "00000000-0000-7000-8000-000000000000"
# What may differ between two refusals: the names that the caller gave, and the trace.
NAMES = re.compile(rb"(bobs|none)w|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def town(guarded: httpx.AsyncClient, owned: Owned, bearer: Bearer) -> Headers:
    """Open alice's and bob's wallets, with some past; return alice's headers."""
    await owned("alice", "alicew")
    await owned("bob", "bobsw")
    for key, to in (("t-out", "alicew"), ("t-more", "alicew")):
        body = {"toWalletId": to, "amount": "1.00", "requestId": key}
        paid = await guarded.post("/v1/wallets/bobsw/transfer", json=body, headers=bearer("bob"))
        assert paid.status_code == 201, paid.text
    return bearer("alice")


def plain(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return an answer without what the caller has named itself, and without the trace."""
    told = [each for each in answer.headers.multi_items() if each[0] != "x-trace-id"]
    return answer.status_code, NAMES.sub(b"?", answer.content), told


READS = [
    *(
        "",
        "?at=2999-01-01T00:00:00Z",
        "/history",
        "/history?limit=1",
        "/ledger",
        "/stats",
        "/limits",
    ),
    *("/operations/t-out", "/operations/unheard-of", "/events/stream", "/events/stream?after=1"),
]


@pytest.mark.parametrize("rest", READS)
async def test_a_foreign_wallet_reads_as_none(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer, rest: str
) -> None:
    """Every read of another owner's wallet answers the 404 of an unknown one, byte for byte."""
    foreign = await guarded.get(f"/v1/wallets/bobsw{rest}", headers=town)
    absent = await guarded.get(f"/v1/wallets/nonew{rest}", headers=town)

    assert foreign.status_code == 404
    assert plain(foreign) == plain(absent)
    if "stream" not in rest and "unheard" not in rest:
        for who in (bearer("bob"), bearer("clerk", "payments"), bearer("eye", "auditor")):
            assert (await guarded.get(f"/v1/wallets/bobsw{rest}", headers=who)).status_code == 200


@pytest.mark.parametrize("key", ["t-out", "first", "fresh"])
async def test_a_foreign_wallet_pays_as_none(
    guarded: httpx.AsyncClient, town: Headers, books: Books, key: str
) -> None:
    """A transfer out of it, also under a key that its owner has used, moves and tells nothing."""
    body = {"toWalletId": "alicew", "amount": "1.00", "requestId": key}
    before = await books()

    foreign = await guarded.post("/v1/wallets/bobsw/transfer", json=body, headers=town)
    absent = await guarded.post("/v1/wallets/nonew/transfer", json=body, headers=town)

    assert (foreign.status_code, foreign.json()["code"]) == (404, "wallet_not_found")
    assert plain(foreign) == plain(absent)
    assert await books() == before


async def test_the_same_key_of_another_is_another(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer
) -> None:
    """Two owners use one key, each for its own wallet: both are carried out (145)."""
    answers = [
        await guarded.post(
            f"/v1/wallets/{name}/transfer",
            json={"toWalletId": to, "amount": amount, "requestId": "same"},
            headers=who,
        )
        for name, to, amount, who in [
            ("alicew", "bobsw", "2.00", town),
            ("bobsw", "alicew", "3.00", bearer("bob")),
        ]
    ]

    assert [each.status_code for each in answers] == [201, 201]
    assert all("Idempotent-Replay" not in each.headers for each in answers)


@pytest.mark.parametrize("verb", ["deposit", "withdraw"])
async def test_a_user_brings_nothing_in_and_takes_nothing_out(
    guarded: httpx.AsyncClient, town: Headers, books: Books, verb: str
) -> None:
    """403 on its own wallet, and just the same on a foreign one and on none."""
    before = await books()
    answers = [
        await guarded.post(f"/v1/wallets/{name}/{verb}", json={"amount": "1"}, headers=town)
        for name in ("alicew", "bobsw", "nonew")
    ]

    assert [each.json()["code"] for each in answers] == ["forbidden"] * 3
    assert plain(answers[1]) == plain(answers[2])
    assert await books() == before


async def test_a_foreign_transfer_reads_as_none(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer
) -> None:
    """A transfer is its sender's; even whoever received it asks for it in vain."""
    told = await guarded.get("/v1/wallets/bobsw/operations/t-out", headers=bearer("bob"))
    transfer_id = told.json()["transferId"]

    foreign = await guarded.get(f"/v1/transfers/{transfer_id}", headers=town)
    absent = await guarded.get(f"/v1/transfers/{ABSENT_TRANSFER}", headers=town)

    assert foreign.status_code == 404
    assert plain(foreign) == plain(absent)
    for who in (bearer("bob"), bearer("eye", "auditor")):
        assert (await guarded.get(f"/v1/transfers/{transfer_id}", headers=who)).status_code == 200


async def test_who_pays_does_not_see_what_the_other_has(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer
) -> None:
    """A user's `toBalance` is null, also repeated and looked up; a cashier sees it."""

    async def ways(who: Headers, key: str, **body: object) -> list[httpx.Response]:
        path, asked = "/v1/wallets/alicew/transfer", {"amount": "1", "requestId": key, **body}
        paid = [await guarded.post(path, json=asked, headers=who) for _ in range(2)]
        of_key = await guarded.get(f"/v1/wallets/alicew/operations/{key}", headers=who)
        found = await guarded.get(f"/v1/transfers/{paid[0].json()['transferId']}", headers=who)
        assert "Idempotent-Replay" in paid[1].headers
        assert paid[0].content == paid[1].content
        assert of_key.json()["response"] == paid[0].json()
        return [*paid, found]

    seen = [each.json() for each in await ways(town, "k", toWalletId="bobsw")]
    assert [each["toBalance"] for each in seen] == [None] * 3
    assert [each["fromBalance"] for each in seen] == ["101.00"] * 3
    by_clerk = await guarded.get(
        f"/v1/transfers/{seen[0]['transferId']}", headers=bearer("clerk", "payments")
    )
    assert by_clerk.json()["toBalance"] == "99.00"
    mine = await guarded.get("/v1/wallets/alicew/history", headers=town)
    assert "99.00" not in mine.text


async def test_lists_hold_ones_own(
    guarded: httpx.AsyncClient, town: Headers, owned: Owned, bearer: Bearer
) -> None:
    """A user's list is its wallets, whatever owner it asks for; both of /me say the same."""
    await owned("alice", "alice-eur", currency="EUR")

    async def ids(path: str, who: Headers = town) -> list[str]:
        answer = await guarded.get(path, headers=who)
        assert answer.status_code == 200, answer.text
        return [item["walletId"] for item in answer.json()["items"]]

    assert await ids("/v1/wallets") == ["alice-eur", "alicew"]
    assert await ids("/v1/wallets?ownerId=alice&currency=EUR") == ["alice-eur"]
    assert await ids("/v1/wallets?ownerId=bob") == []
    assert await ids("/v1/wallets", bearer("clerk", "payments")) == ["alice-eur", "alicew", "bobsw"]
    for who, expected in [
        (town, ["alice-eur", "alicew"]),
        (bearer("bob", "payments"), ["bobsw"]),
        (bearer("eye", "auditor"), []),
    ]:
        assert await ids("/v1/me/wallets", who) == expected
    pages = [
        await guarded.get(f"{path}{query}", headers=town)
        for query in ("", "?limit=1")
        for path in ("/v1/me/wallets", "/api/v1/wallet/user")
    ]
    assert pages[0].content == pages[1].content
    assert pages[2].content == pages[3].content
    following = pages[2].json()["nextCursor"]
    assert await ids(f"/api/v1/wallet/user?limit=1&cursor={following}") == ["alicew"]


async def test_a_cursor_of_another_leads_nowhere(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer
) -> None:
    """A cursor into a foreign wallet is a 404 as for none; one of a foreign list a 400."""
    answers = []
    for name in ("bobsw", "nonew"):
        made = cursors.encode(f"history:{name}:None", "3")
        path = f"/v1/wallets/{name}/history?cursor={made}"
        answers.append(await guarded.get(path, headers=town))
    clerks = await guarded.get("/v1/wallets?limit=1", headers=bearer("clerk", "payments"))
    cursor = clerks.json()["nextCursor"]

    assert [each.status_code for each in answers] == [404, 404]
    assert plain(answers[0]) == plain(answers[1])
    for path in ("/v1/wallets", "/v1/me/wallets"):
        refused = await guarded.get(f"{path}?limit=1&cursor={cursor}", headers=town)
        assert refused.status_code == 400


async def test_a_user_opens_wallets_of_its_own(
    guarded: httpx.AsyncClient, town: Headers, books: Books, bearer: Bearer
) -> None:
    """Without an ownerId it is the caller's; with another's a 403 and nothing happens."""
    before = await books()
    for body in ({"ownerId": "bob", "currency": "EUR"}, {"ownerId": "Alice"}):
        refused = await guarded.post("/v1/wallets", json=body, headers=town)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    # A subject with a space could never be named as an owner.
    nameless = await guarded.post("/v1/wallets", json={}, headers=bearer("not one word"))
    assert nameless.status_code == 403
    assert await books() == before

    opened = await guarded.post(
        "/v1/wallets", json={"ownerId": "alice", "currency": "EUR"}, headers=town
    )
    assert (opened.status_code, opened.json()["ownerId"]) == (201, "alice")


async def test_the_commands_of_a_users_batch_have_the_rules_of_single_ones(
    guarded: httpx.AsyncClient, town: Headers
) -> None:
    """Each is refused or carried out as its own request would be, with the same status and code."""
    commands = [
        {"type": "deposit", "walletId": "alicew", "amount": "1.00"},
        {"type": "withdraw", "walletId": "bobsw", "amount": "1.00"},
        {"type": "transfer", "walletId": "bobsw", "toWalletId": "alicew", "amount": "1.00"},
        {"type": "transfer", "walletId": "nonew", "toWalletId": "alicew", "amount": "1.00"},
        {"type": "transfer", "walletId": "alicew", "toWalletId": "bobsw", "amount": "1.00"},
    ]
    answer = await guarded.post("/v1/batches", json={"commands": commands}, headers=town)

    results = answer.json()["results"]
    assert [each["status"] for each in results] == [403, 403, 404, 404, 201]
    assert results[4]["body"]["toBalance"] is None
    assert results[2]["body"]["code"] == results[3]["body"]["code"] == "wallet_not_found"


async def test_a_locked_foreign_wallet_makes_nobody_wait_but_its_owner(
    guarded: httpx.AsyncClient, town: Headers, bearer: Bearer, sql: object
) -> None:
    """While somebody holds its row, and it has a queue of its own, a stranger is told at once."""
    body = {"toWalletId": "alicew", "amount": "1.00"}
    async with sql.transaction():  # type: ignore[attr-defined]  # asyncpg ships no types
        await sql.execute("SELECT 1 FROM wallets WHERE id = 'bobsw' FOR UPDATE")  # type: ignore[attr-defined]  # as above
        owners = guarded.post("/v1/wallets/bobsw/transfer", json=body, headers=bearer("bob"))
        waiting = asyncio.create_task(owners)
        began = perf_counter()
        commands = [{"type": "transfer", "walletId": "bobsw", **body}] * 2
        for way in ({"atomic": False}, {"atomic": True}):
            for query in ("", "?dryRun=true"):
                asked = {"commands": commands, **way}
                batch = await guarded.post(f"/v1/batches{query}", json=asked, headers=town)
                assert [each["status"] for each in batch.json()["results"]] == [404, 404]
        taken_s = [perf_counter() - began]
        while not waiting.done():
            began = perf_counter()
            refused = await guarded.post("/v1/wallets/bobsw/transfer", json=body, headers=town)
            taken_s.append(perf_counter() - began)
            assert refused.status_code == 404

    assert (await waiting).status_code == 503
    assert max(taken_s) < 1.5


@pytest.mark.parametrize(("method", "rest"), TIMED)
async def test_a_foreign_wallet_takes_as_long_as_none(
    guarded: httpx.AsyncClient, town: Headers, method: str, rest: str
) -> None:
    """Of 200 samples each, asked in turn, the medians are within 20 % of each other."""
    body = {"toWalletId": "alicew", "amount": "1.00"} if method == "POST" else None
    taken: dict[str, list[float]] = {"bobsw": [], "nonew": []}

    for number in range(2 * SAMPLES + 20):
        # Which of a pair goes first changes, or what the first warms up would speed the second.
        name = ("bobsw", "nonew", "nonew", "bobsw")[number % 4]
        began = perf_counter()
        answer = await guarded.request(method, f"/v1/wallets/{name}{rest}", json=body, headers=town)
        taken[name].append(perf_counter() - began)
        assert answer.status_code == 404

    foreign, absent = (median(each[10:]) for each in taken.values())
    assert max(foreign, absent) / min(foreign, absent) < TOLERANCE, (foreign, absent)
