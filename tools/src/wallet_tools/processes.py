"""This module is where processes are recognised as ours, and ended only then."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "WALLET_SUPERVISED_BY"


@dataclass(frozen=True, slots=True)
class Ownership:
    """
    What makes a process ours: the mark in the environment it was started with.

    PostgreSQL's children overwrite theirs; these are known by their working directory.
    A pid alone proves nothing, it may have been given to a stranger since it was written down.
    """

    mark: str
    data_folder: Path

    def environment(self) -> dict[str, str]:
        return {MARK: self.mark}

    def holds(self, pid: int) -> bool:
        return self._is_marked(pid) or is_postgres_of(pid, self.data_folder)

    def pids(self) -> list[int]:
        """Return every living process of ours but the caller."""
        return [pid for pid in _all_pids() if pid != os.getpid() and self.holds(pid)]

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send the signal if the process is ours; the descriptor rules out a reused pid."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not self.holds(pid):
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def end_all(self, patience: float = 15.0) -> int:
        """End every process of ours, first kindly; return how many there were."""
        pids = self.pids()
        postmaster = postmaster_pid(self.data_folder)
        for pid in pids:
            # To the postmaster SIGINT is the fast shutdown; SIGTERM would wait for its clients.
            self.signal(pid, signal.SIGINT if pid == postmaster else signal.SIGTERM)
            self.signal(pid, signal.SIGCONT)
        if not wait_until(lambda: not self.pids(), patience):
            for pid in self.pids():
                self.signal(pid, signal.SIGKILL)
            wait_until(lambda: not self.pids(), patience)
        return len(pids)

    def _is_marked(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"{MARK}={self.mark}".encode() in environment.split(b"\0")


def is_postgres_of(pid: int, data_folder: Path) -> bool:
    """Whether `pid` is a postgres process, parent or child, that works in `data_folder`."""
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
        folder = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return executable.name.removesuffix(" (deleted)") == "postgres" and folder == data_folder


def postgres_pids(data_folder: Path) -> list[int]:
    return [pid for pid in _all_pids() if is_postgres_of(pid, data_folder)]


def postmaster_pid(data_folder: Path) -> int | None:
    """Return the pid that PostgreSQL wrote down, whoever has it now."""
    try:
        return int((data_folder / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Ask until the answer is yes or the time is up; return the last answer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
