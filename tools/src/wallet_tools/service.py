"""This module is where API and worker are started as children of the supervisor."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wallet_tools.state import appended

# Longer than the services' own limit for a request that is under way.
GRACE_SECONDS: Final = 12.0
_NICENESS: Final = 5


@dataclass(slots=True)
class Service:
    """
    One process of the API or the worker; those of the API share one listening socket.

    One that `gives_way` has less of a claim to a processor than the others.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    listener: socket.socket | None
    gives_way: bool = False
    process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        variables = dict(self.environment)
        descriptors: tuple[int, ...] = ()
        if self.listener is not None:
            descriptors = (self.listener.fileno(),)
            variables["WALLET_LISTEN_FD"] = str(self.listener.fileno())
        with appended(self.log) as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=descriptors,
            )
        if self.gives_way:
            _give_way(self.process.pid)
        return self.process

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)


def _give_way(pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    # Where sessions are scheduled as groups, only the niceness of the group counts between them.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(f"{_NICENESS}\n", "ascii")
