"""This module is where locust finds its users: the mixed load of `tools/dev stress`."""

import random
from typing import Any, Final

from locust import FastHttpUser, between, task

from wallet_db_orm.ids import new_id

_WALLETS: Final = 200
# A few wallets get half of the traffic, as in life.
_HOT: Final = 5
_DECLINED: Final = {201, 404, 422}


class Customer(FastHttpUser):
    """Deposits, withdraws, transfers, reads, and repeats itself; a decline is no failure."""

    wait_time = between(0.0, 0.05)

    def on_start(self) -> None:
        self.last: tuple[str, dict[str, str], bytes] | None = None

    @task(6)
    def deposit(self) -> None:
        self._ask("deposit", {"amount": f"{random.randint(1, 5000) / 100:.2f}"})

    @task(3)
    def withdraw(self) -> None:
        self._ask("withdraw", {"amount": f"{random.randint(1, 2000) / 100:.2f}"})

    @task(3)
    def transfer(self) -> None:
        self._ask("transfer", {"amount": "1.00", "toWalletId": _wallet()})

    @task(3)
    def read(self) -> None:
        page = random.choice(("", "/history", "/ledger", "/stats"))
        with self.client.get(
            f"/v1/wallets/{_wallet()}{page}", name=f"wallet{page}", catch_response=True
        ) as answer:
            _judge(answer, {200, 404})

    @task(1)
    def replay(self) -> None:
        """Send the last request once more: the answer must be the same bytes."""
        if self.last is None:
            return
        path, body, told = self.last
        with self.client.post(path, json=body, name="replay", catch_response=True) as answer:
            if answer.content == told:
                answer.success()
            else:
                answer.failure(f"the replay differs: {answer.text[:200]}")

    def _ask(self, verb: str, body: dict[str, str]) -> None:
        path = f"/v1/wallets/{_wallet()}/{verb}"
        body["requestId"] = new_id()
        with self.client.post(path, json=body, name=verb, catch_response=True) as answer:
            _judge(answer, _DECLINED)
            if answer.status_code in {201, 422}:
                self.last = (path, body, answer.content)


def _wallet() -> str:
    hot = random.random() < 0.5
    return f"load-{random.randrange(_HOT if hot else _WALLETS)}"


def _judge(answer: Any, expected: set[int]) -> None:  # noqa: ANN401  # locust's own
    if answer.status_code in expected:
        answer.success()
    else:
        answer.failure(f"{answer.status_code} {answer.text[:200]}")
