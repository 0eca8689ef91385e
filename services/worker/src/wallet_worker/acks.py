"""This module is where messages that are done are acknowledged: as many as possible at once."""

import asyncio
from weakref import WeakKeyDictionary

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq.abc import AbstractChannel, DeliveredMessage


class Acks:
    """
    Sends one acknowledgement for a whole run of messages, for each costs a frame both ways.

    A channel's delivery tags count from 1. What lies behind an open message is acknowledged by
    itself, so that one that has to wait keeps no other in the window.
    """

    def __init__(self) -> None:
        self._channels: WeakKeyDictionary[AbstractChannel, Tags] = WeakKeyDictionary()

    def done(self, message: AbstractIncomingMessage | DeliveredMessage) -> None:
        """Note that the message's effect is committed; it is acknowledged in a moment."""
        assert message.delivery_tag is not None
        tags = self._of(message)
        tags.done.add(message.delivery_tag)
        if tags.sending is None:
            # Not before its neighbours in the batch, which are told in this same turn.
            tags.sending = asyncio.create_task(_send(message.channel, tags))

    def settled(self, message: AbstractIncomingMessage | DeliveredMessage) -> None:
        """Note that the message has been acknowledged or rejected already."""
        assert message.delivery_tag is not None
        self._of(message).gone.add(message.delivery_tag)

    def _of(self, message: AbstractIncomingMessage | DeliveredMessage) -> "Tags":
        return self._channels.setdefault(message.channel, Tags())


class Tags:
    """What is known of one channel's deliveries; all up to `settled_up_to` is settled."""

    def __init__(self) -> None:
        self.settled_up_to = 0
        self.done: set[int] = set()
        self.gone: set[int] = set()
        self.sending: asyncio.Task[None] | None = None

    def take(self) -> tuple[int, list[int]]:
        """Return the tag up to which all may be acknowledged, 0 for none, and single ones."""
        run = 0
        while (tag := self.settled_up_to + 1) in self.done or tag in self.gone:
            # The broker refuses a run that ends with what is no longer open.
            run = tag if tag in self.done else run
            self.done.discard(tag)
            self.gone.discard(tag)
            self.settled_up_to = tag
        alone = sorted(self.done)
        self.gone |= self.done
        self.done.clear()
        return run, alone


async def _send(channel: AbstractChannel, tags: Tags) -> None:
    """Acknowledge until nothing is left. Nobody else does: a tag told twice closes the channel."""
    try:
        while tags.done:
            run, alone = tags.take()
            if run:
                await channel.basic_ack(run, multiple=True)
            for tag in alone:
                await channel.basic_ack(tag)
    except (ChannelInvalidStateError, AMQPError, OSError):
        # A channel that is gone gave everything back to the broker, which delivers it again.
        return
    finally:
        tags.sending = None
