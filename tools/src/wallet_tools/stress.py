"""This module is where a mixed load is put on a stack and the books are verified after it."""

import subprocess
import sys
from pathlib import Path

from wallet_tools import environment, stack
from wallet_tools.options import Options
from wallet_tools.state import StateFolder


def stress(state: StateFolder, users: int, minutes: float) -> int:
    """Run locust without its web page, then `wallet verify`; what was started is stopped again."""
    was_running = state.supervisor_pid() is not None
    run = stack.up(state, Options())
    try:
        return _load(run, users, minutes) or _verify(run)
    finally:
        if not was_running:
            stack.down(state)


def _load(run: stack.Run, users: int, minutes: float) -> int:
    locustfile = Path(__file__).with_name("locustfile.py")
    load = ("--users", str(users), "--spawn-rate", str(max(1, users // 4)))
    time = ("--run-time", f"{max(1, round(minutes * 60))}s")
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"]
        + ["--host", run.api, *load, *time],
        env=environment.caller() | environment.addresses(run.database, run.rabbitmq),
        check=False,
    ).returncode


def _verify(run: stack.Run) -> int:
    return subprocess.run(
        [sys.executable, "-m", "wallet_tools.cli", "verify"],
        env=environment.caller() | environment.addresses(run.database, run.rabbitmq),
        check=False,
    ).returncode
