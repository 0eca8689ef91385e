"""Promises about repeating a request: the same answer for ever, one effect, no other meaning."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx

from wallet_api.settings import ApiSettings

Builder = Callable[..., Awaitable[str]]
# The most that a wallet can hold: 2^63 - 1 cents.
BRIM = "92233720368547758.07"
Look = Callable[[], Awaitable[tuple[int, ...]]]


def answer(response: httpx.Response) -> tuple[int, str, bytes]:
    return response.status_code, response.headers["Content-Type"], response.content


def is_replay(response: httpx.Response) -> bool:
    mark = response.headers.get("Idempotent-Replay")
    assert mark in {None, "true"}
    return mark is not None


async def ask_all(api: httpx.AsyncClient, wallet_id: str, other: str) -> list[httpx.Response]:
    """Send one request of each kind of outcome, each with its own fixed key."""
    path = f"/v1/wallets/{wallet_id}"
    words = {"reference": "rent", "metadata": {"a": 1}}
    return [
        await api.post(f"{path}/deposit", json={"amount": "1", "requestId": "d"} | words),
        await api.post(f"{path}/withdraw", json={"amount": "2", "requestId": "w"} | words),
        await api.post(f"{path}/withdraw", json={"amount": "999", "requestId": "refused"}),
        await api.post(
            f"{path}/transfer", json={"amount": "3", "requestId": "t", "toWalletId": other}
        ),
        await api.post(
            f"{path}/transfer",
            json={"amount": "999", "requestId": "t-refused", "toWalletId": other},
        ),
        await api.post(
            f"{path}/transfer", json={"amount": "3", "requestId": "t-alone", "toWalletId": "nobody"}
        ),
    ]


async def test_every_outcome_is_replayed_byte_for_byte(
    api: httpx.AsyncClient, a_wallet: Builder, books: Look
) -> None:
    """A repetition has the first answer's status and bytes, also after the balance has changed."""
    wallet_id, other = await a_wallet("50.00"), await a_wallet("0")
    first = await ask_all(api, wallet_id, other)
    assert [each.status_code for each in first] == [201, 201, 422, 201, 422, 422]

    at_once = await ask_all(api, wallet_id, other)
    await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "5000"})
    await api.post("/v1/wallets", json={"id": "nobody"})
    before = await books()
    later = await ask_all(api, wallet_id, other)

    assert [answer(each) for each in at_once] == [answer(each) for each in first]
    assert [answer(each) for each in later] == [answer(each) for each in first]
    assert not any(map(is_replay, first))
    assert all(map(is_replay, at_once + later))
    assert await books() == before


async def test_a_failed_transfer_is_replayed_byte_for_byte(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """A compensated transfer with the longest key gives the money back, and one 422 for ever."""
    path, full = f"/v1/wallets/{await a_wallet('50.00')}/transfer", await a_wallet(BRIM)
    asked = {"amount": "3", "requestId": "k" * 128, "toWalletId": full}

    first = await api.post(path, json=asked)
    emptied = await api.post(f"/v1/wallets/{full}/withdraw", json={"amount": BRIM})
    assert emptied.status_code == 201
    again = await api.post(path, json=asked)

    problem = first.json()
    assert (first.status_code, problem["code"]) == (422, "balance_limit_exceeded")
    assert (problem["status"], problem["transferStatus"]) == (422, "failed")
    assert answer(again) == answer(first)
    assert (is_replay(first), is_replay(again)) == (False, True)
    view = (await api.get(f"/v1/transfers/{problem['transferId']}")).json()
    assert (view["status"], view["fromBalance"], view["toBalance"]) == ("failed", "50.00", None)
    assert [step["state"] for step in view["steps"]] == [
        *("initiated", "debited", "compensated", "failed")
    ]


async def test_another_process_gives_the_same_answers(
    api: httpx.AsyncClient,
    a_wallet: Builder,
    start_api: Callable[..., tuple[Any, str]],
) -> None:
    """What one process has answered, a fresh one answers in the same bytes."""
    wallet_id, other = await a_wallet("50.00"), await a_wallet("0")
    first = await ask_all(api, wallet_id, other)
    _, url = start_api()

    async with httpx.AsyncClient(base_url=url) as elsewhere:
        again = await ask_all(elsewhere, wallet_id, other)

    assert [answer(each) for each in again] == [answer(each) for each in first]
    assert all(map(is_replay, again))


async def test_another_spelling_is_the_same_meaning(api: httpx.AsyncClient) -> None:
    """Order, blanks and the way an amount is written do not make another intent."""
    json = {"Content-Type": "application/json"}
    words = b'"requestId":"k","metadata":{"a":1,"b":{"c":2,"d":3}}}'
    first = await api.post(
        "/v1/wallets/w/deposit", content=b'{"amount":"10.00",' + words, headers=json
    )

    for spelling in (
        b'{"amount":"10",' + words,
        b'{"amount":10,' + words,
        b'{"amount":10.0,' + words,
        b'{"metadata":{"b":{"d":3,"c":2},"a":1},\n "requestId":"\\u006b", "amount":"10"}',
    ):
        again = await api.post("/v1/wallets/w/deposit", content=spelling, headers=json)
        assert is_replay(again)
        assert answer(again) == answer(first)


async def test_another_meaning_is_refused_and_named(
    api: httpx.AsyncClient, a_wallet: Builder, books: Look
) -> None:
    """A key that is used for something else gets a 422 naming what differs; the first stands."""
    path, other = f"/v1/wallets/{await a_wallet('50.00')}", await a_wallet("0")
    asked: dict[str, Any] = {"amount": "1", "requestId": "k", "toWalletId": other}
    asked |= {"metadata": {"a": 1}, "reference": "rent"}
    first = await api.post(f"{path}/transfer", json=asked)
    before = await books()
    meanings: list[tuple[str, dict[str, Any], list[str]]] = [
        ("transfer", {"amount": "2"}, ["amount"]),
        ("transfer", {"toWalletId": "third"}, ["toWalletId"]),
        ("transfer", {"metadata": {"a": 2}}, ["metadata"]),
        ("transfer", {"metadata": {"a": "1"}}, ["metadata"]),
        ("transfer", {"metadata": None}, ["metadata"]),
        ("transfer", {"reference": "other"}, ["reference"]),
        ("transfer", {"amount": "2", "reference": None}, ["amount", "reference"]),
        ("deposit", {"toWalletId": ...}, ["toWalletId", "type"]),
        ("withdraw", {"toWalletId": ...}, ["toWalletId", "type"]),
    ]

    for verb, changed, fields in meanings:
        reused = {name: value for name, value in (asked | changed).items() if value is not ...}
        refused = await api.post(f"{path}/{verb}", json=reused)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert [error["field"] for error in refused.json()["errors"]] == fields
        assert not is_replay(refused)

    assert await books() == before
    assert answer(await api.post(f"{path}/transfer", json=asked)) == answer(first)


async def test_keys_of_two_wallets_are_apart(api: httpx.AsyncClient) -> None:
    """The same key on two wallets names two operations."""
    body = {"amount": "1", "requestId": "k"}

    first = await api.post("/v1/wallets/w1/deposit", json=body)
    second = await api.post("/v1/wallets/w2/deposit", json=body)

    assert first.json()["operationId"] != second.json()["operationId"]
    assert not is_replay(second)


async def test_the_key_may_come_in_the_header(api: httpx.AsyncClient) -> None:
    """Header and body name the same key; both together are fine as long as they agree."""
    path, header = "/v1/wallets/w/deposit", {"Idempotency-Key": "k/!~"}

    first = await api.post(path, json={"amount": "1"}, headers=header)
    in_body = await api.post(path, json={"amount": "1", "requestId": "k/!~"})
    in_both = await api.post(path, json={"amount": "1", "requestId": "k/!~"}, headers=header)

    assert first.json()["requestId"] == "k/!~"
    assert answer(in_body) == answer(in_both) == answer(first)


async def test_a_generated_key_is_returned(api: httpx.AsyncClient) -> None:
    """Without a key each request is an intent of its own, and its new key works afterwards."""
    path = "/v1/wallets/w/deposit"

    first, second = [await api.post(path, json={"amount": "1"}) for _ in range(2)]
    key = first.json()["requestId"]
    again = await api.post(path, json={"amount": "1", "requestId": key})

    assert UUID(key).version == 7
    assert second.json()["balance"] == "2.00"
    assert answer(again) == answer(first)


async def test_a_flawed_request_does_not_burn_its_key(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
) -> None:
    """After 400, 404, 413 and 415 the same key still names nothing, and a good request gets it."""
    path, good = "/v1/wallets/w/deposit", {"amount": "1", "requestId": "k"}
    async with client_of(configured(WALLET_AUTO_CREATE="false")) as api:
        refused = [
            await api.post(path, json={"amount": "1e2", "requestId": "k"}),
            await api.post(path, json=good | {"balance": "1"}),
            await api.post(path, json=good),
            await api.post(path, json=good | {"metadata": {"a": "x" * 70_000}}),
            await api.post(path, content=b'{"amount":"1","requestId":"k"}'),
        ]
        await api.post("/v1/wallets", json={"id": "w"})
        refused.append(await api.post(path, json={"amount": "1.001", "requestId": "k"}))
        refused.append(await api.post(path, json=good, headers={"Idempotency-Key": "other"}))
        done = await api.post(path, json=good)

    assert [each.status_code for each in refused] == [400, 400, 404, 413, 415, 400, 400]
    assert (done.status_code, is_replay(done)) == (201, False)


async def test_a_reused_key_names_the_fields_as_they_are_spelled(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """The sentence keeps the capitals inside a field's name."""
    wallet_id = await a_wallet("50.00")
    path, asked = f"/v1/wallets/{wallet_id}/transfer", {"amount": "1", "requestId": "t"}
    await api.post(path, json=asked | {"toWalletId": await a_wallet("0")})
    told = await api.post(path, json=asked | {"toWalletId": await a_wallet("0")})

    assert told.json()["code"] == "idempotency_key_reused"
    assert "toWalletId" in told.json()["detail"]
