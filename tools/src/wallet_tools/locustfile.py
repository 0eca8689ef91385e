"""This module is where locust finds its users and its shapes: the load of `tools/dev stress`."""

import random
import time
from argparse import ArgumentParser
from typing import Any, Final

from locust import FastHttpUser, LoadTestShape, between, events, task
from locust.env import Environment

from wallet_db_orm.ids import new_id
from wallet_tools import promises
from wallet_tools.stress import SHAPES, share_of

_WALLETS: Final = 200
# A few wallets get half of the traffic, as in life.
_HOT: Final = 5
# Who is told to come back does so, with the same key, this often.
_PATIENCE: Final = 10
_NONSENSE: Final = ("-1.00", "1e3", "NaN", "0", "1.234", " 1.00", "1_000.00", "٣.00")


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # locust's
def _add_shape(parser: ArgumentParser) -> None:
    parser.add_argument("--shape", choices=SHAPES, default=SHAPES[0])


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # locust's
def _nothing_is_no_success(environment: Environment, **_: object) -> None:
    if environment.stats.total.num_requests == 0:
        environment.process_exit_code = 1


class Shape(LoadTestShape):
    """How many users there are at a time, out of `--users`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        seconds: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust leaves it untyped
        if options is None or seconds > options.run_time:
            return None
        share = share_of(options.shape, seconds / options.run_time)
        return max(1, round(options.num_users * share)), options.spawn_rate


class Customer(FastHttpUser):
    """Deposits, withdraws, transfers, reads, repeats and contradicts itself, and talks nonsense."""

    wait_time = between(0.0, 0.05)

    def on_start(self) -> None:
        self.last: tuple[str, dict[str, str], tuple[int, bytes]] | None = None

    @task(6)
    def deposit(self) -> None:
        self._write("deposit", {"amount": f"{random.randint(1, 5000) / 100:.2f}"})

    @task(3)
    def withdraw(self) -> None:
        self._write("withdraw", {"amount": f"{random.randint(1, 9000) / 100:.2f}"})

    @task(3)
    def transfer(self) -> None:
        self._write("transfer", {"amount": "1.00", "toWalletId": _wallet()})

    @task(3)
    def read(self) -> None:
        page = random.choice(("", "/history", "/ledger", "/stats"))
        with self.client.get(
            f"/v1/wallets/{_wallet()}{page}", name=f"wallet{page}", catch_response=True
        ) as answer:
            _judge(answer, promises.of_read(page, answer.status_code, _content(answer)))

    @task(2)
    def repeat(self) -> None:
        """Send the last request once more: the answer must be the same bytes."""
        if self.last is None:
            return
        path, body, first = self.last
        with self.client.post(path, json=body, name="repetition", catch_response=True) as answer:
            again = (answer.status_code, _content(answer))
            if not _is_busy(answer):
                marked = (answer.headers or {}).get("Idempotent-Replay", "")
                _judge(answer, promises.of_repetition(first, again, marked))

    @task(1)
    def contradict(self) -> None:
        """Use the last key for another amount."""
        if self.last is None:
            return
        path, body, _ = self.last
        other = body | {"amount": "12345.67"}
        with self.client.post(path, json=other, name="conflict", catch_response=True) as answer:
            if not _is_busy(answer):
                _judge(answer, promises.of_conflict(answer.status_code, _content(answer)))

    @task(1)
    def talk_nonsense(self) -> None:
        body = {"amount": random.choice(_NONSENSE), "requestId": new_id()}
        path = f"/v1/wallets/{_wallet()}/deposit"
        with self.client.post(path, json=body, name="nonsense", catch_response=True) as answer:
            _judge(answer, promises.of_nonsense(answer.status_code, _content(answer)))

    def _write(self, verb: str, body: dict[str, str]) -> None:
        wallet_id = _wallet()
        path = f"/v1/wallets/{wallet_id}/{verb}"
        body["requestId"] = new_id()
        name = f"{verb} (hot)" if _is_hot(wallet_id) else verb
        for _ in range(_PATIENCE):
            with self.client.post(path, json=body, name=name, catch_response=True) as answer:
                if _is_busy(answer):
                    # locust has made it one that lets the other users go on.
                    time.sleep(float(answer.headers["Retry-After"]))
                    continue
                status, content = answer.status_code, _content(answer)
                _judge(answer, promises.of_write(verb, body, status, content))
                if status in {201, 422}:
                    self.last = (path, body, (status, content))
                return
        self.environment.runner.log_exception("local", f"{path} stayed busy", "")


def _wallet() -> str:
    hot = random.random() < 0.5
    return f"load-{random.randrange(_HOT if hot else _WALLETS)}"


def _is_hot(wallet_id: str) -> bool:
    return int(wallet_id.removeprefix("load-")) < _HOT


def _content(answer: Any) -> bytes:  # noqa: ANN401  # locust's own
    return bytes(answer.content or b"")


def _is_busy(answer: Any) -> bool:  # noqa: ANN401  # locust's own
    """Whether we are asked, in due form, to come back; that is an answer and no failure."""
    if answer.status_code != 503 or not (answer.headers or {}).get("Retry-After"):
        return False
    answer.success()
    return True


def _judge(answer: Any, wrong: str | None) -> None:  # noqa: ANN401  # locust's own
    if wrong is None:
        answer.success()
    else:
        answer.failure(f"{wrong}: {answer.status_code} {_content(answer)[:200]!r}")
