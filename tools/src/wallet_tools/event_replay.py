"""
This module is where an operator sends events that have left once more, to one queue.

At least once, in the order of the feed, each byte-equal to the first time and confirmed by the
broker. Whatever ends a replay early, it tells the place behind which the rest begins.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import aio_pika
import msgspec
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from wallet_api import cursors
from wallet_api.feed import POSITIONS
from wallet_api.problems import Problem
from wallet_common.facts import EventType
from wallet_common.topology import REPUBLISHED_HEADER, ROUTING_KEY_HEADER
from wallet_db_orm import event_log, feed, operator_log
from wallet_db_orm.database import Database
from wallet_db_orm.event_log import Span, Told
from wallet_db_orm.operator_log import Act
from wallet_runtime.settings import secret
from wallet_tools.command import (
    Refused,
    add_group,
    add_verb,
    operator,
    print_json,
    with_database,
)
from wallet_worker.links import CONFIRM_TIMEOUT_S, CONNECT_TIMEOUT_S, leave, watched

# So many are under way at a time, their confirms awaited together.
_BATCH_MAX: Final = 500
# What the client library's queue holds.
_FRAMES_AT_ONCE: Final = 10
_TOLD_EVERY_S: Final = 1.0

_Send = Callable[[Sequence[Told]], Awaitable[None]]


class Progress:
    """How far a replay has come: all up to the place `after` is at rest in the queue."""

    def __init__(self) -> None:
        self.after: int | None = None
        self.types: Counter[str] = Counter()
        self._began = self._told = time.monotonic()

    @property
    def count(self) -> int:
        return self.types.total()

    def confirmed(self, batch: Sequence[Told]) -> None:
        if batch:
            self.types.update(each.type for each in batch)
            self.after = batch[-1].position

    def tell(self, upto: int) -> None:
        """Say on stderr, each second, how far it is."""
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            speed = round(self.count / (now - self._began))
            print(
                f"  {self.count} events, place {self.after} of {upto}, {speed}/s", file=sys.stderr
            )


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb `events replay`."""
    group = add_group(verbs, "events", "events that have left")
    verb = add_verb(group, "replay", "send events from the log once more, to one queue", _replay)
    kinds = "an RFC 3339 time, or a position of GET /v1/events"
    verb.add_argument("--from", dest="start", type=_bound, required=True, metavar="X", help=kinds)
    verb.add_argument(
        "--to", dest="end", type=_bound, required=True, metavar="Y", help=f"{kinds}; not included"
    )
    verb.add_argument("--queue", required=True, help="the one queue that gets them; it must exist")
    verb.add_argument("--rate", type=_rate, metavar="N/s", help="at most so many per second")
    verb.add_argument("--wallet", metavar="ID", help="only this wallet's")
    verb.add_argument("--type", choices=list(EventType), metavar="TYPE", help="only this type's")
    verb.add_argument("--after", type=_position, metavar="POSITION", help="go on behind this one")
    verb.add_argument("--by", metavar="NAME", help="who, for the operator log")
    verb.add_argument("--dry-run", action="store_true", help="count what would be sent, and stop")
    verb.add_argument("--json", action="store_true", help="for programs")


def _replay(options: argparse.Namespace) -> int:
    broker = secret("RABBITMQ_URL")
    if not broker:
        raise Refused("RABBITMQ_URL is not set: there is no queue to send to")
    if isinstance(options.start, datetime) == isinstance(options.end, datetime):
        if options.start > options.end:
            raise Refused("--from is after --to")
        if options.start == options.end:
            raise Refused("the range is empty: what is at --to is not included")
    progress = Progress()
    try:
        with_database(lambda database: _run(database, broker, options, progress))
    except KeyboardInterrupt:
        _tell_the_place(progress)
        return 130
    except BaseException:
        _tell_the_place(progress)
        raise
    _report(options, progress)
    return 0


def _tell_the_place(progress: Progress) -> None:
    if progress.count:
        rest = f"{progress.count} events were sent; the rest: the same with --after"
        print(f"{rest} {progress.after}", file=sys.stderr)


def _report(options: argparse.Namespace, progress: Progress) -> None:
    if not progress.count:
        raise Refused("no event in that range is such a one; nothing was sent")
    if options.json:
        sent = "wouldSend" if options.dry_run else "sent"
        told = {sent: progress.count, "types": progress.types, "position": progress.after}
        print_json(told | {"queue": options.queue})
        return
    for name, count in sorted(progress.types.items()):
        print(f"  {count:>9} {name}")
    would = "would be sent" if options.dry_run else "are"
    print(f"{progress.count} events {would} in {options.queue}, the last of place {progress.after}")


async def _run(
    database: Database, broker: str, options: argparse.Namespace, progress: Progress
) -> None:
    span = await _span(database, options)
    size = min(_BATCH_MAX, max(1, options.rate // 10)) if options.rate else _BATCH_MAX
    is_noted = options.dry_run
    async with _queue(broker, options.queue, progress) as send:
        began = time.monotonic()
        async for upto, found in event_log.read(database.reads, span):
            for batch in _batches(found, size):
                if not is_noted:
                    await _note(database, options, span)
                    is_noted = True
                if options.dry_run:
                    progress.confirmed(batch)
                    continue
                await send(batch)
                progress.tell(span.upto)
                if options.rate:
                    due = began + progress.count / options.rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            if progress.count:
                progress.after = upto
            progress.tell(span.upto)


async def _span(database: Database, options: argparse.Namespace) -> Span:
    """Return what is asked for, in places; raises Refused if nothing has left there."""
    newest = await feed.last_position(database.reads)
    since = options.start if isinstance(options.start, datetime) else None
    until = options.end if isinstance(options.end, datetime) else None
    first = await event_log.first_published(database.reads, since) if since else options.start
    # An event may leave long after it occurred, so its time bounds no place from above.
    upto = newest if until else min(newest, options.end - 1)
    after = max(first - 1, options.after or 0)
    if after >= upto:
        raise Refused("the range is empty: no event has left there")
    return Span(
        after=after,
        upto=upto,
        since=since,
        until=until,
        wallet_id=options.wallet,
        type=options.type,
    )


async def _note(database: Database, options: argparse.Namespace, span: Span) -> None:
    details = {**msgspec.structs.asdict(span), "rate": options.rate}
    act = Act(
        operator=operator(options.by), act="events.replay", subject=options.queue, details=details
    )
    await operator_log.note(database.primary, [act])


@asynccontextmanager
async def _queue(url: str, name: str, progress: Progress) -> AsyncIterator[_Send]:
    """Yield what sends a batch to the queue and returns once all of it is confirmed."""
    connection = await aio_pika.connect(watched(url), timeout=CONNECT_TIMEOUT_S)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            raise Refused(f"no queue is called {name}") from None
        wire = await channel.get_underlay_channel()

        async def send(batch: Sequence[Told]) -> None:
            results = await _confirmed([_publish(wire, name, each) for each in batch])
            for place, result in enumerate(results):
                if isinstance(result, BaseException):
                    # What was confirmed behind it is sent again with the rest.
                    progress.confirmed(batch[:place])
                    raise _told(result, name) from result
            progress.confirmed(batch)

        yield send
    finally:
        await leave(connection)


async def _confirmed(publishing: Sequence[Coroutine[Any, Any, None]]) -> list[Any]:
    """Start all, in order on one channel, and return what became of each within the time."""
    started: list[asyncio.Task[None]] = []
    for each in publishing:
        started.append(asyncio.create_task(each))
        # More at once would wait for each other in a row, each with a write of its own.
        if len(started) % _FRAMES_AT_ONCE == 0:
            await asyncio.sleep(0)
    try:
        await asyncio.wait(started, timeout=CONFIRM_TIMEOUT_S)
    finally:
        for each_started in started:
            each_started.cancel()
    return await asyncio.gather(*started, return_exceptions=True)


async def _publish(wire: AbstractChannel, queue: str, told: Told) -> None:
    await wire.basic_publish(
        told.body,
        exchange="",
        routing_key=queue,
        properties=Basic.Properties(
            message_id=told.event_id,
            correlation_id=told.event_id,
            message_type=told.type,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={REPUBLISHED_HEADER: True, ROUTING_KEY_HEADER: told.type},
        ),
        mandatory=True,
        wait=False,  # type: ignore[call-arg]  # lacks in the abstract class only
    )


def _told(failure: BaseException, queue: str) -> BaseException:
    if isinstance(failure, DeliveryError):
        return Refused(f"the broker did not take an event for {queue}: full, or gone?")
    if isinstance(failure, asyncio.CancelledError):
        return Refused(f"the broker confirms nothing, for {CONFIRM_TIMEOUT_S:.0f} s")
    return failure


def _batches(found: Sequence[Told], size: int) -> Iterator[Sequence[Told]]:
    for first in range(0, len(found), size):
        yield found[first : first + size]


def _bound(text: str) -> datetime | int:
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return _position(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone: 2026-01-31T12:00:00Z")
    return at


def _position(text: str) -> int:
    """Read a place in the feed: the string that GET /v1/events gives, or the plain number."""
    try:
        place = int(
            text if text.isascii() and text.isdecimal() else cursors.decode(POSITIONS, text)
        )
    except (Problem, ValueError):
        message = f"{text!r} is neither an RFC 3339 time nor a position of GET /v1/events"
        raise argparse.ArgumentTypeError(message) from None
    if not 0 <= place < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no position")
    return place


def _rate(text: str) -> int:
    number = text.removesuffix("/s")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate such as 500/s")
    return int(number)
