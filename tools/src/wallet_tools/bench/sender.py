"""
This module is where one process of our own load generator runs: httptools over asyncio.

It reads its Job from standard input, says "ready" when it is connected, sends from the moment
the next line comes, and writes its Sent to standard output. A process of its own, because the
one that measures must not be slowed by it, nor it by that.
"""

import asyncio
import math
import selectors
import sys
import time
from collections import deque
from typing import Final, cast

import httptools
import msgspec
import uvloop

from wallet_tools.bench.traffic import Requests, Traffic

# After the end of a load its last requests are still answered, or it is an error.
PATIENCE_S: Final = 30.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One of `seconds` and `count` bounds it; `rate` (per second) makes it an open loop."""

    host: str
    port: int
    traffic: Traffic
    connections: int
    seconds: int | None = None
    count: int | None = None
    rate: float | None = None
    number: int = 0


class Sent(msgspec.Struct, kw_only=True):
    """
    What one process sent and what came of it.

    `answered` counts what came back within the load's time and was a 2xx; latencies are theirs.
    In an open loop a latency counts from the time the request was due, and `lateness_us` tells
    how late the generator itself was where a connection was free: its own error.
    """

    sent: int
    repeated: int
    entries: int
    answered: int
    seconds: float
    statuses: dict[int, int]
    failure: str
    latencies_us: list[int]
    lateness_us: list[int]


class Generator:
    """Shares what the connections of one process have in common: the requests and the figures."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests = Requests(job.traffic, f"{job.host}:{job.port}", job.number)
        self.connections: list[Connection] = []
        self.free: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.busy = 0
        self.started = self.ended = 0.0
        self.is_paced = False
        self.deadline = math.inf
        self.statuses: dict[int, int] = {}
        self.failure = ""
        self.latencies_us: list[int] = []
        self.lateness_us: list[int] = []
        self.finished = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.job.connections):
            _, connection = await loop.create_connection(
                lambda: Connection(self), self.job.host, self.job.port
            )
            self.connections.append(connection)

    async def run(self) -> Sent:
        self.started = time.perf_counter()
        if self.job.seconds is not None:
            self.deadline = self.started + self.job.seconds
        if self.job.rate is None:
            for connection in self.connections:
                self.offer(connection)
        else:
            self.free.extend(self.connections)
            await self._keep_pace(self.job.rate)
            self.is_paced = True
        self._finish_if_idle()
        longest = PATIENCE_S + (self.job.seconds or 600.0)
        try:
            await asyncio.wait_for(self.finished, longest)
        except TimeoutError:
            self.failure = self.failure or f"{self.busy} requests without an answer"
        return self._sent()

    async def _keep_pace(self, rate: float) -> None:
        """Send each request when it is due, whether or not the ones before it were answered."""
        number = 0
        while (due := self.started + number / rate) < self.deadline:
            delay = due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            elif number % 64 == 0:
                await asyncio.sleep(0)  # Behind its time, it still lets answers in.
            number += 1
            if self.free:
                now = time.perf_counter()
                self.lateness_us.append(round((now - due) * 1e6))
                self.free.popleft().send(due)
            else:
                self.due.append(due)

    def offer(self, connection: "Connection") -> None:
        """Give a connection its next request, or let it rest."""
        if self.due:
            connection.send(self.due.popleft())
        elif self.job.rate is not None:
            self.free.append(connection)
        elif not self._is_over():
            connection.send(time.perf_counter())
        self._finish_if_idle()

    def answered(self, status: int, since: float) -> None:
        now = time.perf_counter()
        self.busy -= 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        # Of an open loop every request counts, also one that was answered too late.
        if 200 <= status < 300 and (now < self.deadline or self.job.rate is not None):
            self.latencies_us.append(round((now - since) * 1e6))
        self.ended = now

    def broken(self, reason: str) -> None:
        self.failure = self.failure or reason
        if not self.finished.done():
            self.finished.set_result(None)

    def _is_over(self) -> bool:
        job = self.job
        if job.count is not None and self.requests.sent >= job.count:
            return True
        return time.perf_counter() >= self.deadline

    def _finish_if_idle(self) -> None:
        is_over = self.is_paced if self.job.rate is not None else self._is_over()
        if is_over and not self.busy and not self.due and not self.finished.done():
            self.finished.set_result(None)

    def _sent(self) -> Sent:
        requests, took = self.requests, self.ended - self.started
        if self.job.seconds is not None:
            # An open loop that was not kept up with took longer than it was meant to.
            took = self.job.seconds if self.job.rate is None else max(self.job.seconds, took)
        return Sent(
            sent=requests.sent,
            repeated=requests.repeated,
            entries=requests.entries,
            answered=len(self.latencies_us),
            seconds=took,
            statuses=self.statuses,
            failure=self.failure,
            latencies_us=self.latencies_us,
            lateness_us=self.lateness_us,
        )


class Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._since = 0.0
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream by its methods; uvloop's is none by its class.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, since: float) -> None:
        self._since = since
        self._is_waiting = True
        self._generator.busy += 1
        self._transport.write(self._generator.requests.next())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._generator.broken(f"unreadable answer: {error}")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._status >= 300 and not self._generator.failure:
            self._generator.failure = f"{self._status} {body[:300].decode(errors='replace')}"

    def on_message_complete(self) -> None:
        self._is_waiting = False
        self._generator.answered(self._status, self._since)
        self._generator.offer(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._is_waiting:
            self._generator.broken("the server closed a connection instead of answering")


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are exact to microseconds: select(2) takes these, epoll ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    job = msgspec.json.decode(sys.stdin.readline(), type=Job)

    async def work() -> Sent:
        generator = Generator(job)
        await generator.connect()
        print("ready", flush=True)
        # Nothing else is to be done until the starter says so.
        sys.stdin.readline()
        return await generator.run()

    factory = uvloop.new_event_loop if job.rate is None else precise_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(msgspec.json.encode(runner.run(work())).decode(), flush=True)


if __name__ == "__main__":
    main()
