"""This module is where end-to-end tests get whole stacks, and callers who do not give up."""

import asyncio
import inspect
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.api.tests.inputs.tokens import SECRET, mint
from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_db_orm.verify import verify
from wallet_letters import acts
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import Letter
from wallet_letters.table import TableBox
from wallet_tools import stack
from wallet_tools.options import Options
from wallet_tools.rabbitmq import accepts_login
from wallet_tools.state import StateFolder


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for a condition, which may be a coroutine; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


class Town:
    """A running stack, seen from outside: by HTTP, and by its operator."""

    def __init__(self, state: StateFolder, token: str = "") -> None:
        self.state = state
        self.topology = Topology()
        run, headers = self.run(), {"Authorization": f"Bearer {token}"} if token else {}
        self.api = httpx.AsyncClient(base_url=run.api, headers=headers, timeout=30)
        self.database = Database(run.database, application_name="wallet-e2e", pool_size=2)

    def run(self) -> stack.Run:
        run = stack.read_run(self.state)
        assert run is not None, "the stack is not complete"
        return run

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self.api.post(f"/v1/wallets{path}", json=body)

    async def look(self, path: str) -> httpx.Response:
        """Read, and read again while told to come back: a connection may have died unnoticed."""
        answer = await self.api.get(path)
        deadline = time.monotonic() + 15
        while answer.status_code == 503 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            answer = await self.api.get(path)
        return answer

    async def get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        answer = await self.look(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stats(self, wallet_id: str) -> Any:  # noqa: ANN401  # JSON
        return await self.get(f"/v1/wallets/{wallet_id}/stats")

    @property
    def box(self) -> BrokerBox | TableBox:
        broker = self.run().rabbitmq
        return BrokerBox(broker, self.topology) if broker else TableBox(self.database)

    async def letters(self) -> Sequence[Letter]:
        return await acts.look(self.box)

    async def discard(self, letter_id: str) -> None:
        await acts.discard(self.box, self.database, "e2e", letter_id, "the story is told")

    async def value(self, sql: str) -> Any:  # noqa: ANN401  # the SQL decides
        connection = await asyncpg.connect(self.run().database_admin)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close(timeout=5)

    async def is_quiet(self) -> bool:
        """Whether every event has taken effect and no transfer is under way."""
        sql = """
            SELECT NOT EXISTS (SELECT FROM outbox)
                AND NOT EXISTS (SELECT FROM transfers WHERE state = 'debited')
                AND (SELECT count(*) FROM events WHERE wallet_version IS NOT NULL)
                    = (SELECT count(*) FROM processed_events)
        """
        with suppress(OSError, asyncpg.PostgresError):  # It may have been killed just now.
            return bool(await self.value(sql))
        return False

    async def violations(self) -> list[str]:
        """Return what the proof finds when all is quiet; nothing if all is right."""
        report = await verify(self.database.primary, at_rest=True)
        return [f"{each.id} {each.violations}" for each in report.invariants if each.violations]

    async def close(self) -> None:
        await self.api.aclose()
        await self.database.dispose()


class Nemesis:
    """Kills processes of a stack, each in its turn, and lets the supervisor bring them back."""

    def __init__(self, town: Town, seed: int) -> None:
        self._town = town
        self._random = random.Random(seed)
        self.kills: dict[str, int] = dict.fromkeys(("api", "worker", "postgres", "rabbitmq"), 0)
        self.is_done = False

    async def rage(self, rounds: int) -> None:
        """Kill one of each kind in every round, in a random order."""
        for _ in range(rounds):
            for kind in self._random.sample(sorted(self.kills), len(self.kills)):
                await asyncio.sleep(self._random.uniform(0.3, 1.5))
                await self._kill(kind)
        await until(self._is_whole)
        self.is_done = True

    async def _kill(self, kind: str) -> None:
        # A victim that is not back yet would be no victim.
        await until(self._is_whole)
        pid = self._random.choice(self._pids(kind))
        os.kill(pid, signal.SIGKILL)
        self.kills[kind] += 1
        await until(lambda: pid not in self._pids(kind))

    def _pids(self, kind: str) -> list[int]:
        found: Any = getattr(self._town.run().pids, kind)
        return found if isinstance(found, list) else [found]

    async def _is_whole(self) -> bool:
        pids = [pid for kind in self.kills for pid in self._pids(kind)]
        return all(Path(f"/proc/{pid}").exists() for pid in pids) and await asyncio.to_thread(
            self._broker_answers
        )

    def _broker_answers(self) -> bool:
        url = httpx.URL(self._town.run().rabbitmq or "")
        with suppress(OSError):
            return accepts_login(url.port or 0, url.username, url.password)
        return False


class Caller:
    """A client that writes down what it is about to ask, and asks again until it is told."""

    def __init__(self, town: Town, journal: Path) -> None:
        self._town = town
        self._journal = journal.open("a")
        self.asked_again = 0
        self.statuses: set[int] = set()

    async def ask(self, path: str, **body: object) -> httpx.Response:
        """Send the same request until there is a definitive answer, and return that."""
        self._note(path, body)
        while True:
            with suppress(httpx.TransportError):
                answer = await self._town.post(path, **body)
                self.statuses.add(answer.status_code)
                if answer.status_code not in {408, 429, 500, 502, 503, 504}:
                    return answer
            self.asked_again += 1
            await asyncio.sleep(0.1)

    async def ask_and_leave(self, path: str, **body: object) -> None:
        """Send a request once and hang up at once, whatever becomes of it."""
        self._note(path, body)
        with suppress(httpx.TransportError):
            await self._town.api.post(f"/v1/wallets{path}", json=body, timeout=0.02)

    async def breathe(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        self._journal.close()

    def _note(self, path: str, body: dict[str, object]) -> None:
        self._journal.write(json.dumps({"path": path, **body}) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[None]]:
    """Return the poller: it waits for a condition, never for a time."""
    return until


@pytest.fixture(scope="session")
def state_with_broker(server_folder: Path) -> Iterator[StateFolder]:
    """Yield the folder of a stack with RabbitMQ, two API processes and two workers."""
    folder = StateFolder.at(server_folder / "e2e")
    options = Options(api_processes=2, worker_processes=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALLET_PII_METADATA_KEYS", "email, phone")
        stack.up(folder, options, say=lambda _: None)
    yield folder
    stack.down(folder)


@pytest.fixture(scope="session")
def state_without_broker(server_folder: Path) -> Iterator[StateFolder]:
    """Yield the folder of a stack that asks for tokens; its events go through PostgreSQL."""
    folder = StateFolder.at(server_folder / "e2e-direct")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALLET_AUTH", "jwt")
        patch.setenv("WALLET_JWT_SECRET", SECRET)
        stack.up(folder, Options(has_broker=False, api_processes=2), say=lambda _: None)
    yield folder
    stack.down(folder)


@pytest.fixture
async def town(state_with_broker: StateFolder) -> AsyncIterator[Town]:
    """Yield the stack with RabbitMQ; all end-to-end tests share it, each with its own wallets."""
    town = Town(state_with_broker)
    yield town
    await town.close()


@pytest.fixture
async def quiet_town(state_without_broker: StateFolder) -> AsyncIterator[Town]:
    """Yield the stack without RabbitMQ, and an administrator's token for it."""
    town = Town(state_without_broker, mint(sub="root", roles=["admin"]))
    yield town
    await town.close()


@pytest.fixture
def nemesis_of() -> Callable[[Town, int], Nemesis]:
    return Nemesis


@pytest.fixture
def callers_of(tmp_path: Path) -> Iterator[Callable[[Town, int], list[Caller]]]:
    """Yield the builder of callers, each with a journal of its own."""
    callers: list[Caller] = []

    def build(town: Town, count: int) -> list[Caller]:
        callers.extend(Caller(town, tmp_path / f"journal{number}") for number in range(count))
        return callers

    yield build
    for caller in callers:
        caller.close()
