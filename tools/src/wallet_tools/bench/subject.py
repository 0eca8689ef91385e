"""This module is where a checkout's stack is started, paused, proved and stopped: the subject."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wallet_tools import environment, stack
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.processes import wait_until
from wallet_tools.state import StateFolder

_TRIES: Final = 200
_LOOK_AFTER_S: Final = 0.05


@dataclass(slots=True)
class Subject:
    """A checkout with a door `tools/dev`, and the private stack that it brings up."""

    name: str
    checkout: Path
    state: StateFolder

    def up(self, api_processes: int) -> None:
        """
        Bring the stack up and return when it is ready.

        Raises:
            BenchFailed: it did not come up.
        """
        self._door("up", "--detach", "--api-processes", str(api_processes), *self._where)

    def down(self, *, wipe: bool = False) -> None:
        """Stop the stack, also one that a killed benchmark left paused."""
        if self.state.path.exists():
            self._door("down", *self._where, *(["--wipe"] if wipe else []))

    def run(self) -> stack.Run:
        run = stack.read_run(self.state)
        if run is None:
            raise BenchFailed(f"the stack at {self.state.path} does not run any more")
        return run

    @contextlib.contextmanager
    def paused(self, worker_is_in_transaction: Callable[[], bool]) -> Iterator[None]:
        """
        Have worker and supervisor stand still for a while; they go on whatever happens.

        The worker is stopped between two transactions. From within one it would keep the server
        from tidying up: each wallet's old versions, thousands in the end, are in everybody's way.

        Raises:
            BenchFailed: it was in a transaction whenever it was looked at.
        """
        pids = self.run().pids
        # First the supervisor: it restarts what it finds dead, and would find nothing wrong.
        still = [pids.supervisor, *pids.worker]
        try:
            _send(signal.SIGSTOP, still)
            for _ in range(_TRIES):
                # What it sent last may be on its way to the server, where nothing tells of it yet.
                time.sleep(_LOOK_AFTER_S)
                if not worker_is_in_transaction():
                    break
                _send(signal.SIGCONT, pids.worker)
                # It has to get out of its transaction; nothing tells us when a stranger has.
                time.sleep(_LOOK_AFTER_S)
                _send(signal.SIGSTOP, pids.worker)
            else:
                raise BenchFailed("the worker cannot be stopped between two transactions")
            yield
        finally:
            for pid in reversed(still):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def is_whole(self) -> bool:
        """Whether every process that run.json names still lives."""
        pids = self.run().pids
        every = [pids.postgres, pids.supervisor, *pids.api, *pids.worker]
        return all(Path(f"/proc/{pid}").exists() for pid in every)

    def has_batches(self) -> bool:
        """
        Whether this revision has POST /v1/batches.

        Raises:
            BenchFailed: it answers neither 201 nor that there is no such route.
        """
        command = {"type": "deposit", "walletId": "bench-probe", "amount": "1.00"}
        status, text = self._post("/v1/batches", {"atomic": False, "commands": [command]})
        if status not in {201, 404, 405}:
            raise BenchFailed(f"POST /v1/batches of {self.name} answers {status}: {text[:300]}")
        return status == 201

    def verify(self) -> tuple[bool, str]:
        """Prove the books, which must be at rest; return the verdict and what was said."""
        done = self._call("wallet", *self._where, "verify", "--at-rest")
        said = (done.stdout + done.stderr).strip()
        return done.returncode == 0, said

    def wait_until_ready(self) -> None:
        url = f"{self.run().api}/readyz"

        def is_ready() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        if not wait_until(is_ready, 30):
            raise BenchFailed(f"{self.name} does not answer at {url}")

    @property
    def _where(self) -> tuple[str, str]:
        return ("--state", str(self.state.path))

    def _post(self, path: str, body: object) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{self.run().api}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            raise BenchFailed(f"POST {path} of {self.name} has no answer: {error}") from error

    def _door(self, *arguments: str) -> None:
        done = self._call(*arguments)
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise BenchFailed(f"`tools/dev {arguments[0]}` of {self.name} failed:\n{said}")

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.checkout / "tools" / "dev"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment.caller() | {"WALLET_AUTH": "off"},
        )


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, number)
