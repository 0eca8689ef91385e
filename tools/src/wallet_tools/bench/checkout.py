"""This module is where revisions are: what this checkout is, and a worktree of another one."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from wallet_tools import environment
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.state import ROOT


def revision(checkout: Path = ROOT) -> str:
    """Return the short commit, with `+changes` if the files differ from it."""
    try:
        commit = _git("-C", str(checkout), "rev-parse", "--short", "HEAD")
        dirty = _git("-C", str(checkout), "status", "--porcelain")
    except BenchFailed:  # An archive has no history, and can be measured all the same.
        return "unknown"
    return f"{commit}+changes" if dirty else commit


@contextlib.contextmanager
def worktree(name: str, folder: Path) -> Iterator[Path]:
    """
    Yield a checkout of the revision with its environment built; it is gone at the end.

    Raises:
        BenchFailed: there is no such revision, or it cannot be set up.
    """
    commit = resolve(name)
    _remove(folder)
    try:
        _git("-C", str(ROOT), "worktree", "add", "--detach", str(folder), commit)
        if not (folder / "tools" / "dev").exists():
            raise BenchFailed(f"{name} has no tools/dev, so its stack cannot be brought up")
        _set_up(name, folder)
        yield folder
    finally:
        _remove(folder)


def resolve(name: str) -> str:
    """
    Return the commit that a revision means.

    Raises:
        BenchFailed: none.
    """
    try:
        return _git("-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except BenchFailed as error:
        raise BenchFailed(f"--compare: git knows no revision {name!r}") from error


def _set_up(name: str, folder: Path) -> None:
    caller = environment.caller()
    # The uv that is here already need not be fetched again.
    path = os.pathsep.join([str(ROOT / ".local" / "uv" / "bin"), caller.get("PATH", "")])
    done = subprocess.run(
        [str(folder / "tools" / "dev"), "setup"],
        capture_output=True,
        text=True,
        check=False,
        env=caller | {"PATH": path},
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise BenchFailed(f"`tools/dev setup` of {name} failed:\n{said}")


def _remove(folder: Path) -> None:
    with contextlib.suppress(BenchFailed):
        _git("-C", str(ROOT), "worktree", "remove", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(BenchFailed):
        _git("-C", str(ROOT), "worktree", "prune")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment.system(),
        )
    except FileNotFoundError as error:
        raise BenchFailed("git is not installed") from error
    if done.returncode:
        raise BenchFailed(f"git {arguments[-1]}: {done.stderr.strip()}")
    return done.stdout.strip()
