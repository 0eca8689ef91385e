"""This module is where `up` and `down` are shown to be repeatable, and to harm nobody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wallet_tools import stack
from wallet_tools.options import Options
from wallet_tools.ports import free_port, listen
from wallet_tools.processes import wait_until
from wallet_tools.state import StateFolder, write_private

FOREGROUND = """
import sys, msgspec
from wallet_tools import dev
from wallet_tools.options import Options
from wallet_tools.state import StateFolder
options = msgspec.json.decode(sys.argv[2], type=Options)
sys.exit(dev.up_until_told(StateFolder.at(sys.argv[1]), options))
"""


def every_pid(run: stack.Run) -> list[int]:
    pids = run.pids
    return [pids.postgres, pids.supervisor, *pids.api, *pids.worker]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


def run_of(state: StateFolder) -> stack.Run:
    run = stack.read_run(state)
    assert run is not None, "the stack is not complete"
    return run


def silent(_: str) -> None:
    """Say nothing."""


def eventually(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, 20), "it did not happen in time"


def test_a_second_up_changes_nothing(running: StateFolder, stand_ins: Options) -> None:
    """`up` on a running stack returns the same addresses and pids."""
    assert stack.up(running, stand_ins, say=silent) == run_of(running)


def test_the_api_gives_way_to_the_worker(running: StateFolder) -> None:
    """Where processors are short the worker goes before the API, which would outrun it."""
    pids = run_of(running).pids

    [api], [worker] = (
        {os.getpriority(os.PRIO_PROCESS, p) for p in ps} for ps in (pids.api, pids.worker)
    )

    assert api > worker


def test_a_second_up_with_other_options_is_refused(
    running: StateFolder, stand_ins: Options
) -> None:
    """`up` with another number of processes says so and leaves the stack alone."""
    before = run_of(running)

    with pytest.raises(stack.StackFailed, match="with another api processes"):
        stack.up(running, msgspec.structs.replace(stand_ins, api_processes=1), say=silent)

    assert run_of(running) == before


def test_down_ends_everything(running: StateFolder, stand_ins: Options) -> None:
    """After `down` no process is left and there is no run.json; the next `up` has the same port."""
    before = run_of(running)

    assert stack.down(running) == 0

    assert not any(is_alive(pid) for pid in every_pid(before))
    assert not running.run_file.exists()
    assert stack.status(running).state == "down"
    assert stack.up(running, stand_ins, say=silent).api == before.api


def test_down_after_the_supervisor_was_killed(running: StateFolder, stand_ins: Options) -> None:
    """Killed, the supervisor leaves its children at work; `status` names them, `down` ends them."""
    before = run_of(running)
    os.kill(before.pids.supervisor, signal.SIGKILL)
    eventually(lambda: running.supervisor_pid() is None)

    assert all(is_alive(pid) for pid in before.pids.api)
    orphans = stack.status(running).processes
    assert {each["state"] for each in orphans} == {"orphaned"}

    assert stack.down(running) >= 4
    assert not any(is_alive(pid) for pid in every_pid(before))


def test_up_after_the_supervisor_was_killed(running: StateFolder, stand_ins: Options) -> None:
    """The next `up` ends what was left behind and starts anew on the same data."""
    before = run_of(running)
    os.kill(before.pids.supervisor, signal.SIGKILL)
    eventually(lambda: running.supervisor_pid() is None)

    after = stack.up(running, stand_ins, say=silent)

    assert not any(is_alive(pid) for pid in every_pid(before))
    assert after.database == before.database


def test_a_strangers_pid_is_not_touched(running: StateFolder, stand_ins: Options) -> None:
    """A run.json of before a reboot may name pids that are strangers' now: they live on."""
    run = run_of(running)
    stack.down(running)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pids = stack.Pids(stranger.pid, stranger.pid, [stranger.pid], [stranger.pid], stranger.pid)
    stale = msgspec.structs.replace(run, pids=pids)
    write_private(running.run_file, msgspec.json.encode(stale).decode())
    running.lock_file.write_text(str(stranger.pid))

    assert stack.down(running) == 0

    assert stranger.poll() is None
    assert not running.run_file.exists()
    stranger.kill()
    stranger.wait()


def test_a_taken_port_is_named(running: StateFolder, stand_ins: Options) -> None:
    """`up --port` with a port of somebody else's fails at once, says which, and leaves nothing."""
    stack.down(running)
    port = free_port()

    with listen(port), pytest.raises(stack.StackFailed, match=f"port {port}"):
        stack.up(running, msgspec.structs.replace(stand_ins, port=port), say=silent)

    assert running.ownership().pids() == []


def test_an_api_that_never_answers(running: StateFolder, stand_ins: Options) -> None:
    """`up` gives up in time, shows the service's last words, and leaves nothing running."""
    stack.down(running)
    broken = msgspec.structs.replace(stand_ins, api_command=("-c", "raise SystemExit('oh no')"))

    with pytest.raises(stack.StackFailed, match="oh no"):
        stack.up(running, broken, say=silent, timeout=1.5)

    assert running.ownership().pids() == []


def test_wipe_leaves_what_is_not_ours(running: StateFolder, stand_ins: Options) -> None:
    """`down --wipe` removes the data and nothing else that lives in the running."""
    mine = running.path / "uv"
    mine.mkdir(exist_ok=True)

    stack.down(running, wipe=True)

    assert [each.name for each in running.path.iterdir()] == ["uv"]


def test_up_in_the_foreground(running: StateFolder, stand_ins: Options) -> None:
    """Ended by SIGTERM, `up` in the foreground ends the whole stack."""
    stack.down(running)
    options = msgspec.json.encode(stand_ins).decode()
    process = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(running.path), options], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    output = b""
    while not output.endswith(b"Ctrl-C stops it.\n"):
        output += process.stdout.readline()
    before = run_of(running)

    process.terminate()
    process.communicate(timeout=30)

    assert process.returncode == 0
    assert before.api in output.decode()
    assert not any(is_alive(pid) for pid in every_pid(before))
