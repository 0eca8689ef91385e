"""This module is where wallets are given limits over HTTP, and told which one they met."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
ALL = {
    "overdraft": "5.00",
    "maxBalance": 1000,
    "maxTransaction": "12.5",
    "velocity": [{"period": "day", "amount": "20"}, {"period": "week", "count": 3}],
    "timeZone": "Asia/Kathmandu",
}


async def test_limits_are_set_as_a_whole_and_read_as_they_are(
    api: httpx.AsyncClient, a_wallet: AWallet, audited: Audited
) -> None:
    """Asked twice they change once; what the next ones leave out is no limit any more."""
    address = f"/v1/wallets/{await a_wallet()}"

    first = await api.put(f"{address}/limits", json=ALL)
    again = await api.put(f"{address}/limits", json=ALL | {"requestId": "k1"})
    read = await api.get(f"{address}/limits")
    version = (await api.get(address)).json()["version"]
    none = await api.put(f"{address}/limits", json={})

    assert first.status_code == again.status_code == read.status_code == none.status_code == 200
    assert first.json() == again.json() == read.json()
    assert {name: first.json()[name] for name in ("overdraft", "maxBalance", "maxTransaction")} == {
        "overdraft": "5.00",
        "maxBalance": "1000.00",
        "maxTransaction": "12.50",
    }
    day, week = first.json()["velocity"]
    assert (day["amount"], day["usedAmount"], day["count"]) == ("20.00", "0.00", None)
    assert (week["amount"], week["count"], week["usedCount"]) == (None, 3, 0)
    assert day["since"].endswith("T18:15:00Z")
    assert version == 3
    assert none.json()["overdraft"] == "0.00"
    assert (none.json()["maxBalance"], none.json()["velocity"]) == (None, [])
    assert [await audited(each) for each in (first, again)] == [[200], [200]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"overdraft": "-1"}, "overdraft"),
        ({"maxBalance": "0"}, "maxBalance"),
        ({"maxTransaction": "1.001"}, "limits"),
        ({"maxBalance": "999999999999999999"}, "limits"),
        ({"velocity": [{"period": "year", "count": 1}]}, "velocity[0].period"),
        ({"velocity": [{"period": "day"}]}, "velocity[0]"),
        ({"velocity": [{"period": "day", "count": 0}]}, "velocity[0].count"),
        ({"velocity": [{"period": "day", "amount": "x"}]}, "velocity[0].amount"),
        ({"velocity": [{"period": "day", "count": 1}] * 2}, "velocity"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"timeZone": "../etc/passwd"}, "timeZone"),
        ({"timeZone": "localtime"}, "timeZone"),
        ({"balance": "1"}, "balance"),
    ],
)
async def test_bad_limits_are_told_by_their_field(
    api: httpx.AsyncClient, a_wallet: AWallet, books: Look, body: dict[str, Any], field: str
) -> None:
    """400, and nothing changes."""
    wallet_id = await a_wallet()
    before = await books()

    answer = await api.put(f"/v1/wallets/{wallet_id}/limits", json=body)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await books() == before


async def test_a_wallet_that_is_not_there_has_no_limits(api: httpx.AsyncClient) -> None:
    """404 to read and to set."""
    answers = [
        await api.get("/v1/wallets/nobody/limits"),
        await api.put("/v1/wallets/nobody/limits", json={}),
    ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (404, "wallet_not_found")
    ] * 2


async def test_a_refusal_says_which_limit_and_is_the_same_for_ever(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """Its value, what is used and when it frees; a repetition gets the same bytes."""
    address = f"/v1/wallets/{await a_wallet()}"
    await api.post(f"{address}/deposit", json={"amount": "100.00"})
    await api.put(f"{address}/limits", json=ALL)
    await api.post(f"{address}/withdraw", json={"amount": "12.50"})
    asked = {"amount": "8.00", "requestId": "k1"}

    refused = await api.post(f"{address}/withdraw", json=asked)
    await api.put(f"{address}/limits", json={})
    again = await api.post(f"{address}/withdraw", json=asked)
    other = await api.post(f"{address}/withdraw", json=asked | {"requestId": "k2"})

    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, "limit_exceeded")
    assert (told["limit"], told["value"], told["used"]) == (
        "velocity.day.amount",
        "20.00",
        "12.50",
    )
    assert told["freesAt"].endswith("T18:15:00Z")
    assert again.content == refused.content
    assert other.status_code == 201


async def test_a_transfer_that_a_recipients_limit_keeps_out_comes_back(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """422 with the transfer's end; dry runs tell the same, and set limits without an effect."""
    sender, recipient = await a_wallet(), "empty"
    await api.post("/v1/wallets", json={"id": recipient})
    asked = {"amount": "6.00", "toWalletId": recipient}
    await api.put(f"/v1/wallets/{recipient}/limits", json={"maxBalance": "5.00"})

    dry = await api.put(f"/v1/wallets/{recipient}/limits?dryRun=true", json={})
    rehearsed = await api.post(f"/v1/wallets/{sender}/transfer?dryRun=true", json=asked)
    real = await api.post(f"/v1/wallets/{sender}/transfer", json=asked)
    fits = await api.post(f"/v1/wallets/{sender}/transfer", json=asked | {"amount": "5.00"})

    assert (dry.status_code, dry.json()["maxBalance"], dry.json()["dryRun"]) == (200, None, True)
    for answer in (rehearsed, real):
        assert (answer.status_code, answer.json()["code"]) == (422, "limit_exceeded")
        assert answer.json()["transferStatus"] == "failed"
    assert (fits.status_code, fits.json()["toBalance"]) == (201, "5.00")


async def test_a_wallet_with_an_open_hold_is_not_closed_though_it_has_nothing(
    api: httpx.AsyncClient,
) -> None:
    """What a wallet may owe can be bound."""
    await api.post("/v1/wallets", json={"id": "empty"})
    address = "/v1/wallets/empty"
    await api.put(f"{address}/limits", json={"overdraft": "5.00"})
    hold = await api.post(f"{address}/holds", json={"amount": "5.00"})

    refused = await api.post(f"{address}/close", json={})
    await api.post(f"/v1/holds/{hold.json()['holdId']}/release", json={})
    closed = await api.post(f"{address}/close", json={})

    assert hold.json()["available"] == "-5.00"
    assert (refused.status_code, refused.json()["code"]) == (422, "wallet_not_empty")
    assert closed.status_code == 201
