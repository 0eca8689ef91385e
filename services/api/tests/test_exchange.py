"""This module is where rates, quotes and conversions are asked for over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


async def opened(api: httpx.AsyncClient, wallet_id: str, currency: str, owner: str) -> str:
    """Return a wallet's id, made new."""
    body = {"id": wallet_id, "currency": currency, "ownerId": owner}
    answer = await api.post("/v1/wallets", json=body)
    assert answer.status_code == 201, answer.text
    return wallet_id


async def quoted(
    api: httpx.AsyncClient, amount: str = "10.00", rate: str = "0.5"
) -> dict[str, Any]:
    """Return a quote for dollars in euros."""
    assert (await api.put("/v1/fx/rates/USD/EUR", json={"rate": rate})).status_code == 200
    body = {"fromCurrency": "USD", "toCurrency": "EUR", "amount": amount}
    answer = await api.post("/v1/fx/quotes", json=body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture
async def ada(api: httpx.AsyncClient) -> tuple[str, str]:
    """Return ada's wallets, in dollars with 100.00 and in euros."""
    one, other = await opened(api, "usd", "USD", "ada"), await opened(api, "eur", "EUR", "ada")
    await api.post(f"/v1/wallets/{one}/deposit", json={"amount": "100.00"})
    return one, other


async def test_a_conversion_repeated_has_the_same_bytes(
    api: httpx.AsyncClient, ada: tuple[str, str], audited: Audited
) -> None:
    """Also when its quote is used; another quote under the key is told by its field."""
    quote, later = await quoted(api), await quoted(api)
    address = f"/v1/wallets/{ada[0]}/convert"
    body = {"toWalletId": ada[1], "quoteId": quote["quoteId"], "requestId": "k1"}

    first = await api.post(address, json=body)
    again = await api.post(address, json=body)
    other = await api.post(address, json=body | {"quoteId": later["quoteId"]})
    recorded = await api.get(f"/v1/wallets/{ada[0]}/operations/k1")

    assert first.status_code == 201
    assert first.json()["toBalance"] == "5.00"
    assert (again.content, again.headers["Idempotent-Replay"]) == (first.content, "true")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (recorded.json()["type"], recorded.json()["response"]) == ("conversion", first.json())
    assert [await audited(each) for each in (first, again)] == [[201], [201]]


async def test_fifty_conversions_of_one_quote_are_one(
    api: httpx.AsyncClient, ada: tuple[str, str]
) -> None:
    """One has changed it, 49 are told that it was used."""
    quote = await quoted(api)
    body = {"toWalletId": ada[1], "quoteId": quote["quoteId"]}

    answers = await asyncio.gather(
        *(api.post(f"/v1/wallets/{ada[0]}/convert", json=body) for _ in range(50))
    )

    used = next(each for each in answers if each.status_code == 422)
    assert used.json()["instance"] == f"/v1/wallets/{ada[0]}/convert"
    codes = [each.json().get("code", each.status_code) for each in answers]
    assert (codes.count(201), codes.count("quote_used")) == (1, 49)
    balances = [(await api.get(f"/v1/wallets/{each}")).json()["balance"] for each in ada]
    assert balances == ["90.00", "5.00"]


async def test_what_is_rehearsed_uses_up_nothing(
    api: httpx.AsyncClient, ada: tuple[str, str], books: Look
) -> None:
    """A rate, a quote and a conversion are answered in full, and nothing is there afterwards."""
    quote = await quoted(api)
    before = await books()
    rate = await api.put("/v1/fx/rates/USD/EUR?dryRun=true", json={"rate": "2"})
    asked = {"fromCurrency": "USD", "toCurrency": "EUR", "amount": "10.00"}
    offer = await api.post("/v1/fx/quotes?dryRun=true", json=asked)
    body = {"toWalletId": ada[1], "quoteId": quote["quoteId"]}

    rehearsed = await api.post(f"/v1/wallets/{ada[0]}/convert?dryRun=true", json=body)
    offered = {"toWalletId": ada[1], "quoteId": offer.json()["quoteId"]}
    unknown = await api.post(f"/v1/wallets/{ada[0]}/convert", json=offered)

    told = [each.json()["dryRun"] for each in (rate, offer, rehearsed)]
    assert told == [True, True, True]
    assert {each.status_code for each in (rate, offer, rehearsed)} == {200}
    assert (offer.json()["rate"], rehearsed.json()["toBalance"]) == ("0.5", "5.00")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "quote_not_found")
    assert await books() == before
    done = await api.post(f"/v1/wallets/{ada[0]}/convert", json=body)
    assert done.status_code == 201


async def test_a_transfer_with_a_quote_says_what_arrived(
    api: httpx.AsyncClient, ada: tuple[str, str]
) -> None:
    """Answer, transfer, both ledgers and both histories have the terms."""
    bob = await opened(api, "bob", "EUR", "bob")
    quote = await quoted(api, "10.01")
    body = {"toWalletId": bob, "amount": "10.01", "quoteId": quote["quoteId"]}

    done = await api.post(f"/v1/wallets/{ada[0]}/transfer", json=body)
    seen = await api.get(f"/v1/transfers/{done.json()['transferId']}")
    entries = [
        (await api.get(f"/v1/wallets/{each}/ledger?limit=1")).json()["items"][0]
        for each in (ada[0], bob)
    ]
    told = (await api.get(f"/v1/wallets/{bob}/history?limit=1")).json()["items"][0]
    plain = await api.get(f"/v1/wallets/{ada[0]}/ledger")
    back = await api.post(f"/v1/operations/{done.json()['operationId']}/reverse", json={})

    assert done.json().items() <= seen.json().items()
    assert {each["quoteId"] for each in entries} == {quote["quoteId"]}
    assert [(each["amount"], each["counterAccount"]) for each in entries] == [
        *(("-10.01", "@fx:USD"), ("5.00", "@fx:EUR")),
    ]
    assert told["payload"]["exchange"] == {
        "quoteId": quote["quoteId"],
        "rate": "0.5",
        "fromAmount": "10.01",
        "fromCurrency": "USD",
        "toAmount": "5.00",
        "toCurrency": "EUR",
        "residue": "0.005",
    }
    assert "quoteId" not in plain.json()["items"][-1]
    assert (back.status_code, back.json()["code"]) == (422, "not_reversible")


@pytest.mark.parametrize(
    ("method", "address", "body", "status", "code"),
    [
        ("PUT", "/v1/fx/rates/USD/USD", {"rate": "1"}, 400, "invalid_request"),
        # Gold has a code, and no minor unit.
        ("PUT", "/v1/fx/rates/USD/XAU", {"rate": "1"}, 400, "invalid_request"),
        ("PUT", "/v1/fx/rates/usd/EUR", {"rate": "1"}, 400, "invalid_request"),
        ("PUT", "/v1/fx/rates/USD/EUR", {"rate": "0"}, 400, "invalid_amount"),
        ("PUT", "/v1/fx/rates/USD/EUR", {"rate": "-1"}, 400, "invalid_amount"),
        ("PUT", "/v1/fx/rates/USD/EUR", {"rate": "1", "validTo": "soon"}, 400, "invalid_request"),
        (
            *("PUT", "/v1/fx/rates/USD/EUR"),
            {"rate": "1", "validTo": "2020-01-01T00:00:00Z"},
            *(400, "invalid_request"),
        ),
        ("PUT", "/v1/fx/rates/USD/EUR", {}, 400, "invalid_request"),
        ("GET", "/v1/fx/rates/CHF/EUR", None, 404, "rate_not_found"),
        (
            *("POST", "/v1/fx/quotes"),
            {"fromCurrency": "CHF", "toCurrency": "EUR", "amount": "1.00"},
            *(422, "rate_unavailable"),
        ),
        (
            *("POST", "/v1/fx/quotes"),
            {"fromCurrency": "USD", "toCurrency": "EUR", "amount": "1.001"},
            *(400, "invalid_amount"),
        ),
        (
            *("POST", "/v1/fx/quotes"),
            {"fromCurrency": "USD", "toCurrency": "EUR", "amount": "0.01"},
            *(400, "invalid_amount"),
        ),
        (
            *("POST", "/v1/fx/quotes"),
            {"fromCurrency": "USD", "toCurrency": "EUR", "amount": "99999999999999999.99"},
            *(400, "invalid_amount"),
        ),
        ("POST", "/v1/wallets/usd/convert", {"toWalletId": "eur"}, 400, "invalid_request"),
        (
            *("POST", "/v1/wallets/usd/convert"),
            {"toWalletId": "eur", "quoteId": "q1"},
            *(400, "invalid_request"),
        ),
        (
            *("POST", "/v1/wallets/usd/convert"),
            {"toWalletId": "eur", "quoteId": "01a1fef0-1291-75d8-9d55-6e93a0e13923"},
            *(404, "quote_not_found"),
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_and_leaves_its_audit_row(
    api: httpx.AsyncClient,
    ada: tuple[str, str],
    audited: Audited,
    books: Look,
    method: str,
    address: str,
    body: dict[str, Any] | None,
    status: int,
    code: str,
) -> None:
    """A stable code, and nothing else changed."""
    assert ada
    await quoted(api, rate="0.1")
    before = await books()

    answer = await api.request(method, address, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await books() == before
    assert method == "GET" or await audited(answer) == [status]


async def test_residues_that_add_up_are_written_with_the_currencys_decimals(
    api: httpx.AsyncClient, ada: tuple[str, str]
) -> None:
    """Ten halves of a cent are 0.05, and of the account of exchanges -0.25."""
    for _ in range(10):
        quote = await quoted(api, "0.05")
        body = {"toWalletId": ada[1], "quoteId": quote["quoteId"]}
        assert (await api.post(f"/v1/wallets/{ada[0]}/convert", json=body)).status_code == 201

    accounts = [
        (await api.get(f"/v1/accounts/{name}?currency=EUR")).json()["balance"]
        for name in ("@rounding", "@fx:EUR")
    ]

    assert accounts == ["0.05", "-0.25"]
