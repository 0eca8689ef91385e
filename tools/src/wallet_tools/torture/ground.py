"""This module is where the private stack of a run stands: servers, services, and wires between."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import asyncpg
import httpx

from wallet_db_orm import roles
from wallet_tools import environment
from wallet_tools.ports import LOOPBACK, listen_anywhere
from wallet_tools.postgres import PostgresServer
from wallet_tools.rabbitmq import RabbitServer, accepts_login, find_server
from wallet_tools.service import Service
from wallet_tools.state import StateFolder
from wallet_tools.torture import outside
from wallet_tools.torture.gear import Clocks, SmallDisk
from wallet_tools.torture.parts import Part
from wallet_tools.torture.proxy import Wire
from wallet_tools.torture.quick import AWAY
from wallet_tools.torture.streams import CommitSieve, ConfirmSieve

DATABASE: Final = "wallet"
_ROLES: Final = {"api": roles.API, "worker": roles.WORKER}
APIS: Final = ("api 1", "api 2")
WORKERS: Final = ("worker 1", "worker 2")
_COMMANDS: Final = {"api": ("-m", "wallet_api.main"), "worker": ("-m", "wallet_worker.main")}
_READY_S: Final = 90.0


class TortureFailed(Exception):
    """The run could not be carried out; the message says why and what to do."""


@dataclass(slots=True)
class Ground:
    """
    Two API processes and two workers, each with wires of its own to PostgreSQL and RabbitMQ.

    Each API process listens on a port of its own, so a client knows whom it asks; the sockets are
    ours and outlive the processes. The harness itself reaches the servers directly.
    """

    state: StateFolder
    clocks: Clocks | None = None
    disk: SmallDisk | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    to_postgres: dict[str, Wire] = field(default_factory=dict)
    to_rabbitmq: dict[str, Wire] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    # Nobody is waited for on a connection that an earlier process had.
    _http: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=3, headers={"Connection": "close"})
    )
    _lock: IO[str] | None = None
    _servers: tuple[PostgresServer, RabbitServer] | None = None

    @property
    def postgres(self) -> PostgresServer:
        assert self._servers is not None, "the ground is prepared"
        return self._servers[0]

    @property
    def rabbitmq(self) -> RabbitServer:
        assert self._servers is not None, "the ground is prepared"
        return self._servers[1]

    @property
    def admin_url(self) -> str:
        """The database's URL for a superuser, past every wire."""
        return self.postgres.url(DATABASE)

    @property
    def owner_url(self) -> str:
        """The database's URL for its owner, past every wire, as the product spells it."""
        direct = self.postgres.url(DATABASE, roles.OWNER)
        return environment.addresses(direct, None)["WALLET_DATABASE_URL"]

    def api_url(self, number: int) -> str:
        """Return where API process 0 or 1 is asked."""
        return f"http://{LOOPBACK}:{self.ports[APIS[number]]}"

    def of_kind(self, kind: str) -> list[Part]:
        return [part for part in self.parts.values() if part.kind == kind]

    def prepare(self) -> None:
        """
        Take the folder and start both servers, migrated; blocking.

        Raises:
            TortureFailed: no broker is installed, or the folder is another's.
        """
        script = find_server()
        if script is None:
            raise TortureFailed("RabbitMQ is not installed; as root: tools/dev setup")
        self._take_folder()
        self.state.ensure_master_key()
        marks, logs = self.state.ownership().environment(), self.state.logs
        postgres = PostgresServer(self.state.postgres, logs / "postgres.log", marks)
        rabbitmq = RabbitServer(self.state.rabbitmq, logs / "rabbitmq.log", script, marks)
        rabbitmq.configure()
        self._servers = (postgres, rabbitmq)
        self._keep("postgres", "postgres", postgres.launch, postgres.stop)
        self._keep("rabbitmq", "rabbitmq", rabbitmq.launch, rabbitmq.stop)
        postgres.wait_until_ready(_READY_S)
        postgres.ensure_database(DATABASE)
        migrate = [sys.executable, "-m", "wallet_tools.cli", "migrate"]
        with (logs / "migrate.out").open("ab") as out:
            done = subprocess.run(
                migrate, env=self._environment(None), check=False, stdout=out, stderr=out
            )
        if done.returncode:
            raise TortureFailed(f"the migrations failed; see {logs / 'migrate.out'}")
        rabbitmq.wait_until_ready(_READY_S)

    async def populate(self) -> None:
        """Lay the wires and start API and worker processes; returns when the APIs are ready."""
        for name in (*APIS, *WORKERS):
            database, broker = self.postgres.port, self.rabbitmq.port
            self.to_postgres[name] = Wire(name, database, CommitSieve)
            self.to_rabbitmq[name] = Wire(name, broker, ConfirmSieve)
            await self.to_postgres[name].open()
            await self.to_rabbitmq[name].open()
            self._keep_service(name)
        if not await self.becomes_whole(_READY_S):
            raise TortureFailed(f"the stack is not ready; see {self.state.logs}")

    async def becomes_whole(self, seconds: float) -> bool:
        """Wait until both servers and both APIs answer; return whether they do in time."""
        deadline = time.monotonic() + seconds
        while not await self.is_whole():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    async def is_whole(self) -> bool:
        """Whether every server and every API answers, and finds its database."""
        apis = await asyncio.gather(*(self.answers(name, "/readyz") for name in APIS))
        return all(apis) and await self.postgres_answers() and await self.rabbitmq_answers()

    async def answers(self, name: str, path: str) -> bool:
        """Whether an API process answers 200: it lives (/healthz), it can serve (/readyz)."""
        url = f"http://{LOOPBACK}:{self.ports[name]}{path}"
        with contextlib.suppress(httpx.HTTPError):
            return (await self._http.get(url)).status_code == 200
        return False

    async def postgres_answers(self) -> bool:
        with contextlib.suppress(*AWAY):
            connection = await asyncpg.connect(self.admin_url, timeout=2)
            await connection.close(timeout=2)
            return True
        return False

    async def rabbitmq_answers(self) -> bool:
        url = urlsplit(self.rabbitmq.url)
        with contextlib.suppress(OSError):
            return await asyncio.to_thread(
                accepts_login, url.port or 0, url.username or "", url.password or ""
            )
        return False

    async def close(self) -> None:
        """Stop everything in its order, and let go of the folder."""
        services = [part for part in self.parts.values() if part.kind in _COMMANDS]
        servers = [part for part in self.parts.values() if part.kind not in _COMMANDS]
        for group in (services, servers):
            await asyncio.gather(*(asyncio.to_thread(part.stop) for part in group))
        for wire in (*self.to_postgres.values(), *self.to_rabbitmq.values()):
            await wire.close()
        await self._http.aclose()
        if self.disk is not None:
            self.disk.unmount()
        self.state.ownership().end_all()
        if self._lock is not None:
            self._lock.close()

    def _take_folder(self) -> None:
        folder = self.state.path
        if folder.exists() and not self.state.is_ours and any(folder.iterdir()):
            raise TortureFailed(f"{folder} is not empty and no stack's; give --state a new folder")
        self.state.create()
        self._lock = self.state.lock()
        if self._lock is None:
            raise TortureFailed(f"a stack is running at {folder}; give --state another folder")
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        self.state.ownership().end_all()
        SmallDisk(self.service_logs).unmount()
        for name in ("postgres", "rabbitmq", "logs"):
            subprocess.run(["rm", "-rf", "--one-file-system", str(folder / name)], check=True)
        for left in folder.glob("*.jsonl"):
            left.unlink()
        self.state.create()
        self.service_logs.mkdir()
        if self.disk is not None:
            self.disk.mount()

    @property
    def service_logs(self) -> Path:
        return self.state.logs / "services"

    def _keep_service(self, name: str) -> None:
        kind = name.partition(" ")[0]
        variables = self._environment(name)
        if self.clocks is not None:
            variables |= self.clocks.environment(name)
        listener = listen_anywhere() if kind == "api" else None
        if listener is not None:
            self.ports[name] = listener.getsockname()[1]
        log = self.state.logs / f"{name.replace(' ', '-')}.out"
        service = Service(_COMMANDS[kind], variables, log, listener)
        self._keep(name, kind, service.launch, service.stop)

    def _environment(self, name: str | None) -> dict[str, str]:
        role = _ROLES[name.partition(" ")[0]] if name is not None else roles.OWNER
        database = self.postgres.url(DATABASE, role)
        broker = self.rabbitmq.url
        if name is not None:
            database = _at_port(database, self.to_postgres[name].port)
            broker = _at_port(broker, self.to_rabbitmq[name].port)
        secrets = environment.master_key(self.state.master_key_file)
        common = outside.without(environment.of_service(database, broker, str(self.service_logs)))
        if role == roles.WORKER:
            common |= outside.settings(self.state)
        return common | secrets | self.state.ownership().environment()

    def _keep(
        self,
        name: str,
        kind: str,
        launch: Callable[[], subprocess.Popen[bytes]],
        end: Callable[[], None],
    ) -> None:
        part = Part(name, kind, launch, end, self._note)
        self.parts[name] = part
        part.start()

    def _note(self, text: str) -> None:
        with (self.state.logs / "keepers.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{userinfo}@{LOOPBACK}:{port}").geturl()
