"""This module is where processes that share a listening socket take turns at its connections."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

# So long the next connection is left to the other processes. Whoever is awake already would take
# all of a pool that connects at once, before they are.
_TURN_S: Final = 0.001
# After which it is tried again to take one where descriptors or memory are used up.
_OUT_OF_ROOM_S: Final = 1.0

log = structlog.get_logger("wallet_api")


class Turns:
    """
    Accepts one connection at a time of a socket that others accept from, too.

    Each becomes a connection of a protocol that `protocol` makes. To be closed as a server is.
    """

    def __init__(self, shared: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._shared = shared
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        shared.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Accept no more; what was accepted goes on."""
        if self._turn is not None:
            self._turn.cancel()
        self._loop.remove_reader(self._shared)

    async def wait_closed(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _watch(self) -> None:
        self._turn = None
        self._loop.add_reader(self._shared, self._take)

    def _take(self) -> None:
        try:
            connection, _ = self._shared.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # Another process was faster, or the client has gone again.
            return
        except OSError as error:
            log.warning("connections.no_room", error=str(error))
            pause_s = _OUT_OF_ROOM_S
        else:
            pause_s = _TURN_S
            connection.setblocking(False)
            served = self._loop.connect_accepted_socket(self._protocol, connection)
            task = self._loop.create_task(served)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._loop.remove_reader(self._shared)
        self._turn = self._loop.call_later(pause_s, self._watch)
