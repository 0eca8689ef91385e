"""
This module is where letters are held that rest in the broker's dead letter queue.

They are consumed without being acknowledged, by the one consumer that the queue then has: so a
whole queue is in hand in little time, two operators never see half of it each, and whatever happens
to the looker, the broker has every letter back as soon as the connection is gone.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError, PublishError
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelLockedResource
from pamqp.commands import Basic

from wallet_common.topology import Topology
from wallet_db_orm import discarded
from wallet_db_orm.database import Database
from wallet_db_orm.discarded import Discarded
from wallet_letters import headers, wire
from wallet_letters.letters import Bounds, Letter, LettersAway, LettersHeld, named

_CONNECT_TIMEOUT_S: Final = 5.0
_ANSWER_TIMEOUT_S: Final = 5.0
_CONFIRM_TIMEOUT_S: Final = 5.0
_GOODBYE_TIMEOUT_S: Final = 2.0
# A dead looker's letters are back within three of these.
_HEARTBEAT_S: Final = 5
_POLL_S: Final = 0.02
# What one consumer may have unacknowledged: the protocol counts to here. Always all of it: letters
# of which only some were delivered go back behind the others.
_PREFETCH: Final = 65_535
_KEPT: Final = (
    *("content_type", "content_encoding", "priority", "correlation_id", "reply_to", "expiration"),
    *("message_id", "timestamp", "message_type", "app_id"),
)

Transport = (AMQPError, OSError, TimeoutError, RuntimeError)


class BrokerBox:
    """The dead letter queue itself; another operator's hold is waited for, `patience_s` long."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        bounds: Bounds | None = None,
        *,
        patience_s: float = 10.0,
    ) -> None:
        self._url = url
        self._topology = topology
        self._bounds = bounds or Bounds()
        self._patience_s = patience_s
        wire.read_anything()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["BrokerHeld"]:
        connection = await self._connect()
        try:
            hand = await self._take(connection)
            try:
                yield BrokerHeld(hand, self._topology.queue)
            finally:
                await hand.let_go()
        finally:
            with suppress(Exception):
                async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
                    await connection.close()

    async def _connect(self) -> AbstractConnection:
        url = self._url
        if "heartbeat=" not in url:
            url = f"{url}{'&' if '?' in url else '?'}heartbeat={_HEARTBEAT_S}"
        try:
            return await aio_pika.connect(url, timeout=_CONNECT_TIMEOUT_S)
        except Transport as away:
            raise LettersAway(f"the broker does not answer: {_short(away)}") from away

    async def _take(self, connection: AbstractConnection) -> "_Hand":
        """Take the letters in hand as the queue's only consumer, once nobody else is that."""
        deadline_s = monotonic() + self._patience_s
        while True:
            try:
                hand = _Hand(await _channel(connection), self._topology, self._bounds)
                await hand.take()
                return hand
            except ChannelNotFoundEntity as unknown:
                raise LettersAway(
                    f"the broker has no queue {self._topology.dead_letter_queue};"
                    " the worker declares it when it starts"
                ) from unknown
            except (ChannelLockedResource, _Rival) as held:
                if monotonic() > deadline_s:
                    raise LettersHeld from held
                await asyncio.sleep(5 * _POLL_S)
            except Transport as away:
                raise LettersAway(f"the broker does not answer: {_short(away)}") from away


class BrokerHeld:
    """Letters of the queue, unacknowledged."""

    def __init__(self, hand: "_Hand", queue: str) -> None:
        self._channel = hand.channel
        letters = named([_letter(message, queue) for message in hand.messages])
        self._messages = {
            letter.name: message for letter, message in zip(letters, hand.messages, strict=True)
        }
        self.letters: Sequence[Letter] = letters
        self.beyond = hand.beyond

    async def put_back(self, letters: Sequence[Letter]) -> Mapping[str, str]:
        """Publish copies to the letters' own queues; a letter is acknowledged after its confirm."""
        refused: dict[str, str] = {}
        for wave in _waves(letters):
            # Started in order on one channel, so the broker sees them in order.
            told = await asyncio.gather(
                *(self._put_back(each) for each in wave), return_exceptions=True
            )
            for letter, reason in zip(wave, told, strict=True):
                if isinstance(reason, BaseException):
                    raise _away(reason) from reason
                if reason is not None:
                    refused[letter.name] = reason
        return refused

    async def discard(self, letter: Letter, kept: Discarded, archive: Database) -> None:
        await discarded.keep(archive.primary, kept)
        try:
            await self._acknowledge(letter)
        except Transport as away:
            raise _away(away) from away

    async def _put_back(self, letter: Letter) -> str | None:
        message = self._messages[letter.name]
        came = message.header.properties
        properties = Basic.Properties(
            **{name: getattr(came, name) for name in _KEPT},
            headers=headers.of_replay(came.headers or {}, letter),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            await self._channel.basic_publish(
                message.body,
                exchange="",
                routing_key=letter.queue,
                properties=properties,
                mandatory=True,
                timeout=_CONFIRM_TIMEOUT_S,
                wait=False,  # type: ignore[call-arg]  # lacks in the abstract class only
            )
        except PublishError:
            return f"there is no queue {letter.queue}"
        except DeliveryError:
            return f"the queue {letter.queue} takes no more"
        except (TypeError, ValueError, OverflowError, struct.error) as unsayable:
            return f"it cannot be sent again as it is: {unsayable}"
        await self._acknowledge(letter)
        return None

    async def _acknowledge(self, letter: Letter) -> None:
        tag = self._messages[letter.name].delivery_tag
        assert tag is not None, "it was delivered"
        await self._channel.basic_ack(tag)


class _Rival(Exception):
    """Somebody else consumes the letters too."""


class _Hand:
    """The one consumer of the dead letter queue, and what it was delivered."""

    def __init__(self, channel: AbstractChannel, topology: Topology, bounds: Bounds) -> None:
        self.channel = channel
        self.messages: list[DeliveredMessage] = []
        self.beyond = 0
        self._queue = topology.dead_letter_queue
        self._hand = f"{self._queue}.hand"
        self._bounds = bounds
        self._size = 0
        self._too_many = 0
        self._is_taking = True

    async def take(self) -> None:
        """
        Take the oldest letters up to the bounds; raises what the broker refuses with, or _Rival.

        Whoever may take them is the one whose connection has an exclusive queue of a fixed name:
        the broker frees the name at the connection's end. A dead looker's consumer may outlive it.
        """
        await self.channel.queue_declare(self._hand, exclusive=True, timeout=_ANSWER_TIMEOUT_S)
        await self.channel.basic_qos(prefetch_count=_PREFETCH, timeout=_ANSWER_TIMEOUT_S)
        await self.channel.basic_consume(
            self._queue, self._deliver, consumer_tag=self._hand, timeout=_ANSWER_TIMEOUT_S
        )
        delivered, since_s = -1, monotonic()
        while (ready := await self._ready()) and self._delivered < _PREFETCH:
            if self._delivered != delivered:
                delivered, since_s = self._delivered, monotonic()
            elif monotonic() - since_s > _ANSWER_TIMEOUT_S:
                raise TimeoutError(f"{ready} letters are there and none is delivered")
            await asyncio.sleep(_POLL_S)
        # What was on its way when nothing was ready any more is here before the next answer.
        ready, self._is_taking = await self._ready(), False
        self.beyond = ready + self._too_many

    async def let_go(self) -> None:
        """
        Give back what nobody took.

        By the channel's end, as at a looker's death: then the queue puts all of them back at once
        and in order, which it does not for letters refused one by one.
        """
        with suppress(Exception):
            async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
                # Answered by the queue behind the acknowledgements: what waits is lost otherwise.
                await self.channel.basic_cancel(self._hand)
                await self.channel.close()

    @property
    def _delivered(self) -> int:
        return len(self.messages) + self._too_many

    async def _ready(self) -> int:
        """Ask how many letters are not delivered yet; the answer may queue up behind many."""
        asking = asyncio.ensure_future(self.channel.queue_declare(self._queue, passive=True))
        delivered = -1
        while not (await asyncio.wait({asking}, timeout=_ANSWER_TIMEOUT_S))[0]:
            if self._delivered == delivered:
                asking.cancel()
                raise TimeoutError("it has gone silent")
            delivered = self._delivered
        told = asking.result()
        if (told.consumer_count or 0) > 1:
            await self.let_go()
            raise _Rival
        return told.message_count or 0

    async def _deliver(self, message: DeliveredMessage) -> None:
        if not self._is_taking:
            # It died while the others were in hand, and goes back with them.
            return
        self._size += len(message.body)
        is_full = len(self.messages) == self._bounds.letters or self._size > self._bounds.size
        if is_full or self._too_many:
            self._too_many += 1
        else:
            self.messages.append(message)


async def _channel(connection: AbstractConnection) -> AbstractChannel:
    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return await channel.get_underlay_channel()


def _letter(message: DeliveredMessage, queue: str) -> Letter:
    properties = message.header.properties
    return headers.letter_of(
        properties.headers or {},
        message.body,
        message_id=properties.message_id or "",
        routing_key=message.routing_key or "",
        queue=queue,
    )


def _waves(letters: Sequence[Letter]) -> Sequence[Sequence[Letter]]:
    """Part letters so that no two of a part share a message id: by it a return is told apart."""
    waves: list[list[Letter]] = [[]]
    seen: set[str] = set()
    for letter in letters:
        message_id = letter.name.partition("~")[0]
        if message_id in seen:
            waves.append([])
            seen.clear()
        seen.add(message_id)
        waves[-1].append(letter)
    return waves


def _away(error: BaseException) -> Exception:
    if isinstance(error, Transport):
        return LettersAway(f"the broker went away: {_short(error)}")
    assert isinstance(error, Exception), "a cancellation cancels the gathering itself"
    return error


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
