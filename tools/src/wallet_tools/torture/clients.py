"""This module is where clients ask, note what they are told, and ask again what they must know."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from wallet_tools.torture import answers
from wallet_tools.torture.history import Answer, Attempt, Intent, Outcome, Role, Verb
from wallet_tools.torture.journal import Journal
from wallet_tools.torture.workload import WALLETS, Client, is_definitive

# Longer than the API's own patience: what it means to say is heard.
PATIENCE_S: Final = 8.0
_AGAIN_AFTER_S: Final = 0.1
_ASKED_AGAIN_S: Final = 60.0


class Asker:
    """Sends requests to either API process and keeps the history of all of them."""

    def __init__(self, urls: Callable[[int], str], journal: Journal) -> None:
        self._journal = journal
        self._http = [
            httpx.AsyncClient(
                base_url=urls(number),
                timeout=httpx.Timeout(PATIENCE_S, connect=2.0),
                limits=httpx.Limits(max_connections=64),
            )
            for number in (0, 1)
        ]
        self.history: list[Attempt] = []
        self.known: dict[tuple[str, str], Attempt] = {}
        self.has_found = asyncio.Event()

    async def ask(self, intent: Intent, api: int) -> Attempt:
        """Send a request once; its intent is durable before, its outcome after."""
        await self._journal.intend(intent)
        attempt = Attempt(intent, await self._answer(intent, api))
        await self._journal.tell(attempt.answer)
        self.history.append(attempt)
        if attempt.answer.outcome is Outcome.FINDING:
            self.has_found.set()
        if is_definitive(attempt) and intent.role in {Role.FIRST, Role.REPLAY, Role.RESOLVE}:
            self.known.setdefault(intent.name, attempt)
        return attempt

    async def insist(self, client: Client, intent: Intent) -> Attempt:
        """Send the same request until the answer is definitive, for a minute at most."""
        deadline, api = time.monotonic() + _ASKED_AGAIN_S, 0
        while True:
            attempt = await self.ask(intent, api % 2)
            if attempt.answer.outcome is not Outcome.UNKNOWN or time.monotonic() > deadline:
                return attempt
            api += 1
            await asyncio.sleep(_AGAIN_AFTER_S)
            intent = client.resolve(intent)

    async def close(self) -> None:
        for each in self._http:
            await each.aclose()

    async def _answer(self, intent: Intent, api: int) -> Answer:
        headers = {"X-Trace-Id": intent.id}
        if intent.role is Role.INVALID:
            headers["Idempotency-Key"] = intent.key
        method = "GET" if intent.verb is Verb.READ else "POST"
        if method == "POST":
            headers["Content-Type"] = "application/json"
        began = time.monotonic()
        try:
            response = await self._http[api].request(
                method, intent.path, content=intent.body.encode() or None, headers=headers
            )
        except httpx.TransportError as error:
            return Answer(
                id=intent.id,
                outcome=Outcome.UNKNOWN,
                began=began,
                ended=time.monotonic(),
                api=api,
                why=type(error).__name__,
            )
        ended = time.monotonic()
        outcome, why = answers.judge(
            intent, response.status_code, response.headers, response.content
        )
        return Answer(
            id=intent.id,
            outcome=outcome,
            began=began,
            ended=ended,
            api=api,
            status=response.status_code,
            content=response.content,
            content_type=response.headers.get("content-type", ""),
            is_replay=response.headers.get("idempotent-replay") == "true",
            why=why,
        )


class Crowd:
    """All clients of a run, each a task that asks one thing at a time."""

    def __init__(self, asker: Asker, seed: int, clients: int, pace_s: float) -> None:
        self._asker = asker
        self._pace_s = pace_s
        self._clients = [Client(seed, number) for number in range(clients)]

    async def open(self) -> None:
        """Open the wallets with money in each."""
        count = len(self._clients)
        for client in self._clients:
            for intent in client.opening(WALLETS, count):
                await self._asker.insist(client, intent)

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Ask until the time is over; every client then waits for its last answer."""
        await self._each(lambda client, number: self._wander(client, number, is_over))

    async def resolve(self) -> int:
        """Ask again for every operation of unknown outcome; return how many there were."""
        counts: list[int] = []

        async def finish(client: Client, _: int) -> None:
            unknown = [each for each in client.first if each.name not in self._asker.known]
            counts.append(len(unknown))
            for intent in unknown:
                await self._asker.insist(client, client.resolve(intent))

        await self._each(finish)
        return sum(counts)

    async def _each(self, do: Callable[[Client, int], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, client in enumerate(self._clients):
                tasks.create_task(_awaited(do(client, number)))

    async def _wander(self, client: Client, number: int, is_over: Callable[[], bool]) -> None:
        api = number
        while not is_over():
            await asyncio.sleep(client.pause_s(self._pace_s))
            api += 1
            await self._asker.ask(client.next(self._asker.known), api % 2)


async def _awaited(work: Awaitable[None]) -> None:
    await work
