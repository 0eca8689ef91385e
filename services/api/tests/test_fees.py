"""This module is where it is said over HTTP what operations cost, and where they cost it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


async def price(api: httpx.AsyncClient, operation: str, **parts: str) -> None:
    """Let an operation in dollars cost something."""
    answer = await api.put(f"/v1/fees/{operation}/USD", json=parts)
    assert answer.status_code == 200, answer.text


async def test_what_is_set_is_in_force_for_the_next_request(
    api: httpx.AsyncClient, a_wallet: AWallet, audited: Audited
) -> None:
    """And only one schedule at a time, the last one; a repetition costs what the first did."""
    wallet_id = await a_wallet("100.00")
    set_ = await api.put("/v1/fees/withdraw/USD", json={"percent": "10.0"})
    body = {"amount": "10.00", "requestId": "k1"}
    first = await api.post(f"/v1/wallets/{wallet_id}/withdraw", json=body)
    await price(api, "withdraw", flat="0.01")

    second = await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "10.00"})
    again = await api.post(f"/v1/wallets/{wallet_id}/withdraw", json=body)
    listed = (await api.get("/v1/fees")).json()["items"]

    read = {name: listed[0][name] for name in ("flat", "percent", "min", "max")}
    written = await api.put("/v1/fees/withdraw/USD", json=read)
    assert (written.status_code, written.json()["flat"]) == (200, "0.01")
    assert (set_.json()["percent"], await audited(set_)) == ("10", [200])
    assert [each.json()["fee"] for each in (first, second)] == ["1.00", "0.01"]
    assert again.content == first.content
    assert [(each["operation"], each["flat"], each["percent"]) for each in listed] == [
        ("withdraw", "0.01", None)
    ]


async def test_a_rehearsal_tells_the_fee_and_takes_none(
    api: httpx.AsyncClient, a_wallet: AWallet, books: Look
) -> None:
    """Of a schedule that is only rehearsed nothing is charged."""
    wallet_id = await a_wallet("100.00")
    before = await books()
    await api.put("/v1/fees/withdraw/USD?dryRun=true", json={"flat": "5.00"})
    free = await api.post(f"/v1/wallets/{wallet_id}/withdraw?dryRun=true", json={"amount": "1.00"})
    await price(api, "withdraw", flat="0.50")

    told = await api.post(f"/v1/wallets/{wallet_id}/withdraw?dryRun=true", json={"amount": "1.00"})

    assert "fee" not in free.json()
    assert (told.json()["fee"], told.json()["balance"]) == ("0.50", "98.50")
    assert await books() == before


async def test_batches_and_conversions_cost_what_single_requests_do(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """Each command of a batch has its fee, each conversion that of conversions."""
    one, two = await a_wallet("100.00"), await a_wallet("0", "EUR")
    for operation in ("withdraw", "conversion"):
        await price(api, operation, flat="0.50")
    commands = [{"type": "withdraw", "walletId": one, "amount": "1.00"}] * 2
    batch = await api.post("/v1/batches", json={"atomic": False, "commands": commands})
    whole = await api.post("/v1/batches", json={"atomic": True, "commands": commands})
    await api.put("/v1/fx/rates/USD/EUR", json={"rate": "0.5"})
    asked = {"fromCurrency": "USD", "toCurrency": "EUR", "amount": "10.00"}
    quote = (await api.post("/v1/fx/quotes", json=asked)).json()["quoteId"]

    converted = await api.post(
        f"/v1/wallets/{one}/convert", json={"toWalletId": two, "quoteId": quote}
    )

    bodies = [each["body"] for each in batch.json()["results"] + whole.json()["results"]]
    assert [each["fee"] for each in bodies] == ["0.50"] * 4
    assert (converted.json()["fee"], converted.json()["fromBalance"]) == ("0.50", "83.50")
    account = (await api.get("/v1/accounts/@fees?currency=USD")).json()
    assert account["balance"] == "2.50"


async def test_a_part_that_was_taken_back_leaves_the_fee_alone(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """What was reversed is the deposit, and the ledger says so of it, not of its fee."""
    wallet_id = await a_wallet("10.00")
    await price(api, "deposit", percent="1")
    done = await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "5.00"})

    back = await api.post(f"/v1/operations/{done.json()['operationId']}/reverse", json={})

    items = (await api.get(f"/v1/wallets/{wallet_id}/ledger?limit=3")).json()["items"]
    assert back.json()["balance"] == "9.95"
    assert [(each["type"], each["status"]) for each in items] == [
        ("deposit_reversal", "CONFIRMED"),
        ("fee", "CONFIRMED"),
        ("deposit", "REVERSED"),
    ]


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("hold/USD", {"flat": "1.00"}),
        # Gold has a code, and no minor unit.
        ("deposit/XAU", {"flat": "1.00"}),
        ("deposit/usd", {"flat": "1.00"}),
        ("deposit/USD", {"flat": "1.001"}),
        ("deposit/USD", {"flat": "-1.00"}),
        ("deposit/USD", {"percent": "101"}),
        ("deposit/USD", {"percent": "-1"}),
        ("deposit/USD", {"percent": 1}),
        ("deposit/USD", {"min": "2.00", "max": "1.00"}),
        ("deposit/USD", {"max": "0"}),
        ("deposit/USD", {"max": "99999999999999999.99"}),
        ("deposit/USD", {"free": True}),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, audited: Audited, address: str, body: dict[str, Any]
) -> None:
    """By 400, and nothing is in force."""
    answer = await api.put(f"/v1/fees/{address}", json=body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in {"invalid_request", "invalid_amount"}
    assert await audited(answer) == [400]
    assert (await api.get("/v1/fees")).json() == {"items": []}


async def test_what_comes_to_a_wallet_in_debt_may_cost_something(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """It owes less afterwards, and the proof agrees, though its limits let it owe nothing."""
    wallet_id = await a_wallet("0")
    await api.put(f"/v1/wallets/{wallet_id}/limits", json={"overdraft": "50.00"})
    await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "30.00"})
    await api.put(f"/v1/wallets/{wallet_id}/limits", json={})
    await price(api, "deposit", flat="1.00")

    done = await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "5.00"})

    assert (done.json()["balance"], done.json()["fee"]) == ("-26.00", "1.00")
    assert (await api.post("/v1/admin/verify")).json()["ok"]


async def test_fees_beyond_all_measure_are_refused_and_no_fault(api: httpx.AsyncClient) -> None:
    """What an operation and its fee need is more than any wallet has."""
    most = "9.223372036854775807"
    await api.post("/v1/wallets", json={"id": "big", "currency": "BIG.18"})
    await api.post("/v1/wallets/big/deposit", json={"amount": most})
    await api.put("/v1/wallets/big/limits", json={"overdraft": most})
    await api.put("/v1/fees/withdraw/BIG.18", json={"flat": most, "percent": "100"})

    answer = await api.post("/v1/wallets/big/withdraw", json={"amount": "9.2"})
    paid = await api.post("/v1/wallets/big/withdraw", json={"amount": "1"})
    more = await api.post("/v1/wallets/big/withdraw", json={"amount": "9"})

    assert [each.status_code for each in (answer, paid, more)] == [201, 422, 422]
