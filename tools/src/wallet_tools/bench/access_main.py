"""This module is where `tools/dev bench access` measures what tokens and limits cost a deposit."""

import argparse
import contextlib
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wallet_api import token
from wallet_tools import environment
from wallet_tools.bench.arguments import FOLDER, count
from wallet_tools.bench.books import Books
from wallet_tools.bench.figures import BenchFailed, spread
from wallet_tools.bench.generator import Order, Tally, find_wrk, prepared
from wallet_tools.bench.session import Progress
from wallet_tools.bench.subject import Subject
from wallet_tools.bench.traffic import Traffic
from wallet_tools.bench.workplace import STACKS, interruptible, workplace
from wallet_tools.ports import free_port
from wallet_tools.processes import wait_until
from wallet_tools.state import ROOT, StateFolder

RATIO_MIN: Final = 0.85
WALLETS: Final = 10_000
EPILOG: Final = """\
Two API processes of this checkout stand on one database: one asks nobody, the other asks for
tokens and counts each request against a limit of its principal and one of its address, which are
never reached. Deposits over 10 000 wallets go to one and to the other in turn; a ratio is that of
a pair of runs next to each other.

examples:
  tools/dev bench access
  tools/dev bench access --alternations 9 --connections 256

Exit code 0: measured, whether the target was met or missed. 1: it could not be finished, or
`wallet verify` does not prove the books; the figures do not count then."""


@dataclass(frozen=True, slots=True)
class _Api:
    name: str
    url: str
    authorization: str = ""


def run(argv: Sequence[str]) -> int:
    """Measure and print; 0 if the figures count, 1 if they do not."""
    given = _parse(argv)
    interruptible()
    try:
        with workplace(given.state.resolve()) as folder:
            ratios, is_proved, said = _measure(folder, given)
    except BenchFailed as failed:
        print(f"tools/dev bench access: {failed}", file=sys.stderr)
        return 1
    found = spread(ratios)
    verdict = "met" if found.median >= RATIO_MIN else "missed"
    print(
        f"\ndeposits with tokens and limits, x without: median {found.median:.3f}"
        f" ({found.min:.3f} to {found.max:.3f}, {len(ratios)} pairs);"
        f" >= {RATIO_MIN} {verdict}\n{said}",
        flush=True,
    )
    return 0 if is_proved else 1


def _measure(folder: Path, given: argparse.Namespace) -> tuple[list[float], bool, str]:
    subject = Subject("this checkout", ROOT, StateFolder.at(folder / STACKS[0]))
    progress = Progress(steps_left=0, seconds_left=0)
    ratios: list[float] = []
    try:
        subject.up(1)
        stack = subject.run()
        with (
            Books(stack.database_admin) as books,
            _apis(stack.database, folder) as apis,
            subject.paused(books.worker_is_in_transaction),
        ):
            books.lay_in_log()
            for api in apis:
                _load(api, books, given, "warm-up")
            for number in range(given.alternations):
                # The first goes first in every other pair only.
                turns = apis if number % 2 == 0 else apis[::-1]
                told = {each.name: _load(each, books, given, f"{number}") for each in turns}
                off, on = (told[each.name].answered / told[each.name].seconds for each in apis)
                ratios.append(on / off)
                progress.say(f"off {off:,.0f}/s, on {on:,.0f}/s: {on / off:.3f}")
        progress.say("draining, then wallet verify")
        with Books(stack.database_admin) as books:
            books.drain(progress.say)
        return ratios, *subject.verify()
    finally:
        subject.down()


@contextlib.contextmanager
def _apis(database: str, folder: Path) -> Iterator[list[_Api]]:
    """Yield the two processes' addresses, off and on; they are gone at the end."""
    secret = secrets.token_hex(32)
    limits = {
        f"WALLET_{kind}RATE_LIMIT_{what}": "1000000"
        for kind in ("", "CLIENT_")
        for what in ("PER_SECOND", "BURST")
    }
    guarded = {"WALLET_AUTH": "jwt", "WALLET_JWT_SECRET": secret, **limits}
    with contextlib.ExitStack() as started:
        off = started.enter_context(_api(database, folder / "off.log", {"WALLET_AUTH": "off"}))
        on = started.enter_context(_api(database, folder / "on.log", guarded))
        minted = token.sign(secret, "wallet", "wallet", "bench", ["payments"], 86_400)
        yield [_Api("off", off), _Api("on", on, f"Bearer {minted}")]


@contextlib.contextmanager
def _api(database: str, log: Path, settings: dict[str, str]) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "wallet_api.main"],
            env=environment.system()
            | environment.addresses(database, None)
            | {"WALLET_PORT": str(port)}
            | settings,
            stdout=file,
            stderr=file,
        )
    try:
        if not wait_until(lambda: _is_alive(url), 60):
            raise BenchFailed(f"an API process does not answer: {log.read_text()[-500:]}")
        yield url
    finally:
        process.kill()
        process.wait()


def _is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _load(api: _Api, books: Books, given: argparse.Namespace, name: str) -> Tally:
    # Unique in this run, whose database is new.
    prefix = f"{api.name}-{name}"
    traffic = Traffic("deposit", prefix, WALLETS, authorization=api.authorization)
    order = Order(
        url=api.url, traffic=traffic, connections=given.connections, seconds=given.seconds
    )
    opened = books.opened()
    with prepared(order, find_wrk("auto")) as load:
        tally = load.run()
    _, wrong = books.closed(opened, tally.entries_min, tally.entries_max)
    if tally.failure or wrong:
        raise BenchFailed(f"{api.name}: {tally.failure or wrong}")
    return tally


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/dev bench access",
        description="Measure deposits with tokens and limits beside deposits without.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--alternations", type=count, metavar="N", default=5, help="pairs of runs (default 5)")
    add("--seconds", type=count, metavar="S", default=3, help="of each single run (default 3)")
    add("--connections", type=count, metavar="N", default=64, help="default 64")
    add("--state", type=Path, metavar="DIR", default=FOLDER, help="default .local/bench; emptied")
    return parser.parse_args(argv)
