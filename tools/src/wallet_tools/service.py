"""This module is where API and worker are started as children of the supervisor."""

import contextlib
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


@dataclass(slots=True)
class Service:
    """One process of the API or the worker; those of the API share one listening socket."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    listener: socket.socket | None
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
        return self.process

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
