"""Promises about a listening socket that processes share: each gets its part, none is lost."""

import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import wallet_api.turns
from wallet_api.turns import Turns

CONNECTIONS = 40
# A process that takes what it gets and, asked, tells how much that was.
SERVER = """
import asyncio, socket, sys
import uvloop
from wallet_api.turns import Turns

async def main():
    taken = []
    class Counted(asyncio.Protocol):
        def connection_made(self, transport):
            taken.append(transport)
            transport.write(b"!")
    turns = Turns(socket.socket(fileno=int(sys.argv[1])), Counted)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    turns.close()
    await turns.wait_closed()
    print(len(taken), flush=True)

uvloop.run(main())
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as server:
        yield server


class Hello(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"!")
        transport.close()


def test_a_pool_that_connects_at_once_is_shared(listening: socket.socket) -> None:
    """Forty connections to two idle processes: neither gets fewer than ten, each is served."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"

    pool = [socket.create_connection(listening.getsockname(), 30) for _ in range(CONNECTIONS)]
    assert [each.recv(1) for each in pool] == [b"!"] * CONNECTIONS

    counts = [int(each.communicate("\n", timeout=30)[0]) for each in processes]
    assert sum(counts) == CONNECTIONS
    assert min(counts) >= CONNECTIONS // 4
    for connection in pool:
        connection.close()


async def test_the_next_connection_is_left_to_others_for_a_turn(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three that wait one is taken; whoever else listens finds the other two."""
    monkeypatch.setattr(wallet_api.turns, "_TURN_S", 60.0)
    pool = [await asyncio.open_connection(*listening.getsockname()) for _ in range(3)]
    turns = Turns(listening, Hello)

    assert await pool[0][0].read() == b"!"

    for _ in pool[1:]:
        other, _ = listening.accept()
        other.close()
    turns.close()
    for _, writer in pool:
        writer.close()


async def test_what_comes_after_the_end_is_left_to_others(listening: socket.socket) -> None:
    """A closed one takes nothing more; the next finds it in the socket's own queue."""
    first = Turns(listening, Hello)
    first.close()
    await first.wait_closed()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    second = Turns(listening, Hello)

    assert await reader.read() == b"!"

    writer.close()
    second.close()


async def test_without_a_descriptor_a_connection_waits_for_one(listening: socket.socket) -> None:
    """While none can be opened the process goes on; who waits is served when there is one."""
    turns = Turns(listening, Hello)
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    assert await reader.read() == b"!"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        client.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
        try:
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
            refused = asyncio.create_task(asyncio.get_running_loop().sock_recv(client, 1))
            done, _ = await asyncio.wait([refused], timeout=0.2)
            assert not done
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert await refused == b"!"
    writer.close()
    turns.close()
