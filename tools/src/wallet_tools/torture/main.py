"""This module is where `wallet torture` is read, carried out, and its exit code chosen."""

import argparse
import asyncio
import logging
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, Final

from wallet_tools.command import Refused, add_verb, print_json
from wallet_tools.postgres import ServerFailed
from wallet_tools.state import ROOT
from wallet_tools.torture import matrix, report
from wallet_tools.torture.ground import TortureFailed
from wallet_tools.torture.plan import Kind, parse_kinds, schedule
from wallet_tools.torture.result import Exit, Result
from wallet_tools.torture.run import Run
from wallet_tools.torture.scene import Order

_EPILOG: Final = """\
A private stack is started (two API processes, two workers, PostgreSQL, RabbitMQ), clients write
down what they ask before they ask it, faults strike by a plan that the seed decides, and in the end
everything that anybody was told is held against the books, the events and the audit.

faults:
  kill    SIGKILL of API and worker processes
  stop    SIGSTOP, and SIGCONT seconds later: the process that wakes up knows nothing of it
  pg      PostgreSQL stopped at once or killed, its sessions ended
  broker  RabbitMQ killed, its application stopped, its memory alarm, its connections closed
  lock    a wallet, or a table, held by somebody else for seconds
  proxy   wires delayed, cut, dark; exactly one reply to COMMIT, or one confirm, swallowed
  clock   a process's wall clock jumps (libfaketime)
  disk    the folder of the services' logs is full (a mounted tmpfs; as root)

exit code: 0 clean; 1 a promise was broken; 2 it could not be run; 3 NOT RUN: no broken promise, but
the faults did not reach what they were for (each kind that was asked for at least once, also one
that this machine does not allow; if processes are killed, an effect behind a lost answer and a lost
answer without one; if wires are broken, a reply to COMMIT that was kept back), so it proves
nothing. Where clock or disk cannot be had, leave them out.

examples:
  wallet torture --minutes 1 --seed 1 --faults kill,proxy
  wallet torture --minutes 20 --seed 1 --report docs/reports
  wallet torture --seed 1 --plan           which fault strikes when"""


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add `torture` to the command."""
    what = "put a private stack under load and faults, and prove that nothing was lost"
    parser: argparse.ArgumentParser = add_verb(verbs, "torture", what, _torture)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("--minutes", type=_positive, default=1.0, help="of load (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of workload and plan (default 1)")
    parser.add_argument(
        "--faults",
        type=_kinds,
        default=tuple(Kind),
        metavar="LIST",
        help=f"of {','.join(Kind)} (default: all)",
    )
    parser.add_argument("--clients", type=_clients, default=12, help="at once (default 12)")
    parser.add_argument(
        "--state",
        type=Path,
        default=ROOT / ".local" / "torture",
        metavar="DIR",
        help="the stack's folder; it is emptied (default .local/torture)",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write the page there too")
    parser.add_argument("--plan", action="store_true", help="print the plan of faults, and stop")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    matrix.add_arguments(parser)


def _torture(options: argparse.Namespace) -> int:
    if options.plan:
        return _print_plan(options)
    if options.matrix:
        return matrix.carry_out(options)
    order = Order(
        seed=options.seed,
        minutes=options.minutes,
        kinds=options.faults,
        state=options.state.resolve(),
        clients=options.clients,
    )
    progress = Progress()
    # What the libraries say when a connection is lost: here it is lost on purpose.
    for name in ("aiormq", "aio_pika", "asyncio", "httpx"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "coroutine 'Connection.close' was never awaited")
    try:
        result = asyncio.run(_interruptible(Run(order, progress.say)))
    except (TortureFailed, ServerFailed, OSError) as failed:
        print(f"\nwallet torture: {failed}", file=sys.stderr)
        return Exit.FAILED
    except Exception:  # noqa: BLE001  # a fault of ours is no broken promise, and told as what it is
        traceback.print_exc()
        return Exit.FAILED
    except asyncio.CancelledError:
        raise Refused("interrupted; the stack is down") from None
    finally:
        progress.end()
    if options.report:
        print(f"written: {report.write(result, options.report)}", file=sys.stderr)
    if options.json:
        print_json(result)
    else:
        print(report.text(result), end="")
    return result.exit_code


async def _interruptible(run: Run) -> Result:
    """Carry it out; Ctrl-C or SIGTERM ends it in order, once."""
    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes one"
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await run.carry_out()


def _print_plan(options: argparse.Namespace) -> int:
    plan = schedule(options.seed, options.minutes * 60, options.faults)
    if options.json:
        print_json(plan)
        return 0
    for fault in plan:
        print(
            f"{fault.at_s:9.2f} s  {fault.label:<28} {fault.seconds:5.2f} s  pick {fault.pick:.3f}"
        )
    return 0


class Progress:
    """One line that is written over on a terminal; elsewhere a new one every half minute."""

    _EVERY: Final = 30

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._said = 0
        self._is_open = False

    def say(self, text: str) -> None:
        if self._is_terminal:
            print(f"\r\x1b[K{text[:200]}", end="", file=sys.stderr, flush=True)
            self._is_open = True
        elif " of " not in text or self._said % self._EVERY == 0:
            print(text, file=sys.stderr, flush=True)
        self._said += 1

    def end(self) -> None:
        if self._is_open:
            print(file=sys.stderr)


def _positive(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 24 * 60:
        raise argparse.ArgumentTypeError("minutes: more than 0, at most 1440")
    return minutes


def _clients(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError("clients: 1 to 64")
    return count


def _kinds(text: str) -> tuple[Kind, ...]:
    try:
        return parse_kinds(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from wrong
