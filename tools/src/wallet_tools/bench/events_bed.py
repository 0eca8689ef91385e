"""This module is where a part of the events' way is started, watched and metered."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from wallet_tools import environment
from wallet_tools.bench import meters
from wallet_tools.bench.books import Books
from wallet_tools.bench.events_results import Part, PartRun
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.generator import Order, prepared
from wallet_tools.bench.plan import BULK_COMMANDS
from wallet_tools.bench.subject import Subject
from wallet_tools.bench.traffic import Traffic
from wallet_tools.processes import wait_until
from wallet_tools.state import appended, tail

WALLETS: Final = 10_000
# Few: on a machine that is busy otherwise, commands that wait for long are told 503.
_FILLING_CONNECTIONS: Final = 3
_LOOK_EVERY_S: Final = 0.02
_PART_TIMEOUT_S: Final = 300.0


@dataclass(slots=True)
class EventsBed:
    """A stack whose worker has been ended; its parts run here instead, one at a time."""

    subject: Subject
    books: Books
    events: int
    log: Path
    _fills: int = 0

    @contextlib.contextmanager
    def without_worker(self) -> Iterator[None]:
        """Have the worker ended and not started again for a while; the supervisor sleeps."""
        pids = self.subject.run().pids
        os.kill(pids.supervisor, signal.SIGSTOP)
        try:
            for pid in pids.worker:
                os.kill(pid, signal.SIGTERM)
            if not wait_until(lambda: all(_has_ended(pid) for pid in pids.worker), 15):
                raise BenchFailed("the worker does not end")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids.supervisor, signal.SIGCONT)

    def fund(self) -> None:
        """Give every wallet money, so that no withdrawal is refused."""
        self._send(Traffic("funds", self._prefix(), WALLETS), WALLETS // BULK_COMMANDS)

    def fill(self) -> int:
        """Make events, which wait in the outbox; return how many."""
        traffic = Traffic("events", self._prefix(), WALLETS, seed=self._fills)
        made = self._send(traffic, self.events // BULK_COMMANDS)
        self.books.analyze()
        return made

    @contextlib.contextmanager
    def started(self, part: Part, events: int) -> Iterator["Running"]:
        """Start a part for so many events, wait until it could begin, and end it in the end."""
        run = self.subject.run()
        settings = environment.system() | environment.addresses(run.database_worker, run.rabbitmq)
        with appended(self.log) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "wallet_tools.bench.events_part", part, str(events)],
                env=settings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            running = Running(self, part, process)
            running.expect("ready")
            yield running
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
            process.kill()
            process.communicate()

    def _send(self, traffic: Traffic, count: int) -> int:
        order = Order(
            url=self.subject.run().api,
            traffic=traffic,
            connections=_FILLING_CONNECTIONS,
            count=count,
        )
        before = self.books.entries()
        with prepared(order, None) as load:
            tally = load.run()
        made = self.books.entries() - before
        if tally.failure:
            raise BenchFailed(f"the ledger could not be filled: {tally.failure}")
        if made < tally.entries_max / 2:
            raise BenchFailed(f"of {tally.entries_max} commands only {made} took effect")
        return made

    def _prefix(self) -> str:
        self._fills += 1
        return f"e{time.time_ns() // 1_000_000:x}-{self._fills}"


@dataclass(slots=True)
class Running:
    """A part that is ready to begin."""

    bed: EventsBed
    part: Part
    process: "subprocess.Popen[str]"

    def run(self, number: int, events: int, is_done: Callable[[], bool] | None = None) -> PartRun:
        """
        Let it begin and measure until it is done, which a bare part says and ours shows.

        Raises:
            BenchFailed: it ended, or takes too long.
        """
        pids = msgspec.structs.replace(
            self.bed.subject.run().pids, api=[], worker=[self.process.pid]
        )
        before = meters.read(pids)
        _pipe(self.process.stdin).write("go\n")
        _pipe(self.process.stdin).flush()
        if is_done is None:
            self.expect("done")
        else:
            self._watch(is_done, before.at + _PART_TIMEOUT_S)
        after = meters.read(pids)
        cost = meters.cost(before, after)
        return PartRun(
            part=self.part,
            number=number,
            events=events,
            seconds=after.at - before.at,
            part_us=cost.worker_us / events,
            broker_us=cost.broker_us / events,
            postgres_us=cost.postgres_us / events,
            idle_share=cost.idle_share,
            steal_share=cost.steal_share,
            other_share=cost.other_share,
        )

    def expect(self, word: str) -> None:
        if _pipe(self.process.stdout).readline() != f"{word}\n":
            raise BenchFailed(f"the {self.part} ended:\n{tail(self.bed.log)}")

    def _watch(self, is_done: Callable[[], bool], deadline: float) -> None:
        while not is_done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchFailed(f"the {self.part} has not done it:\n{tail(self.bed.log)}")
            time.sleep(_LOOK_EVERY_S)  # All there is to see of ours is its effect.


def _has_ended(pid: int) -> bool:
    # Its parent is asleep and cannot take note of it: it stays as a zombie.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "it was started with pipes"
    return pipe
