"""This module is where a TCP proxy stands in front of a server and does harm on demand."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from wallet_tools.ports import LOOPBACK, listen_anywhere
from wallet_tools.torture.streams import Sieve

_CHUNK: Final = 65_536
# Closing with this makes the kernel send RST: what was under way is lost, as with a dead machine.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Then(Enum):
    """What becomes of a connection of which a reply was swallowed."""

    CUT = "it is reset at once"
    HOLD = "the server's side falls silent, until the client goes or it is cut"
    GO_ON = "it goes on without that reply"


@dataclass(slots=True, eq=False)
class _Link:
    """A client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter


@dataclass(slots=True)
class Wire:
    """
    One client's way to one server, on a port of its own.

    Whatever is switched on stays until it is switched off: `delay_s` in front of each chunk, both
    directions; `is_dark` connects and lets nothing through.
    """

    name: str
    upstream: int
    sieve: Callable[[], Sieve]
    delay_s: float = 0.0
    port: int = 0
    swallowed: int = 0
    _light: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: asyncio.Event = field(default_factory=asyncio.Event)
    _is_armed: bool = False
    _then: Then = Then.CUT
    _links: set[_Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def is_used(self) -> bool:
        """Whether somebody is connected through it."""
        return bool(self._links)

    async def open(self) -> None:
        """Listen, on a port that is known from then on."""
        self._light.set()
        listener = listen_anywhere()
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_CHUNK)

    async def close(self) -> None:
        """Stop listening and cut whatever is connected."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Cut every connection with RST, on both sides; return how many there were."""
        links = list(self._links)
        for link in links:
            self._drop(link)
        return len(links)

    def darken(self) -> None:
        """Let nothing through from now on; connections stay and new ones are accepted."""
        self._light.clear()

    def lighten(self) -> None:
        """Let everything through again, on new connections: what was dark is cut."""
        self._light.set()
        self.cut()

    def arm(self, then: Then) -> None:
        """Swallow the next reply of the wanted kind, exactly one, and nothing more."""
        self._taken.clear()
        self._is_armed, self._then = True, then

    def disarm(self) -> bool:
        """Swallow nothing any more; return whether something was swallowed."""
        self._is_armed = False
        return self._taken.is_set()

    async def taken(self, seconds: float) -> bool:
        """Wait until one was swallowed; False if the time is up before."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._taken.wait(), seconds)
        return self.disarm()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(LOOPBACK, self.upstream, limit=_CHUNK)
        except OSError:
            _reset(client)
            return
        link = _Link(client, server)
        self._links.add(link)
        ways = (
            asyncio.create_task(self._ask(link, reader)),
            asyncio.create_task(self._answer(link, answers)),
        )
        for way in ways:
            self._tasks.add(way)
            way.add_done_callback(self._tasks.discard)

    async def _ask(self, link: _Link, source: asyncio.StreamReader) -> None:
        """Carry what the client says; once it has gone, both sides are closed."""
        try:
            while chunk := await source.read(_CHUNK):
                await self._pass(chunk, link.server)
        except OSError:
            self._drop(link)
        finally:
            self._links.discard(link)
            link.server.close()
            link.client.close()

    async def _answer(self, link: _Link, source: asyncio.StreamReader) -> None:
        """Carry what the server says, but for what is to be swallowed."""
        sieve = self.sieve()
        try:
            while chunk := await source.read(_CHUNK):
                passed, is_found = sieve.pass_on(chunk, is_armed=self._is_armed)
                await self._pass(passed, link.client)
                if is_found and not self._goes_on(link):
                    return
            link.client.close()
        except OSError:
            self._drop(link)

    async def _pass(self, chunk: bytes, target: asyncio.StreamWriter) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._light.wait()
        target.write(chunk)
        await target.drain()

    def _goes_on(self, link: _Link) -> bool:
        self._is_armed = False
        self.swallowed += 1
        self._taken.set()
        if self._then is Then.CUT:
            self._drop(link)
        return self._then is Then.GO_ON

    def _drop(self, link: _Link) -> None:
        self._links.discard(link)
        _reset(link.client)
        _reset(link.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
