"""
This module is where the broker is reached to publish, and where it is bounded how long anybody
waits for it when it is silent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq import Channel

from wallet_common.topology import Topology
from wallet_worker import topology as declared

CONNECT_TIMEOUT_S: Final = 5.0
# Opening a channel and declaring everything; the broker may be busy starting.
DECLARE_TIMEOUT_S: Final = 15.0
CONFIRM_TIMEOUT_S: Final = 5.0
_GOODBYE_TIMEOUT_S: Final = 2.0
_HEARTBEAT_S: Final = 5

# Declares on a channel of its own, which may be closed by it.
Declare = Callable[[aio_pika.abc.AbstractChannel, Topology], Awaitable[None]]


def watched(url: str) -> str:
    """Return `url` with a heartbeat that notices a dead peer within twenty seconds."""
    if "heartbeat=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}heartbeat={_HEARTBEAT_S}"


async def leave(connection: AbstractConnection) -> None:
    """Close the connection; one that does not answer is left to its heartbeat."""
    with suppress(Exception):
        async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
            await connection.close()


class Outlet:
    """
    A channel to publish through, on a connection of its own.

    A broker that is short of memory or disk stops reading from those who publish: whoever
    consumes, and so makes room, must not be among them.
    """

    def __init__(self, url: str, topology: Topology, declare: Declare = declared.declare) -> None:
        self._url = watched(url)
        self._topology = topology
        self._declare = declare
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None

    async def channel(self) -> Channel:
        """
        Return the channel, which confirms and raises on returns; opened when there is none.

        Raises whatever keeps it from being opened, and everything from being declared.
        """
        async with self._opening:
            if self._channel is None:
                self._channel = await self._open()
            return self._channel

    async def restore(self) -> None:
        """Declare again what somebody may have deleted; raises as `channel` does."""
        channel = await self.channel()
        try:
            async with asyncio.timeout(DECLARE_TIMEOUT_S), self._held().channel() as another:
                await self._declare(another, self._topology)
        except BaseException:
            await self.close(channel)
            raise

    async def close(self, broken: Channel | None = None) -> None:
        """Let go of the connection; if it is because of a `broken` channel, of no later one."""
        if broken is not None and broken is not self._channel:
            return
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await leave(connection)

    def _held(self) -> AbstractConnection:
        if self._connection is None:
            raise ConnectionError("somebody else found it broken")
        return self._connection

    async def _open(self) -> Channel:
        connection = await aio_pika.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        try:
            async with asyncio.timeout(DECLARE_TIMEOUT_S):
                # Before anything is published: what nobody declared yet would be unroutable.
                async with connection.channel() as another:
                    await self._declare(another, self._topology)
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                opened = await channel.get_underlay_channel()
                assert isinstance(opened, Channel), "the client library has one kind"
        except BaseException:
            await leave(connection)
            raise
        self._connection = connection
        return opened
