"""This module is where free TCP ports on the loopback interface are found."""

import contextlib
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


def listen_anywhere(preferred: int | None = None, backlog: int = 4096) -> socket.socket:
    """
    Bind a listening socket, on `preferred` if it is still free, else on a port chosen at random.

    It is not let go in between: a child that is just being started may have inherited it, and keeps
    the port until it has become another program.
    """
    wanted = [] if preferred is None else [preferred]
    for port in (*wanted, *random.sample(CANDIDATES, 200)):
        with contextlib.suppress(OSError):
            return listen(port, backlog)
    raise OSError("no free TCP port on 127.0.0.1")


def free_port(preferred: int | None = None) -> int:
    """Return a port that was free a moment ago, for who listens by themselves."""
    with listen_anywhere(preferred, 1) as listener:
        port: int = listener.getsockname()[1]
    return port
