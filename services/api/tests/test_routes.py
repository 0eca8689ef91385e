"""Promises about every route: its status, its members, and money in the currency's own decimals."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

WALLET = (
    *("walletId", "ownerId", "currency", "balance", "held", "available", "status", "version"),
    *("createdAt", "updatedAt", "metadata"),
)
MONEY = ("walletId", "balance", "currency", "requestId", "created", "operationId", "version")
TRANSFER = (
    *(
        "transferId",
        "operationId",
        "fromWalletId",
        "toWalletId",
        "amount",
        "currency",
        "status",
        "requestId",
    ),
    *("fromBalance", "toBalance"),
)
Builder = Callable[..., Awaitable[str]]


def told(response: httpx.Response, status: int, members: tuple[str, ...]) -> dict[str, Any]:
    """Return the body, once it has the status and exactly the members."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert sorted(body) == sorted(members)
    return body


async def test_a_wallet_is_opened_as_asked(api: httpx.AsyncClient) -> None:
    """A new wallet has the id, owner, currency and metadata of the request, and nothing in it."""
    asked = {"id": "w1", "ownerId": "alice", "currency": "EUR", "metadata": {"tier": 1.50}}

    wallet = told(await api.post("/v1/wallets", json=asked), 201, WALLET)

    created_at = datetime.fromisoformat(wallet.pop("createdAt"))
    assert created_at == datetime.fromisoformat(wallet.pop("updatedAt"))
    assert created_at.utcoffset() is not None
    assert wallet == {
        "walletId": "w1",
        "ownerId": "alice",
        "currency": "EUR",
        "balance": "0.00",
        "held": "0.00",
        "available": "0.00",
        "status": "active",
        "version": 1,
        "metadata": {"tier": 1.5},
    }


async def test_a_wallet_needs_nothing(api: httpx.AsyncClient) -> None:
    """Without members the wallet gets a UUIDv7, no owner, and the default currency."""
    wallet = told(await api.post("/v1/wallets", json={}), 201, WALLET)

    assert UUID(wallet["walletId"]).version == 7
    assert (wallet["ownerId"], wallet["currency"], wallet["metadata"]) == (None, "USD", None)


async def test_the_same_wallet_again_is_the_same_wallet(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """Opening with the id, owner and currency that are there answers with what is there now."""
    asked = {"id": "w1", "ownerId": "alice"}
    await api.post("/v1/wallets", json=asked)
    await api.post("/v1/wallets/w1/deposit", json={"amount": "5"})

    wallet = told(await api.post("/v1/wallets", json=asked), 201, WALLET)

    assert wallet["balance"] == "5.00"


async def test_a_taken_wallet_is_a_conflict(api: httpx.AsyncClient) -> None:
    """The same id, or the same owner and currency, is refused with 409 wallet_exists."""
    await api.post("/v1/wallets", json={"id": "w1", "ownerId": "alice", "currency": "USD"})

    for other in (
        {"id": "w1", "ownerId": "bob", "currency": "USD"},
        {"id": "w1", "ownerId": "alice", "currency": "EUR"},
        {"id": "w2", "ownerId": "alice", "currency": "USD"},
    ):
        refused = await api.post("/v1/wallets", json=other)
        assert (refused.status_code, refused.json()["code"]) == (409, "wallet_exists")


async def test_a_deposit_opens_an_unknown_wallet(api: httpx.AsyncClient) -> None:
    """The first deposit makes the wallet and says so; the second does not."""
    first = told(await api.post("/v1/wallets/w1/deposit", json={"amount": "10"}), 201, MONEY)
    second = told(await api.post("/v1/wallets/w1/deposit", json={"amount": 2.50}), 201, MONEY)

    assert UUID(first["operationId"]) != UUID(second["operationId"])
    assert [(each["balance"], each["created"]) for each in (first, second)] == [
        ("10.00", True),
        ("12.50", False),
    ]
    assert (first["walletId"], first["currency"], second["version"]) == ("w1", "USD", 3)


async def test_a_withdrawal_tells_the_balance_it_left(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """A withdrawal answers like a deposit, and takes the very last cent but no more."""
    wallet_id = await a_wallet("100.00")

    done = told(
        await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "100.00"}), 201, MONEY
    )
    refused = await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "0.01"})

    assert (done["balance"], done["created"]) == ("0.00", False)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "insufficient_funds")
    assert (problem["required"], problem["available"]) == ("0.01", "0.00")
    assert problem["currency"] == "USD"


async def test_a_transfer_tells_both_balances(api: httpx.AsyncClient, a_wallet: Builder) -> None:
    """A transfer answers when the money has arrived, with what both wallets then held."""
    sender, recipient = await a_wallet("100.00"), await a_wallet("1.00")

    asked = {"toWalletId": recipient, "amount": "30.5", "requestId": "k"}
    done = told(await api.post(f"/v1/wallets/{sender}/transfer", json=asked), 201, TRANSFER)

    assert UUID(done["transferId"]).version == 7
    assert done.pop("transferId") == done.pop("operationId")
    assert done == {
        "fromWalletId": sender,
        "toWalletId": recipient,
        "amount": "30.50",
        "currency": "USD",
        "status": "completed",
        "requestId": "k",
        "fromBalance": "69.50",
        "toBalance": "31.50",
    }


@pytest.mark.parametrize(
    ("currency", "given", "shown"),
    [("USD", "12.5", "12.50"), ("JPY", "12", "12"), ("KWD", "1.25", "1.250")],
)
async def test_money_has_the_decimals_of_its_currency(
    api: httpx.AsyncClient, a_wallet: Builder, currency: str, given: str, shown: str
) -> None:
    """Every amount in every answer has exactly the ISO 4217 exponent of the wallet's currency."""
    wallet_id, other = await a_wallet(given, currency), await a_wallet("0", currency)
    path = f"/v1/wallets/{wallet_id}"

    read = told(await api.get(path), 200, WALLET)
    entry = (await api.get(f"{path}/ledger")).json()["items"][0]
    event = (await api.get(f"{path}/history")).json()["items"][0]
    stats = (await api.get(f"{path}/stats")).json()
    refused = await api.post(f"{path}/withdraw", json={"amount": "9000"})
    moved = await api.post(f"{path}/transfer", json={"toWalletId": other, "amount": given})

    zero = {"USD": "0.00", "JPY": "0", "KWD": "0.000"}[currency]
    assert (read["balance"], read["available"], read["held"]) == (shown, shown, zero)
    assert (entry["amount"], entry["balanceAfter"]) == (shown, shown)
    assert (event["payload"]["amount"], event["payload"]["newBalance"]) == (shown, shown)
    assert stats["totalDeposited"] == zero
    assert refused.json()["available"] == shown
    assert [moved.json()[name] for name in ("amount", "toBalance", "fromBalance")] == [
        *(shown, shown),
        zero,
    ]
