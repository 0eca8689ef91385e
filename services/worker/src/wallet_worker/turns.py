"""This module is where what concerns the same users is done in the order in which it came."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Turns:
    """
    Lets each wait for those that came before it and share a name with it, and for nobody else.

    Whoever waits does so only for what came earlier, so nobody can wait in a ring.
    """

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def taken(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold a turn for all of `names`; its place is that of the call, before anything awaits."""
        wanted = set(names)
        earlier = [self._last[name] for name in wanted if name in self._last]
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last |= dict.fromkeys(wanted, mine)
        try:
            if earlier:
                await asyncio.wait(earlier)
            yield
        finally:
            mine.set_result(None)
            for name in wanted:
                if self._last[name] is mine:
                    del self._last[name]
