"""This module is where tests get their servers: private, started once, gone at the end."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wallet_db_orm import migrations
from wallet_tools import environment
from wallet_tools.postgres import PostgresServer, ServerFailed
from wallet_tools.processes import wait_until
from wallet_tools.rabbitmq import RabbitServer, find_server

OWNER = "wallet"
TEMPLATE = "wallet_template"
NOT_RUN = pytest.StashKey[list[str]]()
_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the tests aside that need a broker when there is none; nothing is skipped in silence."""
    if find_server() is not None and not environment.refuses_broker():
        return
    aside = [item for item in items if item.get_closest_marker("broker")]
    items[:] = [item for item in items if not item.get_closest_marker("broker")]
    config.stash[NOT_RUN] = [item.nodeid for item in aside]
    if aside:
        config.hook.pytest_deselected(items=aside)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # On CI a promise that was not looked at is a failure.
    if session.config.stash.get(NOT_RUN, []) and environment.is_ci():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    names = config.stash.get(NOT_RUN, [])
    if names:
        terminalreporter.section("not run (no RabbitMQ)", red=environment.is_ci(), yellow=True)
        for name in names:
            terminalreporter.line(f"not run (no RabbitMQ): {name}")


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Yield a folder for servers; not pytest's own, which an ordinary user could not enter."""
    with tempfile.TemporaryDirectory(prefix="wallet-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """Yield this session's PostgreSQL, as durable and as tuned as the stack's."""
    server = PostgresServer(server_folder / "postgres", server_folder / "postgres.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_server: PostgresServer) -> str:
    """Return the name of a database at the newest revision, to be copied and never used."""
    postgres_server.ensure_database(TEMPLATE, OWNER)
    migrations.upgrade(_driver_url(postgres_server, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: PostgresServer, template_database: str) -> Iterator[str]:
    """Yield the URL of a migrated, empty database that belongs to this test alone."""
    name = f"test_{next(_numbers)}"
    command = (
        f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template_database} STRATEGY FILE_COPY"
    )
    assert wait_until(lambda: _succeeds(postgres_server, command), 10), "the template is in use"
    yield _driver_url(postgres_server, name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the URL of a database without any table, for tests of the migrations themselves."""
    name = f"test_{next(_numbers)}"
    postgres_server.ensure_database(name, OWNER)
    yield _driver_url(postgres_server, name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def broker_server(server_folder: Path) -> Iterator[RabbitServer]:
    """Yield this session's RabbitMQ, started for the first test that asks."""
    script = find_server()
    assert script is not None, "a test that needs the broker bears the mark `broker`"
    server = RabbitServer(server_folder / "rabbitmq", server_folder / "rabbitmq.log", script)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def broker(broker_server: RabbitServer) -> RabbitServer:
    """Return the broker, running: a test before this one may have killed it."""
    if not broker_server.is_running:
        broker_server.start()
    return broker_server


def _driver_url(server: PostgresServer, database: str) -> str:
    url = server.url(database, OWNER)
    return environment.addresses(url, None)["WALLET_DATABASE_URL"]


def _succeeds(server: PostgresServer, sql: str) -> bool:
    """Whether the statement went through; a template that somebody still leaves is in use."""
    try:
        server.execute(sql)
    except ServerFailed as error:
        if "being accessed by other users" in str(error):
            return False
        raise
    return True
