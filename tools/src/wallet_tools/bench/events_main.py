"""This module is where `tools/dev bench events` runs from its arguments to its exit code."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from wallet_tools.bench import machine
from wallet_tools.bench.arguments import FOLDER, count
from wallet_tools.bench.books import Books
from wallet_tools.bench.events_bed import WALLETS, EventsBed
from wallet_tools.bench.events_goals import everything_applied, everything_left, last_waiting
from wallet_tools.bench.events_report import render
from wallet_tools.bench.events_results import (
    EventResults,
    Part,
    PartRun,
    hold_against,
    judge,
    summarize,
)
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.generator import OWN
from wallet_tools.bench.plan import BULK_COMMANDS
from wallet_tools.bench.results import Proof
from wallet_tools.bench.session import Progress
from wallet_tools.bench.subject import Subject
from wallet_tools.bench.workplace import STACKS, interruptible, workplace
from wallet_tools.state import ROOT, StateFolder

EPILOG: Final = """\
One run alternates, on a private stack:
  bare publisher  aio-pika, 500 publishes awaited together, into a queue like the worker's own
  relay           the worker's relay alone: outbox to broker, confirmed, removed, in the feed
  bare consumer   aio-pika, prefetch as ours, acknowledges each message and looks at none
  consumer        the worker's consumer alone: decode, inbox, projections, fraud rules
  worker          relay and consumer in one process, from the outbox to the projections
Bare and ours have the same bodies, queue arguments and event loop; each of ours runs between two
of the bare ones, and its ratio is to their mean.

examples:
  tools/dev bench events
  tools/dev bench events --alternations 1 --events 5000
  tools/dev bench events --json events.json

Exit code 0: measured, whether targets were met or missed. 1: it could not be finished, or
`wallet verify` does not prove the books; the figures do not count then."""


def run(argv: Sequence[str]) -> int:
    """Measure, print the page, write the file; 0 if the figures count, 1 if they do not."""
    given = _parse(argv)
    interruptible()
    results = EventResults(
        machine={},
        method={"alternations": given.alternations, "events": given.events, "wallets": WALLETS},
    )
    try:
        with workplace(given.state.resolve()) as folder:
            _measure(folder, given.alternations, given.events, results)
    except BenchFailed as failed:
        if not results.runs:
            print(f"tools/dev bench events: {failed}", file=sys.stderr)
            return 1
        results.failure = str(failed)
    hold_against(results.runs)
    results.summaries = summarize(results.runs)
    results.targets = judge(results.summaries)
    print(f"\n{render(results)}", flush=True)
    if given.json is not None:
        text = msgspec.json.format(msgspec.json.encode(results), indent=2)
        given.json.write_bytes(text + b"\n")
    return 1 if results.problems else 0


def _measure(folder: Path, alternations: int, events: int, results: EventResults) -> None:
    subject = Subject("this checkout", ROOT, StateFolder.at(folder / STACKS[0]))
    try:
        subject.up(1)
        if subject.run().rabbitmq is None:
            raise BenchFailed("there is no broker on this machine: tools/dev setup")
        with Books(subject.run().database_admin) as books:
            results.machine = machine.describe([subject], [books], [OWN])
            bed = EventsBed(subject, books, events, folder / "part.log")
            progress = Progress(steps_left=0, seconds_left=0)
            progress.say(f"putting money into {WALLETS:,} wallets")
            bed.fund()
            books.drain(progress.say)
            with bed.without_worker():
                for number in range(alternations):
                    progress.say(f"alternation {number + 1} of {alternations}")
                    _alternate(bed, number, progress, results.runs)
            progress.say("draining, then wallet verify")
            books.drain(progress.say)
            is_proved, said = subject.verify()
            results.proofs.append(Proof(subject=subject.name, is_proved=is_proved, said=said))
    finally:
        subject.down()


def _alternate(bed: EventsBed, number: int, progress: Progress, runs: list[PartRun]) -> None:
    def note(found: PartRun) -> None:
        runs.append(found)
        progress.say(f"{found.part}: {found.events_per_second:,.0f}/s")

    events, last = bed.fill(), last_waiting(bed.books)
    with bed.started(Part.BARE_PUBLISHER, events) as bare:
        note(bare.run(number, events))
        with bed.started(Part.RELAY, events) as relay:
            waiting = bed.books.backlog()
            note(relay.run(number, waiting, everything_left(bed.books)))
        note(bare.run(number, events))
    with bed.started(Part.BARE_CONSUMER, events) as bare:
        note(bare.run(number, events))
        with bed.started(Part.CONSUMER, events) as consumer:
            is_done = everything_applied(bed.books, last, events)
            note(consumer.run(number, events, is_done))
        note(bare.run(number, events))
    events, last = bed.fill(), last_waiting(bed.books)
    with bed.started(Part.WORKER, events) as worker:
        is_done = everything_applied(bed.books, last, events)
        note(worker.run(number, events, is_done))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/dev bench events",
        description="Measure relay and consumer beside a bare publisher and a bare consumer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--alternations", type=count, metavar="N", default=3, help="of all parts (default 3)")
    add("--events", type=count, metavar="N", default=20_000, help="each (default 20000)")
    add("--json", type=Path, metavar="FILE", help="every run, and on which machine")
    add("--state", type=Path, metavar="DIR", default=FOLDER, help="default .local/bench; emptied")
    given = parser.parse_args(argv)
    # Rounded up to whole batches of the API.
    given.events = -(-given.events // BULK_COMMANDS) * BULK_COMMANDS
    if given.json is not None and not given.json.resolve().parent.is_dir():
        parser.error(f"there is no folder {given.json.resolve().parent}")
    return given
