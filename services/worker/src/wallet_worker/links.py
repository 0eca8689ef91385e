"""This module is where it is bounded how long anybody waits for a silent broker."""

import asyncio
from contextlib import suppress
from typing import Final

from aio_pika.abc import AbstractConnection

CONNECT_TIMEOUT_S: Final = 5.0
# Opening a channel and declaring everything; the broker may be busy starting.
DECLARE_TIMEOUT_S: Final = 15.0
CONFIRM_TIMEOUT_S: Final = 5.0
_GOODBYE_TIMEOUT_S: Final = 2.0
_HEARTBEAT_S: Final = 5


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
