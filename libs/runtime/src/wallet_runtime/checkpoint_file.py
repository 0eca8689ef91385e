"""
This module is where checkpoints are kept outside the database: a file that is only added to.

The file is the authority. What the database has beyond it, because a process died between COMMIT
and writing or because somebody cut the file, is added by the next who writes, and told.
"""

import fcntl
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from wallet_common.checkpoints import (
    Contradiction,
    Unreadable,
    Verifier,
    insist_on_chain,
    read,
)

# Takes a checkpoint's number; returns its line and all after it, as the database has them.
LinesFrom = Callable[[int], Awaitable[Sequence[str]]]


def lines_of(path: Path) -> list[str]:
    """Return the file's lines; none if there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


async def complete(path: Path, lines_from: LinesFrom, key: Verifier) -> int:
    """
    Add to the file what the database has beyond it, and return how many lines that was.

    Returns once they are on the disk. Raises Contradiction, with nothing written, if the file tells
    of something else, or if what it lacks does not go on from it, signed by `key`: whoever may
    write to the database writes nothing here. BlockingIOError if another process is writing to it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = file.read()
        whole, _, torn = content.rpartition(b"\n")
        last = whole.rpartition(b"\n")[2].decode(errors="replace")
        known = _number(path, last) if whole else 0
        lines = await lines_from(max(known, 1))
        if known:
            if not lines:
                raise Contradiction(f"{path} ends with checkpoint {known}: the database has less")
            if lines[0] != last:
                raise Contradiction(f"{path} and the database differ at checkpoint {known}")
            lines = lines[1:]
        insist_on_chain(last if known else None, lines, key)
        missing = "".join(f"{line}\n" for line in lines).encode()
        if not missing.startswith(torn):
            raise Contradiction(f"{path} ends with something that is no checkpoint")
        file.write(missing[len(torn) :])
        os.fsync(file.fileno())
    _settle(path.parent)
    return len(lines)


def _number(path: Path, line: str) -> int:
    try:
        return read(line).checkpoint
    except Unreadable as unreadable:
        raise Contradiction(f"the last line of {path} is no checkpoint: {unreadable}") from None


def _settle(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
