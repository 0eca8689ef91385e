"""This module is where the worker is started as the process that it is, to be stopped or killed."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from wallet_common.topology import Topology
from wallet_tools import environment
from wallet_tools.rabbitmq import RabbitServer
from wallet_worker import topology as declared

# What a supervisor grants before it uses force.
PATIENCE_S = 10


class Process:
    """A worker process of its own, with its output and its heartbeat file."""

    def __init__(
        self, folder: Path, database_url: str, broker_url: str | None, topology: Topology
    ) -> None:
        self.heartbeat = folder / "heartbeat"
        self.output = folder / "output"
        self.log = folder / "worker.log"
        settings = environment.of_service(database_url, broker_url, str(folder)) | {
            "WALLET_HEARTBEAT_FILE": str(self.heartbeat),
            "RABBITMQ_EXCHANGE": topology.exchange,
            "RABBITMQ_DLX": topology.dead_letter_exchange,
            "AUTH_EXCHANGE": topology.auth_exchange,
            "TRANSACTION_EXCHANGE": topology.transaction_exchange,
            "WALLET_USER_QUEUE": topology.user_queue,
            "WALLET_UPDATE_QUEUE": topology.update_queue,
            "WALLET_REVERT_QUEUE": topology.revert_queue,
        }
        with self.output.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "wallet_worker.main"],
                env=settings,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Return what it said; whatever is no JSON object is an error here."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def has_said(self, event: str) -> bool:
        assert self._popen.poll() is None, self.output.read_text()
        return any(line["event"] == event for line in self.lines())

    def last_beat(self) -> float:
        return self.heartbeat.stat().st_mtime if self.heartbeat.exists() else 0.0

    def cpu_s(self) -> float:
        """Return how long it has kept a core busy."""
        user, system = Path(f"/proc/{self._popen.pid}/stat").read_text().split()[13:15]
        return (int(user) + int(system)) / 100

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    async def stop(self) -> int:
        self.send(signal.SIGTERM)
        return await asyncio.to_thread(self._popen.wait, PATIENCE_S)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()


class Tap:
    """A queue of a stranger's, on a connection of his own."""

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._topology = topology
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self.heard: list[AbstractIncomingMessage] = []

    async def listen(self) -> None:
        """Hear everything that is published from now on."""
        self._connection = await aio_pika.connect(self._url)
        channel = await self._connection.channel()
        await declared.declare(channel, self._topology)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(self._topology.exchange, "#")

        async def hear(message: AbstractIncomingMessage) -> None:
            self.heard.append(message)

        await queue.consume(hear, no_ack=True)

    async def queue(self, name: str) -> AbstractQueue:
        """Return a look at a queue as it is now."""
        assert self._connection is not None
        return await (await self._connection.channel()).declare_queue(name, passive=True)

    async def depth(self, name: str) -> int:
        assert self._connection is not None
        async with self._connection.channel() as channel:
            found = await channel.declare_queue(name, passive=True)
            return found.declaration_result.message_count or 0

    async def publish(self, body: bytes) -> None:
        assert self._connection is not None
        async with self._connection.channel() as channel:
            await (await channel.get_exchange(self._topology.exchange)).publish(
                aio_pika.Message(body, delivery_mode=2), "FundsDeposited"
            )

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


@pytest.fixture
def start(
    tmp_path: Path, database_url: str, topology: Topology
) -> Iterator[Callable[..., Process]]:
    """Yield the way to start a worker; those that still run at the end are killed."""
    processes: list[Process] = []

    def build(broker_url: str | None = None, database_url: str = database_url) -> Process:
        folder = tmp_path / str(len(processes))
        folder.mkdir()
        processes.append(Process(folder, database_url, broker_url, topology))
        return processes[-1]

    yield build
    for process in processes:
        process.kill()


@pytest.fixture
async def tap(broker: RabbitServer, topology: Topology) -> AsyncIterator[Tap]:
    """Yield a stranger who hears everything that is published."""
    tap = Tap(broker.url, topology)
    await tap.listen()
    yield tap
    await tap.close()
