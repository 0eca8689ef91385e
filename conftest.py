"""This module is where tests get their servers: private, started once, gone at the end."""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wallet_db_orm import migrations, roles
from wallet_tools import environment, stack
from wallet_tools.postgres import PostgresServer, ServerFailed
from wallet_tools.processes import MARK, Ownership, wait_until
from wallet_tools.rabbitmq import RabbitServer, find_server
from wallet_tools.state import StateFolder

OWNER = roles.OWNER
TEMPLATE = "wallet_template"
FOLDER_PREFIX = "wallet-tests-"
NOT_RUN = pytest.StashKey[list[str]]()
_numbers = itertools.count(1)


def pytest_configure() -> None:
    # Ended by SIGTERM, a session stops its servers as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the tests aside that need a broker when there is none; nothing is skipped in silence."""
    if find_server() is not None and not environment.refuses_broker():
        return
    aside = [item for item in items if item.get_closest_marker("broker")]
    items[:] = [item for item in items if not item.get_closest_marker("broker")]
    config.stash[NOT_RUN] = [item.nodeid for item in aside]
    if aside:
        config.hook.pytest_deselected(items=aside)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401  # xdist has no public type for it
    """Take over what a process that ran a share of the tests has set aside; each sets all aside."""
    node.config.stash[NOT_RUN] = getattr(node, "workeroutput", {}).get("not_run", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    aside = session.config.stash.get(NOT_RUN, [])
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = aside
    # On CI a promise that was not looked at is a failure.
    elif aside and environment.is_ci():
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
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        _end_killed_session(left)
    prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _end_killed_session(folder: Path) -> None:
    """End the servers of a session that was killed before it could; a living one is left alone."""
    pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
    if Path(f"/proc/{pid}").exists() or folder.stat().st_uid != os.geteuid():
        return
    for each in folder.iterdir():
        stack.down(StateFolder(each))
    Ownership(folder.name, folder / "postgres" / "data").end_all()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """Yield this session's PostgreSQL, as durable and as tuned as the stack's."""
    marks = {MARK: server_folder.name}
    server = PostgresServer(server_folder / "postgres", server_folder / "postgres.log", marks)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_server: PostgresServer) -> str:
    """Return the name of a database at the newest revision, to be copied and never used."""
    postgres_server.ensure_database(TEMPLATE)
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
    postgres_server.ensure_database(name)
    yield _driver_url(postgres_server, name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def broker_server(server_folder: Path) -> Iterator[RabbitServer]:
    """Yield this session's RabbitMQ, started for the first test that asks."""
    script = find_server()
    assert script is not None, "a test that needs the broker bears the mark `broker`"
    marks, log = {MARK: server_folder.name}, server_folder / "rabbitmq.log"
    server = RabbitServer(server_folder / "rabbitmq", log, script, marks)
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
