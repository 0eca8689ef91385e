"""This module is where the one long-running process owns a stack and keeps it running."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final, NoReturn

import msgspec

from wallet_db_orm import roles
from wallet_tools import environment
from wallet_tools.keeper import Keeper
from wallet_tools.options import API_PROCESSES, Options
from wallet_tools.ports import LOOPBACK, listen, listen_anywhere
from wallet_tools.postgres import PostgresServer, ServerFailed
from wallet_tools.processes import wait_until
from wallet_tools.rabbitmq import RabbitServer, find_server
from wallet_tools.service import Service
from wallet_tools.state import StateFolder, recall, remember, write_private

ALREADY_RUNNING: Final = 75
DATABASE: Final = "wallet"


class Supervisor:
    """
    Owns PostgreSQL, RabbitMQ, API and worker of one state folder.

    It is the only one that writes run.json. Its main thread only starts, waits for a signal
    and stops: each child has a keeper with a thread of its own, so none waits for another.
    """

    def __init__(self, state: StateFolder, options: Options) -> None:
        self.state = state
        self.options = options
        self.api_processes = options.api_processes or API_PROCESSES
        marks = state.ownership().environment()
        self.marks = marks
        self.postgres = PostgresServer(state.postgres, state.logs / "postgres.log", marks)
        self.rabbitmq = self._choose_broker()
        self.listener: socket.socket | None = None
        self.keepers: dict[str, list[Keeper]] = {}
        self.is_complete = False
        self._writing = threading.Lock()

    def run(self) -> NoReturn:
        """Start everything, keep it until a signal comes, stop everything."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._leave)
        code = 0
        try:
            self._start()
            while True:
                time.sleep(1.0)
        except (ServerFailed, OSError, subprocess.SubprocessError) as error:
            say(f"failed: {error}")
            code = 1
        except SystemExit:
            say("stopping")
        finally:
            self._stop()
        sys.exit(code)

    def _leave(self, number: int, _frame: object) -> None:
        # Stopping is not interrupted by a second signal; `down` has the means to insist.
        for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(number)

    def _start(self) -> None:
        self.state.run_file.unlink(missing_ok=True)
        left = self.state.ownership().end_all()
        if left:
            say(f"ended {left} processes that an earlier supervisor left behind")
        self.state.ensure_master_key()
        self.listener = self._listen()
        self._keep("postgres", self.postgres.launch, self.postgres.stop)
        if self.rabbitmq is not None:
            self._keep("rabbitmq", self.rabbitmq.launch, self.rabbitmq.stop)
        self.postgres.wait_until_ready(30)
        self.keepers["postgres"][0].port = self.postgres.port
        self.postgres.ensure_database(DATABASE)
        say(f"PostgreSQL is ready on port {self.postgres.port}")
        self._migrate()
        for number in range(self.api_processes):
            self._keep_service("api", number, self.options.api_command, self.listener)
        if self.rabbitmq is not None:
            self.rabbitmq.wait_until_ready(90)
            self.keepers["rabbitmq"][0].port = self.rabbitmq.port
            say(f"RabbitMQ is ready on port {self.rabbitmq.port}")
        workers = self.options.worker_processes
        for number in range(1 if workers is None else workers):
            self._keep_service("worker", number, self.options.worker_command, None)
        self.is_complete = True
        self._write()

    def _stop(self) -> None:
        """Stop the services first, so that what they still do finds its servers."""
        servers = ("postgres", "rabbitmq")
        services = [
            each for name in self.keepers if name not in servers for each in self.keepers[name]
        ]
        both = [each for name in servers for each in self.keepers.get(name, [])]
        for group in (services, both):
            if group:
                with ThreadPoolExecutor(len(group)) as pool:
                    list(pool.map(Keeper.stop, group))
        self.state.run_file.unlink(missing_ok=True)
        self.state.processes_file.unlink(missing_ok=True)
        say("stopped")

    def _choose_broker(self) -> RabbitServer | None:
        script = find_server()
        if self.options.has_broker is False or environment.refuses_broker():
            say("no RabbitMQ, as asked: events go through PostgreSQL")
        elif script is None:
            say(
                "RabbitMQ is not installed: events go through PostgreSQL"
                " (`tools/dev setup` as root installs it)"
            )
        else:
            log = self.state.logs / "rabbitmq.log"
            broker = RabbitServer(self.state.rabbitmq, log, script, self.marks)
            broker.configure()
            return broker
        return None

    def _listen(self) -> socket.socket:
        # The socket outlives every API process: while one is down, its clients wait in the queue.
        wanted, before = self.options.port, recall(self.state.memory_file).get("api_port")
        try:
            listener = listen_anywhere(before) if wanted is None else listen(wanted)
        except OSError as error:
            raise ServerFailed(f"port {wanted}: {error.strerror}; choose another --port") from error
        remember(self.state.memory_file, api_port=listener.getsockname()[1])
        return listener

    def _migrate(self) -> None:
        began = time.monotonic()
        command = [sys.executable, *self.options.migrate_command]
        variables = self._service_environment(roles.OWNER)
        if subprocess.run(command, env=variables, check=False).returncode:
            raise ServerFailed(f"the migrations failed: {' '.join(self.options.migrate_command)}")
        say(f"the schema is current ({time.monotonic() - began:.1f} s)")

    def _service_environment(self, role: str) -> dict[str, str]:
        database = self.postgres.url(DATABASE, role)
        broker = self.rabbitmq.url if self.rabbitmq else None
        secrets = environment.master_key(self.state.master_key_file)
        settings = environment.of_service(database, broker, str(self.state.logs)) | secrets
        # Processes decide and commit by turns on cores that they share: a lane each is enough.
        lanes = {} if self.api_processes == 1 else {"WALLET_LANES": "1"}
        return self.state.checkpoint_settings() | lanes | settings | self.marks

    def _keep_service(
        self, name: str, number: int, command: tuple[str, ...], listener: socket.socket | None
    ) -> None:
        log = self.state.logs / f"{name}.out"
        # What is accepted must also be told: on cores that they share the API, under more load than
        # these can bear, would leave the worker further and further behind.
        variables = self._service_environment(roles.API if name == "api" else roles.WORKER)
        service = Service(command, variables, log, listener, name == "api")
        self._keep(name, service.launch, service.stop, number)

    def _keep(
        self,
        name: str,
        launch: Callable[[], subprocess.Popen[bytes]],
        end: Callable[[], None],
        number: int = 0,
    ) -> None:
        label = name if number == 0 else f"{name} {number + 1}"
        keeper = Keeper(label, launch, end, self._write, say)
        if name == "api" and self.listener is not None:
            keeper.port = self.listener.getsockname()[1]
        self.keepers.setdefault(name, []).append(keeper)
        keeper.start()

    def _write(self) -> None:
        """Publish the pids; run.json appears when the stack is complete, not before."""
        with self._writing:
            rows = [
                {
                    "name": each.name,
                    "pid": each.pid,
                    "since": each.since,
                    "restarts": each.restarts,
                    "port": each.port,
                }
                for keepers in list(self.keepers.values())
                for each in list(keepers)
            ]
            try:
                write_private(self.state.processes_file, to_json(rows))
                if self.is_complete:
                    write_private(self.state.run_file, to_json(self._description()))
            except OSError as error:  # A full disk must not end a keeper.
                say(f"could not write run.json: {error}")

    def _description(self) -> dict[str, object]:
        assert self.listener is not None, "the listener comes before everything else"
        api = f"http://{LOOPBACK}:{self.listener.getsockname()[1]}"
        pids = {name: [each.pid for each in keepers] for name, keepers in self.keepers.items()}
        return {
            "api": api,
            "docs": f"{api}/docs",
            "database": self.postgres.url(DATABASE, roles.API),
            "database_worker": self.postgres.url(DATABASE, roles.WORKER),
            "database_owner": self.postgres.url(DATABASE, roles.OWNER),
            "database_admin": self.postgres.url(DATABASE),
            "rabbitmq": self.rabbitmq.url if self.rabbitmq else None,
            "pids": {
                "postgres": pids["postgres"][0],
                "rabbitmq": pids["rabbitmq"][0] if "rabbitmq" in pids else None,
                "api": pids.get("api", []),
                "worker": pids.get("worker", []),
                "supervisor": os.getpid(),
            },
        }


def to_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def detach(lock: IO[str]) -> None:
    """Leave the caller behind: it returns now, and its terminal is no longer ours."""
    parent = os.getpid()
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    # The parent bears our mark too: it must be gone before leftovers are looked for.
    wait_until(lambda: os.getppid() != parent, 5, pause=0.005)
    lock.write(str(os.getpid()))
    lock.flush()


def main() -> NoReturn:
    """Run as `python -m wallet_tools.supervisor STATE`, with the options as JSON on stdin."""
    state = StateFolder.at(Path(sys.argv[1]))
    options = msgspec.json.decode(sys.stdin.read(), type=Options)
    lock = state.lock()
    if lock is None:
        sys.exit(ALREADY_RUNNING)
    lock.truncate(0)
    state.run_file.unlink(missing_ok=True)
    write_private(state.options_file, to_json(options))
    detach(lock)
    Supervisor(state, options).run()


if __name__ == "__main__":
    main()
