"""This module is where a load is sent, by wrk or by processes of our own, and its sum drawn."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec

from wallet_tools import environment
from wallet_tools.bench import wrk
from wallet_tools.bench.figures import BenchFailed, percentile
from wallet_tools.bench.sender import Job, Sent
from wallet_tools.bench.traffic import Traffic

OWN: Final = "own (httptools)"
# Where there are few cores, more of them for the generator are fewer for the service.
CORES_PER_PROCESS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    What a load came to: `answered` 2xx within `seconds`, latencies in milliseconds.

    The ledger must have grown by `entries_min` to `entries_max`: what was on its way at the end
    may or may not have arrived. `failure` is empty if every answer was a 2xx.
    """

    generator: str
    answered: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    entries_min: int
    entries_max: int
    failure: str
    lateness_p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A load to be sent: a closed loop over `seconds` or `count` requests, or an open one."""

    url: str
    traffic: Traffic
    connections: int
    seconds: int | None = None
    count: int | None = None
    rate: float | None = None


def find_wrk(wanted: str) -> str | None:
    """
    Return the path of wrk if it is to be used.

    Raises:
        BenchFailed: it was asked for and is not there.
    """
    found = None if wanted == "own" else shutil.which("wrk", path=environment.system().get("PATH"))
    if wanted == "wrk" and found is None:
        raise BenchFailed("there is no wrk on PATH; leave --generator out, or install it")
    return found


class Prepared:
    """A load that is ready to start, so that what is measured is the load and not its start."""

    def __init__(self, order: Order, wrk_path: str | None) -> None:
        self._order = order
        self._wrk = wrk_path if order.rate is None and order.count is None else None
        self._processes: list[subprocess.Popen[str]] = []

    def run(self) -> Tally:
        """Send it; returns when the last answer is in."""
        if self._wrk is not None:
            return self._run_wrk(self._wrk)
        for process in self._processes:
            _pipe(process.stdin).write("go\n")
            _pipe(process.stdin).flush()
        return combine([_answer(process, Sent) for process in self._processes], self._order)

    def start(self) -> None:
        """Start the processes of our own generator and wait until they are connected."""
        if self._wrk is not None:
            return
        order = self._order
        count = min(order.connections, max(1, (os.cpu_count() or 1) // CORES_PER_PROCESS))
        address = urlsplit(order.url)
        assert address.hostname, "the address of a stack has a host"
        for number in range(count):
            job = Job(
                host=address.hostname,
                port=address.port or 80,
                traffic=order.traffic,
                connections=order.connections // count + (number < order.connections % count),
                seconds=order.seconds,
                # What is bounded by a count is small; one process does it.
                count=order.count,
                rate=order.rate / count if order.rate is not None else None,
                number=number,
            )
            self._processes.append(_start(job))
            if order.count is not None:
                break
        for process in self._processes:
            if _pipe(process.stdout).readline() != "ready\n":
                raise BenchFailed(f"the load generator did not start: {_last_words(process)}")

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _run_wrk(self, path: str) -> Tally:
        order = self._order
        assert order.seconds is not None, "wrk runs for a time"
        threads = max(1, (os.cpu_count() or 1) // CORES_PER_PROCESS)
        arguments = wrk.command(
            path,
            order.url,
            order.traffic,
            connections=order.connections,
            seconds=order.seconds,
            threads=threads,
        )
        told = wrk.run(arguments)
        # One more: wrk has a request made only to see what the script does.
        unsure = (order.connections + 1) * order.traffic.entries_per_request
        return Tally(
            generator="wrk",
            answered=told.answered,
            seconds=told.duration_us / 1e6,
            p50_ms=told.p50_us / 1e3,
            p95_ms=told.p95_us / 1e3,
            p99_ms=told.p99_us / 1e3,
            entries_min=max(0, told.entries - unsure),
            entries_max=told.entries,
            failure=told.failure,
        )


@contextlib.contextmanager
def prepared(order: Order, wrk_path: str | None) -> Iterator[Prepared]:
    """Yield a load that is ready to start; its processes are gone at the end."""
    load = Prepared(order, wrk_path)
    try:
        load.start()
        yield load
    finally:
        load.end()


def combine(parts: list[Sent], order: Order) -> Tally:
    """Draw the sum of what the processes sent."""
    latencies = sorted(value for part in parts for value in part.latencies_us)
    lateness = sorted(value for part in parts for value in part.lateness_us)
    entries = sum(part.entries for part in parts)
    failures = [part.failure for part in parts if part.failure]
    wrong = sum(
        count for part in parts for status, count in part.statuses.items() if status // 100 != 2
    )
    return Tally(
        generator=OWN,
        answered=sum(part.answered for part in parts),
        seconds=max(part.seconds for part in parts),
        p50_ms=percentile(latencies, 0.50) / 1e3,
        p95_ms=percentile(latencies, 0.95) / 1e3,
        p99_ms=percentile(latencies, 0.99) / 1e3,
        entries_min=entries,
        entries_max=entries,
        failure=f"{wrong} answers that are no 2xx: {failures[0]}" if failures else "",
        lateness_p99_ms=percentile(lateness, 0.99) / 1e3 if order.rate is not None else None,
    )


def _start(job: Job) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "wallet_tools.bench.sender"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment.system(),
    )
    _pipe(process.stdin).write(msgspec.json.encode(job).decode() + "\n")
    _pipe(process.stdin).flush()
    return process


def _answer(process: "subprocess.Popen[str]", kind: type[Sent]) -> Sent:
    line = _pipe(process.stdout).readline()
    if not line:
        raise BenchFailed(f"the load generator ended: {_last_words(process)}")
    answer = msgspec.json.decode(line, type=kind)
    # Waited for, its CPU time is counted as a child's.
    process.wait()
    return answer


def _last_words(process: "subprocess.Popen[str]") -> str:
    return _pipe(process.stderr).read().strip() or "without a word"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "it was started with pipes"
    return pipe
