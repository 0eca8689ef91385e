"""This module is where a mixed load is put on a stack and the books are verified after it."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from wallet_tools import environment, stack
from wallet_tools.options import Options
from wallet_tools.state import StateFolder

# locust itself is imported by its own process only: it patches the standard library.
SHAPES: Final = ("steady", "spike", "soak")
EPILOG: Final = """\
shapes:
  steady   all users from the beginning to the end
  spike    a tenth of them, all of them for the fifth in the middle, a tenth again
  soak     half of them, for as long as you like

Every answer is read: amounts and keys are the request's, no balance is below zero, a repetition is
byte-equal, a contradiction is refused, a decline tells why. Whoever is told to come back does so.

exit code: 0 nothing was wrong and the books are right; 1 otherwise"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("--users", type=_count, default=32, help="simulated clients (default 32)")
    parser.add_argument("--minutes", type=_time, default=1.0, help="how long (default 1)")
    parser.add_argument("--shape", choices=SHAPES, default="steady", help="default: steady")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="HTML (default: stress.html of the state)"
    )


def stress(options: argparse.Namespace) -> int:
    """Run locust without its web page, then `wallet verify`; what was started is stopped again."""
    state = StateFolder.at(options.state)
    report: Path = options.report or state.path / "stress.html"
    was_running = state.supervisor_pid() is not None
    run = stack.up(state, Options())
    try:
        loaded = _load(run, options, report.absolute())
        print(f"report: {report}", flush=True)
        # Also after a failed load: what went wrong may be seen in the books.
        return _verify(run, state) or loaded
    finally:
        if not was_running:
            stack.down(state)


def share_of(shape: str, progress: float) -> float:
    """Return the part of the users that is there when so much of the time is over, 0 to 1."""
    match shape:
        case "spike":
            # Calm, all at once, and calm again: what was queued has to drain.
            return 1.0 if 0.4 <= progress < 0.6 else 0.1
        case "soak":
            return 0.5
        case _:
            return 1.0


def _load(run: stack.Run, options: argparse.Namespace, report: Path) -> int:
    locustfile = Path(__file__).with_name("locustfile.py")
    rate = max(1, options.users // 4)
    load = ("--users", str(options.users), "--spawn-rate", str(rate), "--shape", options.shape)
    time = ("--run-time", f"{max(1, round(options.minutes * 60))}s")
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"]
        + ["--host", run.api, "--html", str(report), *load, *time],
        env=environment.caller() | environment.addresses(run.database, run.rabbitmq),
        check=False,
    ).returncode


def _verify(run: stack.Run, state: StateFolder) -> int:
    # With the checkpoints that the stack's worker has taken meanwhile.
    settings = environment.addresses(run.database, run.rabbitmq) | state.checkpoint_settings()
    return subprocess.run(
        [sys.executable, "-m", "wallet_tools.cli", "verify"],
        env=environment.caller() | settings,
        check=False,
    ).returncode


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 10_000:
        raise argparse.ArgumentTypeError("a number of clients from 1 to 10000")
    return count


def _time(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 1_440:
        raise argparse.ArgumentTypeError("minutes, more than 0 and at most 1440")
    return minutes
