"""This module is where the demo asks, tells and checks: the story's means, not its plot."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

import httpx

from wallet_common.topology import Topology
from wallet_db_orm.ids import new_id
from wallet_tools import stack

_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.1
_SHOWN_MAX: Final = 300
_numbers = itertools.count(1)

Body = dict[str, str]


class Unexpected(Exception):
    """The story went another way than it should; the message says where."""


class Story:
    """Asks the API one thing after the other, tells it, and stops at the first wrong answer."""

    def __init__(self, run: stack.Run, client: httpx.AsyncClient) -> None:
        self.run = run
        self.client = client
        self.topology = Topology()
        suffix = new_id()[-6:]
        self.ada, self.bob = f"ada-{suffix}", f"bob-{suffix}"

    async def post(self, title: str, path: str, expected: int, body: Body) -> httpx.Response:
        return await self.ask(title, "POST", f"/v1/wallets{path}", expected, body)

    async def get(self, title: str, path: str, **query: str) -> Any:  # noqa: ANN401  # JSON
        address = str(httpx.URL(f"/v1/wallets{path}", params=query or None))
        return (await self.ask(title, "GET", address, 200)).json()

    async def ask(
        self, title: str, method: str, address: str, expected: int, body: Body | None = None
    ) -> httpx.Response:
        """Tell what is asked and answered; raises Unexpected for another status."""
        answer = await self.client.request(method, address, json=body)
        replay = ", a replay" if "idempotent-replay" in answer.headers else ""
        tell(f"{title}\n     {method:<4} {address} -> {answer.status_code}{replay}")
        print(f"     {answer.text[:_SHOWN_MAX]}")
        check(answer.status_code == expected, f"{title}: {answer.status_code} {answer.text}")
        return answer


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition of another process; raises Unexpected when patience ends."""
    deadline_s = monotonic() + _PATIENCE_S
    while not await holds():
        if monotonic() > deadline_s:
            raise Unexpected(f"{what} did not come within {_PATIENCE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


def tell(text: str) -> None:
    print(f"\n{next(_numbers):>3}. {text}", flush=True)


def check(holds: bool, complaint: str) -> None:  # noqa: FBT001  # reads like assert
    """Raise Unexpected unless the story goes as it should."""
    if not holds:
        raise Unexpected(complaint)
