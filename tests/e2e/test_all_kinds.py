"""This module is where everything that may be asked is asked at once, and the books are proved."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]
OPERATIONS, AT_ONCE = 10_000, 48
NAMES = {"USD": [f"all-{number}" for number in range(8)], "JPY": ["all-yen-1", "all-yen-2"]}
# What may be answered: done, refused for what it is, or nobody knows (a batch behind a lock).
DONE = {200, 201}
FINE = {*DONE, 422, 503}
# Everything that may be asked, and how often in comparison.
KINDS = {
    "deposit": 5,
    "withdraw": 4,
    "transfer": 5,
    "hold": 3,
    "end": 3,
    "reverse": 2,
    "batch": 0.7,
    "stand": 0.3,
    "limit": 0.5,
    "quote": 2,
    "convert": 2,
}


class Crowd:
    """Callers who ask for anything, of anybody, with what earlier answers brought."""

    def __init__(self, town: "Town", seed: int) -> None:
        self._town = town
        self._random = random.Random(seed)
        self._holds: list[str] = []
        self._done: list[str] = []
        self._quotes: list[dict[str, str]] = []
        self.answered: dict[str, list[int]] = {}

    async def ask(self) -> None:
        """Ask for one thing, whatever the dice say, and keep what it brought."""
        (kind,) = self._random.choices(tuple(KINDS), tuple(KINDS.values()))
        currency = self._random.choice(("USD", "USD", "USD", "JPY"))
        path, body = getattr(self, f"_{kind}")(currency)
        method = "PUT" if kind == "limit" else "POST"
        answer = await self._town.api.request(method, path, json=body)
        assert answer.status_code in FINE, answer.text
        self.answered.setdefault(kind, []).append(answer.status_code)
        if answer.status_code in DONE:
            told = answer.json()
            if kind in {"deposit", "withdraw", "transfer"}:
                self._done.append(told["operationId"])
            elif kind == "hold":
                self._holds.append(told["holdId"])
            elif kind == "quote":
                self._quotes.append(told)

    def _some(self, currency: str) -> str:
        return self._random.choice(NAMES[currency])

    def _amount(self, most: int = 40) -> str:
        return str(self._random.randint(1, most))

    def _deposit(self, currency: str) -> tuple[str, dict[str, Any]]:
        return f"/v1/wallets/{self._some(currency)}/deposit", {"amount": self._amount()}

    def _withdraw(self, currency: str) -> tuple[str, dict[str, Any]]:
        return f"/v1/wallets/{self._some(currency)}/withdraw", {"amount": self._amount()}

    def _transfer(self, currency: str) -> tuple[str, dict[str, Any]]:
        body = {"amount": self._amount(), "toWalletId": self._some(currency)}
        return f"/v1/wallets/{self._some(currency)}/transfer", body

    def _hold(self, currency: str) -> tuple[str, dict[str, Any]]:
        ends = datetime.now(UTC) + timedelta(seconds=self._random.uniform(6, 20))
        body = {"amount": self._amount(), "expiresAt": ends.isoformat()}
        return f"/v1/wallets/{self._some(currency)}/holds", body

    def _end(self, currency: str) -> tuple[str, dict[str, Any]]:
        if not self._holds:
            return self._hold(currency)
        body: dict[str, Any] = {"amount": self._amount(15)} if self._random.random() < 0.7 else {}
        verb = self._random.choice(("capture", "capture", "release"))
        if verb == "capture" and self._random.random() < 0.4:
            body["toWalletId"] = self._some(currency)
        return f"/v1/holds/{self._random.choice(self._holds[-200:])}/{verb}", body

    def _reverse(self, currency: str) -> tuple[str, dict[str, Any]]:
        if not self._done:
            return self._deposit(currency)
        body: dict[str, Any] = {"amount": self._amount(10)} if self._random.random() < 0.6 else {}
        body["force"] = self._random.random() < 0.2
        return f"/v1/operations/{self._random.choice(self._done[-300:])}/reverse", body

    def _stand(self, currency: str) -> tuple[str, dict[str, Any]]:
        if self._random.random() < 0.6:
            return f"/v1/wallets/{self._some(currency)}/unfreeze", {}
        direction = self._random.choice(("in", "out", "both"))
        body = {"direction": direction, "reason": "the dice say so"}
        return f"/v1/wallets/{self._some(currency)}/freeze", body

    def _limit(self, currency: str) -> tuple[str, dict[str, Any]]:
        velocity = [{"period": "day", "amount": self._amount(5_000), "count": 500}]
        body: dict[str, Any] = {"velocity": velocity} if self._random.random() < 0.4 else {}
        body["overdraft"] = self._amount(50)
        return f"/v1/wallets/{self._some(currency)}/limits", body

    def _quote(self, currency: str) -> tuple[str, dict[str, Any]]:
        to = "USD" if currency == "JPY" else "JPY"
        body = {"fromCurrency": currency, "toCurrency": to, "amount": self._amount()}
        return "/v1/fx/quotes", body

    def _convert(self, currency: str) -> tuple[str, dict[str, Any]]:
        if not self._quotes:
            return self._deposit(currency)
        quote = self._random.choice(self._quotes[-6:])
        sender, to = self._some(quote["fromCurrency"]), self._some(quote["toCurrency"])
        body = {"toWalletId": to, "quoteId": quote["quoteId"]}
        if self._random.random() < 0.5:
            return f"/v1/wallets/{sender}/convert", body
        return f"/v1/wallets/{sender}/transfer", body | {"amount": quote["fromAmount"]}

    def _batch(self, currency: str) -> tuple[str, dict[str, Any]]:
        commands = [
            {"type": "deposit", "walletId": self._some(currency), "amount": self._amount()},
            {
                "type": "transfer",
                "walletId": self._some(currency),
                "toWalletId": self._some(currency),
                "amount": self._amount(),
            },
        ]
        return "/v1/batches", {"atomic": self._random.random() < 0.7, "commands": commands}


async def test_whatever_is_asked_each_currency_sums_to_zero(town: "Town", until: Until) -> None:
    """10 000 operations of all kinds through two API processes: proved, and nothing left over."""
    for currency, names in NAMES.items():
        for name in names:
            await town.api.post("/v1/wallets", json={"id": name, "currency": currency})
            await town.post(f"/{name}/deposit", amount="1000")
    for pair, rate in (("USD/JPY", "156.789"), ("JPY/USD", "0.00638")):
        await town.api.put(f"/v1/fx/rates/{pair}", json={"rate": rate})
    await _price(town, {"percent": "1.5", "min": "0.01"})
    crowd, left = Crowd(town, seed=7), OPERATIONS

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await crowd.ask()

    try:
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    finally:
        # Others use this stack, too.
        await _price(town, {})

    assert sum(map(len, crowd.answered.values())) == OPERATIONS
    for kind, statuses in crowd.answered.items():
        assert sum(each in DONE for each in statuses) > len(statuses) / 10, kind
    await until(town.is_quiet, 120)
    assert await town.violations() == []
    for currency in NAMES:
        accounts = (await town.get(f"/v1/accounts?currency={currency}"))["items"]
        theirs = f"SELECT sum(balance_minor) FROM wallets WHERE currency = '{currency}'"
        minor = await town.value(theirs)
        total = sum((Decimal(each["balance"]) for each in accounts), Decimal(0))
        assert minor + total.scaleb(2 if currency == "USD" else 0) == 0


async def _price(town: "Town", parts: dict[str, str]) -> None:
    """Let everything in dollars cost this from now on."""
    for operation in ("deposit", "withdraw", "transfer", "conversion"):
        answer = await town.api.put(f"/v1/fees/{operation}/USD", json=parts)
        assert answer.status_code == 200, answer.text
