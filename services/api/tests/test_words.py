"""This module is where refusals are held to saying what is meant, in the words of the wire."""

import httpx
import pytest

FOUR_PERIODS = [{"period": "day", "count": each} for each in range(1, 5)]


@pytest.mark.parametrize(
    ("method", "address", "body", "told"),
    [
        ("PUT", "/v1/fees/withdraw/USD", {"percent": "150"}, "percent: must be a decimal from 0"),
        ("PUT", "/v1/fx/rates/usd/EUR", {"rate": "2"}, "fromCurrency: must be"),
        ("GET", "/v1/fx/rates/USD/eur", None, "toCurrency: must be"),
        (
            "PUT",
            "/v1/wallets/w1/limits",
            {"velocity": FOUR_PERIODS},
            "velocity: must have one item",
        ),
        ("GET", f"/v1/wallets/w1?at={'1' * 41}", None, "at: must be an RFC 3339 time"),
        (
            "GET",
            f"/v1/wallets/w1/history?cursor={'1' * 1_001}",
            None,
            "cursor: must be the nextCursor",
        ),
        ("GET", "/v1/wallets?currency=usd", None, "currency: must be"),
        ("POST", "/v1/wallets/w1/deposit?dryRun=", {"amount": "1"}, "dryRun: "),
    ],
)
async def test_a_bad_form_is_told_in_the_words_of_its_field(
    api: httpx.AsyncClient, method: str, address: str, body: object, told: str
) -> None:
    """And not in those of a wallet's id, or by the handler's own names."""
    answer = await api.request(method, address, json=body)

    assert (answer.status_code, answer.json()["detail"][: len(told)]) == (400, told)


async def test_whose_wallet_is_frozen_is_told(api: httpx.AsyncClient) -> None:
    """Of a transfer's two wallets one may be meant."""
    for name in ("one", "two"):
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "5"})
    await api.post("/v1/wallets/two/freeze", json={"direction": "both", "reason": "audit"})

    into = await api.post("/v1/wallets/one/transfer", json={"amount": "1", "toWalletId": "two"})
    out = await api.post("/v1/wallets/two/transfer", json={"amount": "1", "toWalletId": "one"})

    assert [(each.json()["code"], each.json()["detail"]) for each in (into, out)] == [
        ("wallet_frozen", "The recipient's wallet is frozen."),
        ("wallet_frozen", "The wallet is frozen."),
    ]
