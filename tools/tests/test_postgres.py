"""This module is where the private PostgreSQL is shown to be durable, and alone with us."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from wallet_tools.ports import free_port, listen
from wallet_tools.postgres import PostgresServer, ServerFailed
from wallet_tools.processes import MARK


@pytest.fixture(scope="module")
def own_server(server_folder: Path) -> Iterator[PostgresServer]:
    """Yield a server that tests may kill."""
    server = PostgresServer(
        server_folder / "own", server_folder / "own.log", {MARK: server_folder.name}
    )
    server.start()
    server.execute("CREATE TABLE facts (fact text)")
    yield server
    server.stop()


@pytest.fixture
def server(own_server: PostgresServer) -> PostgresServer:
    if own_server.process is None or own_server.process.poll() is not None:
        own_server.start()
    return own_server


def facts(server: PostgresServer) -> list[str]:
    return server.execute("SELECT fact FROM facts ORDER BY fact").splitlines()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_setting(postgres_server: PostgresServer, setting: str, value: str) -> None:
    """A private server is durable, local and closed."""
    assert postgres_server.execute(f"SHOW {setting}") == value


def test_version(postgres_server: PostgresServer) -> None:
    """The server is PostgreSQL 18."""
    assert postgres_server.execute("SHOW server_version_num").startswith("18")


async def test_the_owner_is_no_superuser(database_url: str) -> None:
    """Tests and services work as a role with no more rights than production gives it."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))

    row = await connection.fetchrow(
        "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )

    await connection.close()
    assert tuple(row) == (False, False)


async def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    """Nobody else on this machine gets in without the password."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1", port=postgres_server.port, user="postgres", password="guess"
        )


async def test_databases_are_apart(database_url: str, empty_database_url: str) -> None:
    """Each test has its own copy of the migrated template."""
    migrated = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    empty = await asyncpg.connect(empty_database_url.replace("+asyncpg", ""))

    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

    assert await migrated.fetchval(tables) > 0
    assert await empty.fetchval(tables) == 0
    await migrated.close()
    await empty.close()


def test_what_was_committed_survives_a_kill(server: PostgresServer) -> None:
    """After kill -9 the server comes back with every committed row, at the same address."""
    server.execute("INSERT INTO facts VALUES ('survives a kill')")
    url = server.url("postgres")

    server.kill()
    server.start()

    assert "survives a kill" in facts(server)
    assert server.url("postgres") == url


def test_the_pid_is_the_postmaster(server: PostgresServer) -> None:
    """The process that is watched is the postmaster itself and no wrapper."""
    assert server.process is not None
    first_line = (server.data / "postmaster.pid").read_text().split("\n", 1)[0]
    assert int(first_line) == server.process.pid


def test_another_port_when_its_own_was_taken(server: PostgresServer) -> None:
    """A server that finds its port taken at the next start goes elsewhere, and stays itself."""
    port = server.port
    server.stop()
    taken = listen(port)

    again = PostgresServer(server.home, server.log)
    try:
        again.start()
        assert again.port != port
        assert again.execute("SHOW data_directory") == str(server.data)
    finally:
        again.stop()
        taken.close()


def test_a_stranger_with_the_old_pid(server: PostgresServer, python: str) -> None:
    """A pid in postmaster.pid that is a stranger's now neither stops the start nor is touched."""
    server.kill()
    stranger = subprocess.Popen([python, "-c", "import time; time.sleep(60)"])
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))

    server.start()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_secrets_are_ours(server: PostgresServer) -> None:
    """No password is in a command line, and only the owner may read the file that has it."""
    password = server.url("postgres").split(":")[2].split("@")[0]

    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]

    assert not any(password.encode() in line for line in command_lines)
    assert (server.home / "server.json").stat().st_mode & 0o077 == 0


def test_a_refused_statement(postgres_server: PostgresServer) -> None:
    """A statement that the server refuses raises with the server's words."""
    with pytest.raises(ServerFailed, match="does not exist"):
        postgres_server.execute("SELECT * FROM nothing")


def test_free_port() -> None:
    """A preferred port is kept while it is free, and lies outside the clients' range."""
    port = free_port()
    assert port < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert free_port(port) == port
    with listen(port):
        assert free_port(port) != port


def test_only_loopback(postgres_server: PostgresServer) -> None:
    """The server does not listen on any address that others can reach."""
    outside = socket.gethostbyname(socket.gethostname())
    if outside.startswith("127."):
        outside = "127.0.0.2"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((outside, postgres_server.port), timeout=5)
