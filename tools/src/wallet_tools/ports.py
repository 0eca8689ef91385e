"""This module is where free TCP ports on the loopback interface are found."""

import random
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# Below Linux' range for outgoing connections (from 32768): otherwise, while a server restarts,
# a client that keeps trying may get the server's own port as its local one, and connect to itself.
CANDIDATES: Final = range(15_000, 32_000)


def listen(port: int, backlog: int = 4096) -> socket.socket:
    """
    Bind a listening socket.

    Raises:
        OSError: the port belongs to somebody else.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, port))
        server.listen(backlog)
    except OSError:
        server.close()
        raise
    return server


def is_free(port: int) -> bool:
    try:
        listen(port, 1).close()
    except OSError:
        return False
    return True


def free_port(preferred: int | None = None) -> int:
    """Return `preferred` if it is still free, else a free one chosen at random."""
    if preferred is not None and is_free(preferred):
        return preferred
    for port in random.sample(CANDIDATES, 200):
        if is_free(port):
            return port
    raise OSError("no free TCP port on 127.0.0.1")
