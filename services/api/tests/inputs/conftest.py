"""This module is where the rows get one real process that asks for tokens, and its books."""

import contextlib
import itertools
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import asyncpg
import pytest

from services.api.tests.inputs.place import Place, Silence
from services.api.tests.inputs.tokens import SECRET
from wallet_db_orm import roles
from wallet_tools import environment
from wallet_tools.ports import free_port
from wallet_tools.postgres import PostgresServer
from wallet_tools.processes import wait_until

DEADLINE_S: Final = 30.0
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer, template_database: str) -> Iterator[str]:
    """Yield the name of the database that all rows share."""
    name = f"inputs_{next(_numbers)}"
    like = f"TEMPLATE {template_database} STRATEGY FILE_COPY"
    postgres_server.execute(f"CREATE DATABASE {name} OWNER {roles.OWNER} {like}")
    yield name
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def start(
    postgres_server: PostgresServer, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Place]]:
    """Yield how to start a process that asks for tokens; further settings are arguments."""
    places: list[Place] = []
    url = postgres_server.url(database, roles.API)

    def begin(**given: str) -> Place:
        port, logs = free_port(), tmp_path_factory.mktemp("logs")
        variables = {
            "WALLET_DATABASE_URL": environment.addresses(url, None)["WALLET_DATABASE_URL"],
            "WALLET_AUTH": "jwt",
            "WALLET_JWT_SECRET": SECRET,
            "WALLET_PORT": str(port),
            "LOG_DIR": str(logs),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "wallet_api.main"],
            env=environment.system() | variables | given,
            stdout=subprocess.DEVNULL,
        )
        places.append(Place(process, port, logs / "api.log"))
        assert wait_until(lambda: _listens(port), DEADLINE_S), "the API does not listen"
        return places[-1]

    yield begin
    for each in places:
        each.client.close()
        each.process.terminate()
        each.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def place(start: Callable[..., Place], postgres_server: PostgresServer, database: str) -> Place:
    """Return the process that all rows are sent to, each of which must leave it as it was."""
    place = start()
    place.furnish()
    return place


@pytest.fixture(scope="module")
def silence(place: Place) -> Iterator[Silence]:
    """Yield a client that is silent while the rows go by."""
    silence = Silence(place)
    silence.start()
    yield silence
    silence.join()


@pytest.fixture
async def ledger(
    postgres_server: PostgresServer, database: str
) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to the processes' database, past the API."""
    connection = await asyncpg.connect(postgres_server.url(database))
    yield connection
    await connection.close(timeout=5)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
