"""This module is where the folder that holds a stack's data, memory and lock is laid out."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from wallet_tools.processes import Ownership, wait_until

ROOT: Final = Path(__file__).resolve().parents[3]
LOG_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One stack is one folder; two folders are two stacks that never meet."""

    path: Path

    @classmethod
    def at(cls, path: Path | str | None = None) -> "StateFolder":
        """Return the folder at `path`, by default the one of the repository."""
        return cls((ROOT / ".local" if path is None else Path(path)).resolve())

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def rabbitmq(self) -> Path:
        return self.path / "rabbitmq"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run_file(self) -> Path:
        return self.path / "run.json"

    @property
    def processes_file(self) -> Path:
        return self.path / "processes.json"

    @property
    def options_file(self) -> Path:
        return self.path / "options.json"

    @property
    def memory_file(self) -> Path:
        return self.path / "memory.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def mark_file(self) -> Path:
        return self.path / "mark"

    @property
    def master_key_file(self) -> Path:
        """The key of personal data; it belongs to the data and goes with it."""
        return self.path / "master.key"

    @property
    def is_ours(self) -> bool:
        """Whether a stack was ever brought up here; in any other folder nothing is touched."""
        return self.mark_file.exists()

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoints.jsonl"

    @property
    def checkpoint_key_file(self) -> Path:
        return self.path / "checkpoint.key"

    def checkpoint_settings(self) -> dict[str, str]:
        """Return the settings of checkpoints, for who has none of his own; makes the key once."""
        if not self.checkpoint_key_file.exists():
            write_private(self.checkpoint_key_file, secrets.token_hex(32))
        return {
            "WALLET_CHECKPOINT_FILE": str(self.checkpoint_file),
            "WALLET_CHECKPOINT_KEY_FILE": str(self.checkpoint_key_file),
        }

    def create(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)

    def ownership(self) -> Ownership:
        """Return what tells this stack's processes from everybody else's."""
        if not self.mark_file.exists():
            proposal = self.path / f".mark.{secrets.token_hex(4)}"
            proposal.write_text(secrets.token_hex(16))
            # Of two first calls at once one wins, and both see the same mark.
            with contextlib.suppress(FileExistsError):
                self.mark_file.hardlink_to(proposal)
            proposal.unlink()
        return Ownership(self.mark_file.read_text(), self.postgres / "data")

    def ensure_master_key(self) -> None:
        if not self.master_key_file.exists():
            write_private(self.master_key_file, f"{secrets.token_hex(32)}\n")

    def wipe(self) -> None:
        """Forget everything; what else lives in the folder is not ours and stays."""
        for folder in (self.postgres, self.rabbitmq, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.run_file, self.processes_file, self.options_file, self.memory_file):
            file.unlink(missing_ok=True)
        for file in (self.checkpoint_file, self.checkpoint_key_file):
            file.unlink(missing_ok=True)
        for file in (self.mark_file, self.lock_file, self.master_key_file):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def supervisor_pid(self) -> int | None:
        """Return the pid of the living supervisor: whoever holds the lock wrote it there."""
        try:
            with self.lock_file.open("r+") as file:
                if _try_lock(file):
                    return None
                return int(file.read() or 0)
        except FileNotFoundError:
            return None

    def lock(self) -> IO[str] | None:
        """Take the supervisor's lock for the life of the returned file; None if somebody has it."""
        file = self.lock_file.open("a+")
        # Whoever only looks (`supervisor_pid`) holds the lock for a moment too.
        if wait_until(lambda: _try_lock(file), 0.5, pause=0.01):
            return file
        file.close()
        return None


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def recall(file: Path) -> dict[str, Any]:
    """Return what `file` remembers; nothing if there is no such file or it was cut short."""
    try:
        remembered: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return remembered


def remember(file: Path, **changes: object) -> None:
    write_private(file, json.dumps({**recall(file), **changes}, indent=2) + "\n")


def write_private(file: Path, text: str) -> None:
    """Replace `file` in one step; only its owner may read it, for it may hold passwords."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    beside.replace(file)


@contextlib.contextmanager
def appended(log: Path) -> Iterator[IO[bytes]]:
    """Open `log` for a child's output; one that has grown large is put aside first."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as stream:
        yield stream


def tail(log: Path, lines: int = 20) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
