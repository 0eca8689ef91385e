"""
This module is where a wallet's events are handed on as they are committed, to who keeps listening.

One task reads for all the streams of this process, on one connection and only while there are any.
What a stream was given last is all that is kept of it: its client resumes anywhere, on any process.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import time
from typing import Final

import structlog
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from wallet_api.problems import busy
from wallet_common.events import Envelope, encode
from wallet_db_orm.database import Database
from wallet_db_orm.feed import NEW_MAX, NEW_PER_WALLET_MAX, Tail, listening

STREAMS_MAX: Final = 500
# A line that says nothing, lest something between takes the silence for an end.
KEEP_ALIVE_S: Final = 15.0
# A client that takes nothing for so long is let go; it resumes where it was.
STALLED_S: Final = 30.0
# The longest that a stream lasts; it ends with its token if that ends before.
LIFETIME_S: Final = 3_600.0
# The bell may stay silent; and however often it rings, the database is not asked more often.
_POLL_S: Final = 0.5
_AT_MOST_EVERY_S: Final = 0.05
_RECONNECT_S: Final = 1.0

log = structlog.get_logger("wallet_api")


class Stream:
    """One reader of one wallet: `version` is the last that it was given."""

    def __init__(self, wallet_id: str, version: int, wake: Callable[[], None]) -> None:
        self.wallet_id = wallet_id
        self.version = version
        # There may be more than it was given: it had not taken the last, or got as many as one may.
        self.may_have_more = False
        self._wake = wake
        self._waiting: list[bytes] = []
        self._changed = asyncio.Event()
        self._is_ended = False

    @property
    def has_room(self) -> bool:
        return not self._waiting

    def offer(self, version: int, told: bytes) -> None:
        """Keep an event until it is taken; any but the next one is not."""
        if version == self.version + 1:
            self.version = version
            self._waiting.append(told)
            self._changed.set()

    def end(self) -> None:
        self._is_ended = True
        self._changed.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what there is to send, a sign of life in silence, until the stream is ended."""
        while not self._is_ended:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._changed.wait()
            except TimeoutError:
                yield b":\n\n"
                continue
            self._changed.clear()
            if told := b"".join(self._waiting):
                self._waiting.clear()
                if self.may_have_more:
                    self.may_have_more = False
                    self._wake()
                yield told


class Streams:
    """The open streams of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # In the order of being served; those who got something go to the end.
        self._open: dict[Stream, None] = {}
        self._reading: asyncio.Task[None] | None = None
        self._tail: Tail | None = None
        self._is_ending = False

    def __len__(self) -> int:
        return len(self._open)

    def open(self, wallet_id: str, version: int) -> Stream:
        """Return a stream of what the wallet tells behind `version`; raises a 503 if it is full."""
        if self._is_ending or len(self._open) >= STREAMS_MAX:
            raise busy("No more streams are served here; open it again.")
        stream = Stream(wallet_id, version, self._wake)
        self._open[stream] = None
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        self._wake()
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream whose client has gone."""
        del self._open[stream]
        self._wake()

    def end(self) -> None:
        """End all streams, and open no other: the process is about to stop."""
        self._is_ending = True
        for stream in self._open:
            stream.end()

    async def stop(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def _wake(self) -> None:
        if self._tail is not None:
            self._tail.wake()

    async def _read(self) -> None:
        is_told = False
        try:
            while self._open:
                try:
                    async with listening(self._database.listening) as self._tail:
                        await self._follow(self._tail)
                        is_told = False
                except Exception as error:  # noqa: BLE001  # whatever it is, the clients wait
                    if not is_told:
                        log.warning("streams.interrupted", error_class=type(error).__name__)
                    is_told = True
                    await asyncio.sleep(_RECONNECT_S)
        finally:
            self._reading = self._tail = None

    async def _follow(self, tail: Tail) -> None:
        while self._open:
            # Those of a wallet who have read the same are asked for once.
            asked: dict[tuple[str, int], list[Stream]] = defaultdict(list)
            for stream in self._open:
                if stream.has_room:
                    asked[stream.wallet_id, stream.version].append(stream)
                else:
                    stream.may_have_more = True
            found = await tail.new(asked)
            told: dict[tuple[str, int], list[Envelope]] = defaultdict(list)
            for read, event in found:
                told[event.wallet_id, read].append(event)
            for key, events in told.items():
                self._serve(asked[key], events)
            await asyncio.sleep(_AT_MOST_EVERY_S)
            if len(found) < NEW_MAX:
                await tail.rest(_POLL_S)

    def _serve(self, streams: list[Stream], events: list[Envelope]) -> None:
        for event in events:
            assert event.wallet_version is not None, "a stream is of steps of the wallet only"
            framed = frame(event)
            for stream in streams:
                stream.offer(event.wallet_version, framed)
        for stream in streams:
            stream.may_have_more = len(events) >= NEW_PER_WALLET_MAX
            if stream in self._open:
                del self._open[stream]
                self._open[stream] = None


class EventStream(ASGIResponse):
    """Answers with what a wallet tells behind `version`, until somebody ends it."""

    # There is no length to tell.
    _should_set_content_length = False

    def __init__(
        self,
        streams: Streams,
        wallet_id: str,
        version: int,
        first: bytes,
        until: float | None = None,
    ) -> None:
        """`until` is when it has to end, in seconds since 1970."""
        super().__init__(
            media_type="text/event-stream",
            # Said to proxies, some of which would collect what is meant to be seen at once.
            headers={"x-accel-buffering": "no"},
        )
        self._streams = streams
        self._wallet_id = wallet_id
        self._version = version
        self._first = first
        self._until = until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        stream = self._streams.open(self._wallet_id, self._version)
        leaving = asyncio.create_task(_end_when_gone(stream, receive))
        lasts_s = LIFETIME_S if self._until is None else min(LIFETIME_S, self._until - time())
        ending = asyncio.get_running_loop().call_later(max(0.0, lasts_s), stream.end)
        try:
            await self.start_response(send)
            await _send(send, self._first, more=True)
            async for chunk in stream.chunks():
                await _send(send, chunk, more=True)
            await _send(send, b"", more=False)
        except TimeoutError:
            log.warning("stream.stalled", wallet_id=self._wallet_id, version=self._version)
        finally:
            ending.cancel()
            leaving.cancel()
            self._streams.close(stream)


def frame(event: Envelope) -> bytes:
    """Return an event as the protocol spells it; JSON of ours has no line break."""
    head = f"id: {event.wallet_version}\nevent: {event.type}\ndata: "
    return head.encode() + encode(event) + b"\n\n"


async def _send(send: Send, body: bytes, *, more: bool) -> None:
    """Send, or raise TimeoutError if the client does not take it."""
    async with asyncio.timeout(STALLED_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _end_when_gone(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()
