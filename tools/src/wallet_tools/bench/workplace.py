"""This module is where the benchmark has its folder: its own, empty before and gone after."""

import contextlib
import fcntl
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from wallet_tools import stack
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.state import StateFolder

_MARK: Final = "wallet-bench"
STACKS: Final = ("ours", "theirs")


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """
    Yield an empty folder that nobody else works in; what a killed run left is taken down first.

    Raises:
        BenchFailed: it is somebody else's, or another benchmark is at work there.
    """
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise BenchFailed(
            f"{folder} holds something that is not a benchmark's, and would be emptied;"
            " give --state a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with mark.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BenchFailed(f"another benchmark is at work in {folder}") from error
        _empty(folder)
        try:
            yield folder
        except BenchFailed as failed:
            raise BenchFailed(f"{failed}\n(logs: {_keep_logs(folder)})") from failed
        finally:
            _empty(folder)
            mark.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()


def interruptible() -> None:
    """Have the first SIGINT or SIGTERM end the run in order, and later ones ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted_once)


def _interrupted_once(_number: int, _frame: object) -> NoReturn:
    # What is cleaned up from here on is not to be left half way by a second Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _empty(folder: Path) -> None:
    for name in STACKS:
        stack.down(StateFolder.at(folder / name), wipe=True)
    for each in folder.iterdir():
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif each.name != _MARK:
            each.unlink()


def _keep_logs(folder: Path) -> Path:
    """Put the logs of a failed run beside the folder, in place of those of the last one."""
    kept = folder.with_name(f"{folder.name}-failed")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in STACKS:
        logs = StateFolder.at(folder / name).logs
        if logs.exists():
            shutil.copytree(logs, kept / name)
    return kept
