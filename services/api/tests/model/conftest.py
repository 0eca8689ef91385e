"""This module is where the model's tests get API processes that may die, and their books."""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from wallet_db_orm.database import Database
from wallet_db_orm.verify import verify
from wallet_tools.postgres import PostgresServer

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


class Twins:
    """Two API processes: one is asked, the other takes over when that one is killed."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._pool = ThreadPoolExecutor(1)
        self._next: Future[tuple[subprocess.Popen[bytes], str]] = self._pool.submit(start)
        self.deaths = 0
        self.examples = 0
        self._take_over()

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._client.post(path, json=body)

    def read(self, path: str) -> Any:  # noqa: ANN401  # JSON
        return self._client.get(path).raise_for_status().json()

    def die_amid(self, path: str, body: dict[str, Any], *, waits: bool) -> None:
        """Send a request and kill who has it: at once, or when there is a first word of answer."""
        address = self._client.base_url
        assert address.port is not None
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address.host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        with socket.create_connection((address.host, address.port), 10) as wire:
            wire.sendall(head.encode() + content)
            if waits:
                assert wire.recv(1)
            self._process.kill()
            self._process.wait()
        self.deaths += 1
        self._client.close()
        self._take_over()

    def close(self) -> None:
        self._client.close()
        self._pool.shutdown()

    def _take_over(self) -> None:
        self._process, url = self._next.result()
        self._client = httpx.Client(base_url=url, timeout=30)
        self._next = self._pool.submit(self._start)


class Books:
    """The database behind them, seen by somebody who may do anything."""

    def __init__(self, url: str, server: PostgresServer) -> None:
        self._runner = asyncio.Runner()
        self._server = server
        self._name = urlsplit(url).path.lstrip("/")
        self._database = Database(url, application_name="model", pool_size=2)
        self._connection: asyncpg.Connection = self._runner.run(
            asyncpg.connect(server.url(self._name))
        )

    def wallets(self, prefix: str) -> dict[str, tuple[int, str, int]]:
        """Return balance, status and version of those whose id begins so."""
        sql = "SELECT id, balance_minor, status, version FROM wallets WHERE starts_with(id, $1)"
        rows = self._runner.run(self._connection.fetch(sql, prefix))
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def violations(self) -> list[str]:
        report = self._runner.run(verify(self._database.primary))
        return [f"{each.id} {each.violations}" for each in report.invariants if each.violations]

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.run(self._database.dispose())
        self._runner.close()


@pytest.fixture
def twins(start_api: Start) -> Iterator[Twins]:
    """Yield the processes."""
    twins = Twins(start_api)
    yield twins
    twins.close()


@pytest.fixture
def ledger(database_url: str, postgres_server: PostgresServer) -> Iterator[Books]:
    """Yield the books that the processes share."""
    books = Books(database_url, postgres_server)
    yield books
    books.close()
