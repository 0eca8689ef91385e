"""This module is where everything is killed under load, again and again, and nothing is lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Caller, Nemesis, Town

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]
SEED = 20
CLIENTS = 16
REQUESTS_EACH = 125
WALLETS = [f"crash{number}" for number in range(12)]


class Load:
    """What one client asks, and what it was told."""

    def __init__(self, caller: "Caller", number: int) -> None:
        self.caller = caller
        self.number = number
        self.random = random.Random(SEED * 1000 + number)
        self.told: dict[tuple[str, str], tuple[dict[str, str], httpx.Response]] = {}
        self.left: list[tuple[str, str]] = []
        self.count = 0

    async def run(self, nemesis: "Nemesis") -> None:
        while self.count < REQUESTS_EACH or not nemesis.is_done:
            self.count += 1
            # So short that each kill finds somebody whose answer is still to come.
            await self.caller.breathe(self.random.uniform(0, 0.08))
            if self.told and self.random.random() < 0.1:
                await self.repeat()
            else:
                await self.ask_something()

    async def ask_something(self) -> None:
        verb = self.random.choice(["deposit", "withdraw", "transfer"])
        wallet_id, other = self.random.sample(WALLETS, 2)
        key = f"{self.number}-{self.count}"
        amount = f"{self.random.randint(1, 500)}.{self.random.randint(0, 99):02}"
        body = {"verb": verb, "amount": amount, "toWalletId": other}
        path, asked = self._request(wallet_id, key, body)
        if verb == "transfer" and self.random.random() < 0.2:
            self.left.append((wallet_id, key))
            await self.caller.ask_and_leave(path, **asked)
        else:
            self.told[wallet_id, key] = (body, await self.caller.ask(path, **asked))

    async def repeat(self) -> None:
        """Ask for something old again: the answer is the old one, to the byte."""
        (wallet_id, key), (body, first) = self.random.choice(list(self.told.items()))
        path, asked = self._request(wallet_id, key, body)
        again = await self.caller.ask(path, **asked)
        assert (again.status_code, again.content) == (first.status_code, first.content)

    def _request(
        self, wallet_id: str, key: str, body: dict[str, str]
    ) -> tuple[str, dict[str, object]]:
        asked: dict[str, object] = {"amount": body["amount"], "requestId": key}
        if body["verb"] == "transfer":
            asked["toWalletId"] = body["toWalletId"]
        return f"/{wallet_id}/{body['verb']}", asked


async def test_what_was_acknowledged_survives(
    town: "Town",
    nemesis_of: Callable[["Town", int], "Nemesis"],
    callers_of: Callable[["Town", int], list["Caller"]],
    until: Until,
) -> None:
    """Kill -9 of API, workers, PostgreSQL and RabbitMQ at random: every promise was kept."""
    loads = [Load(caller, number) for number, caller in enumerate(callers_of(town, CLIENTS))]
    for wallet_id in WALLETS:
        await town.post(f"/{wallet_id}/deposit", amount="5000.00", requestId="opening")
    nemesis = nemesis_of(town, SEED)

    async with asyncio.TaskGroup() as all_at_once:
        all_at_once.create_task(nemesis.rage(3))
        for load in loads:
            all_at_once.create_task(load.run(nemesis))

    assert nemesis.kills == dict.fromkeys(nemesis.kills, 3)
    assert sum(load.count for load in loads) >= CLIENTS * REQUESTS_EACH
    # Otherwise no kill hit anything.
    assert sum(load.caller.asked_again for load in loads) > 0
    assert set.union(*(load.caller.statuses for load in loads)) <= {201, 422, 503}
    await until(town.is_quiet)
    assert await town.violations() == []
    assert await town.letters() == []
    await check_operations(town, loads)
    await check_balances(town, loads)


async def check_operations(town: "Town", loads: list[Load]) -> None:
    """Every acknowledged operation is found by its key, with the very bytes of the answer."""
    for load in loads:
        for (wallet_id, key), (_, answer) in load.told.items():
            found = await town.look(f"/v1/wallets/{wallet_id}/operations/{key}")
            assert found.status_code == 200, (wallet_id, key, answer.text)
            assert answer.content in found.content


async def check_balances(town: "Town", loads: list[Load]) -> None:
    """Each balance is the sum of what the clients were told, and of what they can look up."""
    expected = dict.fromkeys(WALLETS, Decimal(5000))
    for load in loads:
        for (wallet_id, _), (body, answer) in load.told.items():
            if answer.status_code != 201:
                continue
            amount = Decimal(body["amount"])
            expected[wallet_id] += amount if body["verb"] == "deposit" else -amount
            if body["verb"] == "transfer":
                expected[body["toWalletId"]] += amount
        for wallet_id, key in load.left:
            found = await town.look(f"/v1/wallets/{wallet_id}/operations/{key}")
            if found.status_code == 200 and found.json()["status"] == "posted":
                transfer = found.json()["response"]
                expected[wallet_id] -= Decimal(transfer["amount"])
                expected[transfer["toWalletId"]] += Decimal(transfer["amount"])
    for wallet_id in WALLETS:
        balance = Decimal((await town.get(f"/v1/wallets/{wallet_id}"))["balance"])
        assert balance == expected[wallet_id], wallet_id
