"""This module is where a stack is brought up, looked at and taken down, by people and by tests."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from wallet_tools import environment
from wallet_tools.options import Options
from wallet_tools.processes import wait_until
from wallet_tools.state import StateFolder, tail
from wallet_tools.supervisor import ALREADY_RUNNING

READY_SECONDS: Final = 120.0
LOGS: Final = {
    "api": "api.out",
    "worker": "worker.out",
    "supervisor": "supervisor.log",
    "postgres": "postgres.log",
    "rabbitmq": "rabbitmq.log",
}


class StackFailed(Exception):
    """A stack did not come up, or runs otherwise than was asked; the message says what to do."""


class Pids(msgspec.Struct, frozen=True):
    postgres: int
    rabbitmq: int | None
    api: list[int]
    worker: list[int]
    supervisor: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What run.json says: where a running stack is found, and as whom its database is entered."""

    api: str
    docs: str
    database: str
    # A stack of an older revision has one role for all.
    database_worker: str = ""
    database_owner: str = ""
    database_admin: str
    rabbitmq: str | None
    pids: Pids


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """What runs and since when; `state` is up, starting or down."""

    state: str
    api: str | None
    processes: list[dict[str, Any]]


def up(
    state: StateFolder,
    options: Options | None = None,
    say: Callable[[str], None] = print,
    timeout: float = READY_SECONDS,
) -> Run:
    """
    Bring a stack up and return when it answers; one that runs already is left as it is.

    Raises:
        StackFailed: it did not come up (nothing is left running), or it runs with other options.
    """
    options = options or Options()
    state.create()
    log = state.logs / "supervisor.log"
    seen, began = log.stat().st_size if log.exists() else 0, time.time()
    is_new = state.supervisor_pid() is None and _start_supervisor(state, options)
    deadline = time.monotonic() + timeout
    while not (run := _answering(state)):
        seen = _repeat(state, seen, say) if is_new else seen
        if state.supervisor_pid() is None:
            raise _failure(state, began, "the stack ended before it was ready")
        if time.monotonic() > deadline:
            failure = _failure(state, began, f"the stack was not ready in {timeout:.0f} s")
            if is_new:
                down(state)
            raise failure
        time.sleep(0.1)
    if is_new:
        _repeat(state, seen, say)
    else:
        _compare(state, options, run)
        say(f"a stack runs already at {state.path}")
    return run


def down(state: StateFolder, *, wipe: bool = False) -> int:
    """
    Stop everything of this folder and return how many processes had to be ended one by one.

    Works after the supervisor was killed and after a reboot; data stays, unless `wipe`.
    """
    if not state.is_ours:
        return 0
    ours = state.ownership()
    supervisor = state.supervisor_pid()
    if supervisor:
        ours.signal(supervisor, signal.SIGTERM)
        ours.signal(supervisor, signal.SIGCONT)  # A stopped one would never hear of it.
        deadline = time.monotonic() + 60
        while state.supervisor_pid() and time.monotonic() < deadline:
            time.sleep(0.05)
        # What it has ended, and it itself, may still be leaving.
        wait_until(lambda: not ours.pids(), 2)
    left = ours.end_all()
    state.run_file.unlink(missing_ok=True)
    state.processes_file.unlink(missing_ok=True)
    if wipe:
        state.wipe()
    return left


def status(state: StateFolder) -> Status:
    """Tell what runs; processes whose supervisor is gone are told too, as `orphaned`."""
    supervisor = state.supervisor_pid()
    known: list[dict[str, Any]] = _processes(state)
    if supervisor is None:
        alive = [each for each in known if each["pid"] and state.ownership().holds(each["pid"])]
        return Status("down", None, [each | {"state": "orphaned"} for each in alive])
    rows = [each | {"state": _state_of(each["pid"])} for each in known]
    since = state.options_file.stat().st_mtime if state.options_file.exists() else 0.0
    itself = {"name": "supervisor", "pid": supervisor, "since": since, "restarts": 0, "port": None}
    rows.insert(0, itself | {"state": _state_of(supervisor)})
    run = read_run(state)
    return Status("up" if run else "starting", run.api if run else None, rows)


def read_run(state: StateFolder) -> Run | None:
    """Return run.json if a stack has written one; whether it still runs `status` knows."""
    try:
        return msgspec.json.decode(state.run_file.read_bytes(), type=Run)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def tail_command(state: StateFolder, names: list[str], *, follow: bool) -> list[str]:
    """Return the command that shows the logs of the named parts, or of all."""
    files = [state.logs / LOGS[name] for name in names or LOGS]
    # One that is asked for by name may still come; of all only those that are there.
    shown = [str(file) for file in files if names or file.exists()]
    return ["tail", "-n", "100" if names else "20", *(["-F"] if follow else []), *shown]


def _start_supervisor(state: StateFolder, options: Options) -> bool:
    """Return whether it is a new one; it has left our session when this returns."""
    with (state.logs / "supervisor.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "wallet_tools.supervisor", str(state.path)],
            input=msgspec.json.encode(options),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment.caller() | state.ownership().environment(),
            start_new_session=True,
            check=False,
        )
    if done.returncode not in {0, ALREADY_RUNNING}:
        raise StackFailed(f"the supervisor did not start:\n{tail(state.logs / 'supervisor.log')}")
    return done.returncode == 0


def _answering(state: StateFolder) -> Run | None:
    run = read_run(state)
    if run is None:
        return None
    try:
        with urllib.request.urlopen(f"{run.api}/readyz", timeout=2) as answer:
            return run if answer.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None


def _repeat(state: StateFolder, seen: int, say: Callable[[str], None]) -> int:
    """Say the lines that the supervisor has written since, and return how far they go."""
    with (state.logs / "supervisor.log").open("rb") as log:
        log.seek(seen)
        for line in log:
            if not line.endswith(b"\n"):
                break
            seen += len(line)
            say(line.decode(errors="replace").rstrip())
    return seen


def _compare(state: StateFolder, options: Options, run: Run) -> None:
    running = msgspec.json.decode(state.options_file.read_bytes(), type=Options)
    names = options.differences(running, int(run.api.rpartition(":")[2]))
    if names:
        asked = ", ".join(name.replace("_", " ") for name in names)
        raise StackFailed(
            f"a stack runs already at {state.path} ({run.api}), with another {asked};"
            " stop it first: tools/dev down"
        )


def _failure(state: StateFolder, began: float, what: str) -> StackFailed:
    parts = [f"{what}. The last lines of the logs in {state.logs}:"]
    for name in ("supervisor", "api", "worker"):
        log = state.logs / LOGS[name]
        if log.exists() and log.stat().st_mtime >= began:
            parts.append(f"--- {log.name}\n{tail(log, 15)}")
    parts.append("Look there, then try again; `tools/dev down --wipe` starts from nothing.")
    return StackFailed("\n".join(parts))


def _processes(state: StateFolder) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(state.processes_file.read_bytes(), type=list[dict[str, Any]])
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def _state_of(pid: int | None) -> str:
    if pid is None:
        return "starting"
    try:
        letter = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "dead"
    return {"T": "stopped", "Z": "dead"}.get(letter, "running")
