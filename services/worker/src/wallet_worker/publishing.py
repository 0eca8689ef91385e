"""
This module is where a batch of messages goes to the broker with one write, all confirms awaited.

The client library would have a task, some futures and three frames to put together for each
message; here a message costs a copy of what those like it have in common.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import pamqp.frame
from aiormq import Channel
from aiormq.abc import ChannelFrame
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

_PERSISTENT: Final = 2
_CLOSED: Final = "the channel is closed"
# Stands in the pattern where a message has its id, which is as long.
_ID: Final = "00000000-0000-0000-0000-000000000000"
# Where a content header has the body's size: behind the frame's head, a class and a weight.
_SIZE_AT: Final = slice(7 + 2 + 2, 7 + 2 + 2 + 8)


class Outgoing(msgspec.Struct, frozen=True):
    """A message on its way out; `id` is a UUID's text. Persistent, of type JSON."""

    id: str
    exchange: str
    routing_key: str
    body: bytes
    is_mandatory: bool


class Publisher:
    """Publishes through one channel, which confirms and through which nobody else publishes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._patterns: dict[tuple[str, str, bool], _Pattern] = {}

    async def publish(
        self, messages: Sequence[Outgoing], *, timeout_s: float
    ) -> list[BaseException | None]:
        """
        Publish in order; return for each message why it is not confirmed, None if it is.

        Raises ChannelInvalidStateError if the channel is closed.
        """
        channel = self._channel
        if channel.is_closed:
            raise ChannelInvalidStateError(_CLOSED)
        written = b"".join([self._frames(message) for message in messages])
        async with asyncio.timeout(timeout_s):
            await channel.write_queue.put(ChannelFrame(written, should_close=False))
        # Not earlier: had we been cancelled, these would be counted and never sent. Not later: no
        # confirm can come in before this turn is over.
        confirms = [self._expect(message.id) for message in messages]
        closing = channel.closing
        closing.add_done_callback(lambda _: _give_up(confirms))
        try:
            await asyncio.wait(confirms, timeout=timeout_s)
            return [_failure(confirm) for confirm in confirms]
        finally:
            closing.cancel()
            for message, confirm in zip(messages, confirms, strict=True):
                channel.message_id_delivery_tag.pop(message.id, None)
                confirm.cancel()

    def _expect(self, message_id: str) -> asyncio.Future[object]:
        """Return what the channel resolves when the next message is confirmed or returned."""
        channel = self._channel
        confirm: asyncio.Future[object] = channel.loop.create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirm
        # A return names the message and no delivery tag.
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        return confirm

    def _frames(self, message: Outgoing) -> bytes:
        kind = (message.exchange, message.routing_key, message.is_mandatory)
        pattern = self._patterns.get(kind)
        if pattern is None:
            pattern = self._patterns[kind] = _pattern(self._channel.number, *kind)
        body, size_max = message.body, self._channel.max_content_size
        # As many frames as it needs; none if it is empty, or the broker ends the connection.
        bodies = [
            pamqp.frame.marshal(ContentBody(body[at : at + size_max]), self._channel.number)
            for at in range(0, len(body), size_max)
        ]
        return pattern.filled(message.id.encode(), len(body)) + b"".join(bodies)


class _Pattern(msgspec.Struct, frozen=True):
    """What the frames before the body are for messages of one kind, without size and id."""

    before_size: bytes
    before_ids: bytes
    between_ids: bytes
    after_ids: bytes

    def filled(self, message_id: bytes, size: int) -> bytes:
        return b"".join(
            (
                *(self.before_size, size.to_bytes(8, "big"), self.before_ids, message_id),
                *(self.between_ids, message_id, self.after_ids),
            )
        )


def _pattern(number: int, exchange: str, routing_key: str, is_mandatory: bool) -> _Pattern:  # noqa: FBT001  # as the kind has them
    method = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=is_mandatory)
    properties = Basic.Properties(
        message_id=_ID,
        correlation_id=_ID,
        message_type=routing_key,
        content_type="application/json",
        delivery_mode=_PERSISTENT,
    )
    header = pamqp.frame.marshal(ContentHeader(body_size=0, properties=properties), number)
    first, between, after = header[_SIZE_AT.stop :].split(_ID.encode())
    before = pamqp.frame.marshal(method, number) + header[: _SIZE_AT.start]
    return _Pattern(before, first, between, after)


def _give_up(confirms: Sequence[asyncio.Future[object]]) -> None:
    for confirm in confirms:
        if not confirm.done():
            confirm.set_exception(ChannelInvalidStateError(_CLOSED))


def _failure(confirm: asyncio.Future[object]) -> BaseException | None:
    return confirm.exception() if confirm.done() else TimeoutError("no confirm in time")
