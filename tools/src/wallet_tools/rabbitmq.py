"""This module is where a private RabbitMQ runs from the binaries of the system's package."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wallet_tools import environment
from wallet_tools.ports import LOOPBACK, free_port
from wallet_tools.postgres import ServerFailed
from wallet_tools.processes import wait_until
from wallet_tools.state import appended, recall, remember, tail, write_private

INSTALL_FOLDERS: Final = ("/usr/lib/rabbitmq/lib", "/usr/local/lib/rabbitmq/lib", "/opt")
NODE: Final = "wallet@localhost"
# The last one keeps a promise that RabbitMQ before 4 breaks: which log belongs to which quorum
# queue is written about a second after the queue is declared, and after a kill in between the
# queue never works again. Writing it every 100 ms shrinks that second. (No spaces: a shell splits.)
ERLANG_ARGUMENTS: Final = (
    "+S 2:2",
    # Its schedulers sleep instead of spinning: the cores are shared with everything else.
    "+sbwt none +sbwtdcpu none +sbwtdio none",
    "-kernel inet_dist_use_interface {127,0,0,1}",
    "-eval F=fun(G)->[dets:sync(T)||T<-dets:all()],timer:sleep(100),G(G)end,spawn(fun()->F(F)end)",
)
CONFIGURATION: Final = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
log.console = true
log.file = false
"""


def find_server() -> Path | None:
    """Return the newest installed server that can be run here, past the system's own wrapper."""
    scripts = [
        script
        for folder in INSTALL_FOLDERS
        for script in Path(folder).glob("rabbitmq_server-*/sbin/rabbitmq-server")
        if os.access(script, os.R_OK | os.X_OK)
    ]
    if not scripts or shutil.which("erl") is None:
        return None
    return max(scripts, key=_version)


def _version(script: Path) -> list[int]:
    digits = script.parents[1].name.rpartition("-")[2].split(".")
    return [int(part) if part.isdigit() else 0 for part in digits]


@dataclass(slots=True)
class RabbitServer:
    """
    A broker of our own: its folder, its ports, its user, its Erlang cookie, its name service.

    The process is the Erlang machine itself (beam.smp): whoever kills it has killed the broker.
    """

    home: Path
    log: Path
    script: Path
    marks: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _names: subprocess.Popen[bytes] | None = None
    _is_announced: bool = False

    @property
    def port(self) -> int:
        return int(recall(self._memory)["port"])

    @property
    def url(self) -> str:
        memory = recall(self._memory)
        return f"amqp://{memory['user']}:{memory['password']}@{LOOPBACK}:{memory['port']}/"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, timeout: float = 60.0) -> None:
        self.launch()
        self.wait_until_ready(timeout)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the broker in the foreground of its own session; it answers seconds later."""
        self.configure()
        variables = self._environment()
        with appended(self.log) as log:
            self._launch_names(variables, log.fileno())
            self.process = subprocess.Popen(
                [str(self.script)],
                env=variables,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """
        Wait until our user can log in: another broker may have taken the port.

        Raises:
            ServerFailed: it could not, in time.
        """
        if not wait_until(self._lets_us_in, timeout, pause=0.1):
            raise ServerFailed(f"RabbitMQ does not answer:\n{tail(self.log)}")
        self._is_announced = True

    def stop(self, timeout: float = 20.0) -> None:
        """Shut down in order, then by force; the name service goes last."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout)
        if self._names is not None:
            self._names.kill()
            self._names.wait()

    def kill(self) -> None:
        """Kill the broker, as a failing machine would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def control(self, *arguments: str, timeout: float = 60.0) -> bool:
        """Have rabbitmqctl do something; return whether the broker did it in time."""
        try:
            done = subprocess.run(
                [str(self.script.with_name("rabbitmqctl")), "-q", "-n", NODE, *arguments],
                env=self._environment(),
                cwd=self.home,
                capture_output=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    @property
    def _memory(self) -> Path:
        return self.home / "server.json"

    def configure(self) -> None:
        """Choose ports and a user where there are none yet, so that `url` is known."""
        self.home.mkdir(parents=True, exist_ok=True)
        memory = {"user": "wallet", "password": secrets.token_urlsafe(24), **recall(self._memory)}
        if not self._is_announced:
            for name in ("port", "distribution_port", "names_port"):
                memory[name] = free_port(memory.get(name))
        remember(self._memory, **memory)
        text = CONFIGURATION.format(
            host=LOOPBACK, port=memory["port"], user=memory["user"], password=memory["password"]
        )
        write_private(self.home / "rabbitmq.conf", text)
        (self.home / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        home, memory = self.home.resolve(), recall(self._memory)
        return (
            environment.system()
            | dict(self.marks)
            | {
                "HOME": str(home),  # The Erlang cookie lives here.
                "RABBITMQ_NODENAME": NODE,
                "RABBITMQ_BASE": str(home),
                "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
                "RABBITMQ_LOG_BASE": str(home),
                "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
                "RABBITMQ_CONF_ENV_FILE": str(home / "environment.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
                "RABBITMQ_DIST_PORT": str(memory["distribution_port"]),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(ERLANG_ARGUMENTS),
                "ERL_EPMD_ADDRESS": LOOPBACK,
                "ERL_EPMD_PORT": str(memory["names_port"]),
                "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
                # Makes the script execute the Erlang machine in place, so that its pid is ours.
                "RUNNING_UNDER_SYSTEMD": "true",
            }
        )

    def _launch_names(self, variables: Mapping[str, str], log: int) -> None:
        # Left to itself the broker starts epmd as a daemon that outlives it.
        program = shutil.which("epmd")
        if program is None or (self._names is not None and self._names.poll() is None):
            return
        self._names = subprocess.Popen(
            [program, "-port", variables["ERL_EPMD_PORT"], "-address", LOOPBACK],
            env=dict(variables),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _lets_us_in(self) -> bool:
        if self.process is None:  # It is still being launched, by a thread.
            return False
        memory = recall(self._memory)
        try:
            return accepts_login(memory["port"], memory["user"], memory["password"])
        except OSError:
            return False


def accepts_login(port: int, user: str, password: str) -> bool:
    """Whether an AMQP 0-9-1 server at `port` takes this login, asked with four frames."""
    credentials = f"\0{user}\0{password}".encode()
    answer = (
        struct.pack(">HHI", 10, 11, 0)  # Connection.Start-Ok without client properties.
        + b"\x05PLAIN"
        + struct.pack(">I", len(credentials))
        + credentials
        + b"\x05en_US"
    )
    with (
        socket.create_connection((LOOPBACK, port), timeout=5) as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        connection.sendall(b"AMQP\0\0\x09\x01")
        if _method(connection) != (10, 10):  # Connection.Start
            return False
        connection.sendall(struct.pack(">BHI", 1, 0, len(answer)) + answer + b"\xce")
        return _method(connection) == (10, 30)  # Connection.Tune
    return False


def _method(connection: socket.socket) -> tuple[int, int] | None:
    with connection.makefile("rb", buffering=0) as stream:
        head = _exactly(stream, 7)
        if len(head) < 7:
            return None
        kind, _, size = struct.unpack(">BHI", head)
        payload = _exactly(stream, size + 1)
    if kind != 1 or len(payload) < 4:
        return None
    class_id, method_id = struct.unpack_from(">HH", payload)
    return class_id, method_id


def _exactly(stream: socket.SocketIO, size: int) -> bytes:
    read = b""
    while len(read) < size:
        chunk = stream.read(size - len(read))
        if not chunk:
            break
        read += chunk
    return read
