"""This module is where the arguments of `tools/dev bench` are read, and refused when senseless."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wallet_tools.bench.plan import QUICK_LOADS, Load, Settings
from wallet_tools.options import API_PROCESSES
from wallet_tools.state import ROOT

FOLDER: Final = ROOT / ".local" / "bench"
CONNECTIONS_MAX: Final = 1024
EPILOG: Final = """\
loads:
  cold      deposits over many wallets           hot       deposits to one wallet
  mixed     deposits, withdrawals, transfers     replays   deposits, 10 % of them sent before
  holds     holds placed on 500 wallets
  reads     GET of a wallet, beside a bare handler of the same framework
  bulk      POST /v1/batches, 500 commands a body, counted in commands
  pipeline  deposits with relay, broker and worker running; event lag and backlog
  open      deposits at constant rates, 25 to 90 % of the peak, latency from the scheduled time
All but the last two alternate with pgbench TPC-B on the same server; worker and supervisor
are paused for all but pipeline. A ratio compares a run with the reference runs next to it.

examples:
  tools/dev bench --quick                        the smallest run that means something
  tools/dev bench                                everything; judge by the ratios, not the figures
  tools/dev bench --loads cold,hot --connections 64,256 --alternations 7
  tools/dev bench --loads cold --api-processes 1,2,4
  tools/dev bench --loads cold,mixed --compare main~3      this checkout against a revision
  tools/dev bench --loads cold,hot --grow 5000000          do the ratios hold on grown books?
  tools/dev bench --json bench.json --svg bench.svg
  tools/dev bench access                         tokens and limits; see bench access --help
  tools/dev bench events                         relay and consumer; see bench events --help

Exit code 0: measured, whether targets were met or missed. 1: errors, wrong counts, or books
that `wallet verify` does not prove; the figures do not count then."""


def parse(arguments: Sequence[str]) -> Settings:
    """
    Return what is asked for.

    Raises:
        SystemExit: it makes no sense; argparse has said why.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    alternations = given.alternations or (2 if given.quick else 5)
    seconds = given.seconds or (2 if given.quick else 3)
    loads = given.loads or (QUICK_LOADS if given.quick else tuple(Load))
    if given.wallets < 2:
        parser.error("--wallets: a transfer needs two")
    if given.grow and (len(given.api_processes) > 1 or given.compare):
        parser.error("--grow measures one subject twice: no --compare, one --api-processes")
    for file in (given.json, given.svg):
        if file is not None and not file.resolve().parent.is_dir():
            parser.error(f"there is no folder {file.resolve().parent}")
    return Settings(
        alternations=alternations,
        seconds=seconds,
        connections=given.connections or ((16, 64) if given.quick else (1, 16, 64, 256)),
        loads=loads,
        api_processes=given.api_processes,
        grow_entries=given.grow,
        compared_revision=given.compare,
        json_file=given.json,
        svg_file=given.svg,
        folder=given.state.resolve(),
        scale=given.scale,
        wallets=given.wallets,
        generator=given.generator,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/dev bench",
        description="Measure the service beside pgbench on the same server, in one run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="2 alternations of 2 s, 16 and 64 connections")
    add("--alternations", type=count, metavar="N", help="of each load (default 5)")
    add("--seconds", type=_seconds, metavar="S", help="of each single run (default 3)")
    add("--connections", type=_counts, metavar="LIST", help="default 1,16,64,256")
    add("--loads", type=_loads, metavar="LIST", help="which (default all, see below)")
    add(
        "--api-processes",
        type=_processes,
        metavar="LIST",
        default=(API_PROCESSES,),
        help="how many; several: one session for each (default 2, as tools/dev up)",
    )
    add(
        "--grow",
        type=count,
        metavar="ENTRIES",
        default=0,
        help="measure, add so many ledger entries in batches, measure again",
    )
    add("--compare", metavar="REV", help="alternate with the stack of a git revision")
    add("--json", type=Path, metavar="FILE", help="every alternation, and on which machine")
    add("--svg", type=Path, metavar="FILE", help="latency against throughput")
    add("--state", type=Path, metavar="DIR", default=FOLDER, help="default .local/bench; emptied")
    add("--wallets", type=count, metavar="N", default=10_000, help="default 10000")
    add("--scale", type=count, metavar="N", default=50, help="of pgbench (default 50)")
    add(
        "--generator",
        choices=("auto", "wrk", "own"),
        default="auto",
        help="of closed loops; auto takes wrk if it is there (default)",
    )
    return parser


def count(text: str) -> int:
    """Read a whole number from 1 for argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> int:
    # Whole ones: neither wrk nor pgbench takes others.
    seconds = count(text)
    if seconds > 3600:
        raise argparse.ArgumentTypeError("at most 3600 seconds")
    return seconds


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(sorted({count(part) for part in text.split(",")}))
    if counts[-1] > CONNECTIONS_MAX:
        raise argparse.ArgumentTypeError(f"at most {CONNECTIONS_MAX} connections")
    return counts


def _processes(text: str) -> tuple[int, ...]:
    counts = tuple(dict.fromkeys(count(part) for part in text.split(",")))
    if max(counts) > 64:
        raise argparse.ArgumentTypeError("at most 64 API processes")
    return counts


def _loads(text: str) -> tuple[Load, ...]:
    unknown = [name for name in text.split(",") if name not in set(Load)]
    if unknown:
        names = ", ".join(Load)
        raise argparse.ArgumentTypeError(f"no load is called {unknown[0]!r}; there are {names}")
    asked = set(text.split(","))
    return tuple(load for load in Load if load in asked)
