"""
This module is where a message goes that could not be applied: to a retry tier, or to rest.

A copy is published with its reason and confirmed before the original is acknowledged, so a letter
may exist twice for a moment but never not at all.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq import Channel

from wallet_common import topology as names
from wallet_common.errors import Busy, Poison
from wallet_common.topology import Topology
from wallet_db_orm.database import Trouble, trouble
from wallet_worker.links import CONFIRM_TIMEOUT_S, Outlet
from wallet_worker.pauses import OperatorNeeded, Pauses, in_short

_VALUE_MAX: Final = 500
# In bytes, of what a stranger wrote; a frame has 131 072, and ours have to fit in too.
_HEADERS_MAX: Final = 65_536
_HEADER_OVERHEAD: Final = 9
# The broker, or what we need of it, is not there: trying again helps, now or later.
_AWAY: Final = (AMQPError, OSError, TimeoutError, ChannelInvalidStateError, OperatorNeeded)

log = structlog.get_logger("wallet_worker")


class OftenReturned(Exception):
    """A message that was in hand again and again when its worker or its connection ended."""


class Letters:
    """The way out for messages of one queue, through an outlet to the same broker."""

    def __init__(self, topology: Topology, queue: str, outlet: Outlet) -> None:
        self._topology = topology
        self._queue = queue
        self._outlet = outlet
        self._pauses = Pauses("letters.wait")
        self._returned = Pauses("messages.set_apart")

    async def give_up(self, message: AbstractIncomingMessage, error: Exception) -> None:
        """
        Let the message wait in the next retry tier; poison, and the tired, are laid to rest.

        Tries until the broker has taken the copy, or until the message's channel is gone: then
        the broker still has the original, and delivers it again.
        """
        # Somebody else's lock is no fault of the message, however long it is held.
        is_held_up = isinstance(error, Busy) or trouble(error) is Trouble.CONTENTION
        attempts = _attempts(message.headers) + (0 if is_held_up else 1)
        delays = self._topology.retry_delays_ms
        is_dead = isinstance(error, Poison) or attempts > len(delays)
        if is_dead:
            exchange, routing_key = self._topology.dead_letter_exchange, _routing_key(message)
        else:
            exchange, routing_key = "", self._retry_queue(delays[max(0, attempts - 1)])
        headers = self._headers(message, error, attempts)
        if await self._move(message, exchange, routing_key, headers):
            say = log.error if is_dead else log.warning
            event = "letter.died" if is_dead else "message.postponed"
            say(event, **_told(message, error, attempts))

    async def set_apart(self, message: AbstractIncomingMessage) -> None:
        """Let the message be handled alone, as `give_up` does; that is no attempt of its own."""
        reason = OftenReturned("its workers ended before they were done with it")
        headers = self._headers(message, reason, _attempts(message.headers))
        if await self._move(message, "", self._topology.alone(self._queue), headers):
            self._returned.tell(reason)

    async def _move(
        self,
        message: AbstractIncomingMessage,
        exchange: str,
        routing_key: str,
        headers: Mapping[str, Any],
    ) -> bool:
        """Publish a copy, then acknowledge the original; False if only the broker could."""
        copy = Message(
            message.body,
            headers={**_sayable(message.headers), **headers},
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            timestamp=message.timestamp,
            type=message.type,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        while not message.channel.is_closed:
            channel: Channel | None = None
            try:
                channel = await self._outlet.channel()
                await channel.basic_publish(
                    copy.body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=copy.properties,
                    mandatory=True,
                    timeout=CONFIRM_TIMEOUT_S,
                )
            except _AWAY as away:
                # What is missing is declared when the outlet opens again.
                if channel is not None:
                    await self._outlet.close(channel)
                await self._pauses.wait(away)
            except Exception as unsayable:  # noqa: BLE001  # no retry would help: the broker moves it
                log.warning("letter.copy_refused", **_told(message, unsayable, 0))
                with suppress(*_AWAY):
                    await message.reject(requeue=False)
                return False
            else:
                self._pauses.over()
                with suppress(*_AWAY):
                    await message.ack()
                return True
        return False

    def _retry_queue(self, delay_ms: int) -> str:
        return self._topology.retry_queue(delay_ms, self._queue)

    def _headers(
        self, message: AbstractIncomingMessage, error: Exception, attempts: int
    ) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            names.ATTEMPTS_HEADER: attempts,
            names.ERROR_HEADER: in_short(error),
            names.ERROR_CLASS_HEADER: type(error).__name__,
            names.FIRST_FAILED_HEADER: str(message.headers.get(names.FIRST_FAILED_HEADER, now)),
            names.LAST_FAILED_HEADER: now,
            names.ORIGIN_QUEUE_HEADER: self._queue,
            names.ROUTING_KEY_HEADER: _routing_key(message),
        }


def _sayable(headers: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the headers in types that can be sent again; what a stranger wrote may not be.

    Nor so much of it: headers have to fit into one frame, so those are dropped that would not.
    """
    told, room = {}, _HEADERS_MAX
    for name, value in _in_own_types(headers).items():
        room -= _HEADER_OVERHEAD + len(name.encode()) + len(str(value).encode())
        if room < 0:
            break
        told[name] = value
    return told


def _in_own_types(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        if isinstance(value, (bool, str)) or _is_long(value)
        else repr(value)[:_VALUE_MAX]
        for name, value in headers.items()
        # The broker counts anew.
        if name != names.RETURNS_HEADER
    }


def _is_long(value: object) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _attempts(headers: Mapping[str, Any]) -> int:
    # Anybody may have written the header.
    found = headers.get(names.ATTEMPTS_HEADER, 0)
    return max(0, found) if isinstance(found, int) else 0


def _routing_key(message: AbstractIncomingMessage) -> str:
    # Back from a retry tier the message's own key is the queue's name.
    return str(message.headers.get(names.ROUTING_KEY_HEADER, message.routing_key))


def _told(message: AbstractIncomingMessage, error: Exception, attempts: int) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "routing_key": _routing_key(message),
        "attempts": attempts,
        "error_class": type(error).__name__,
        "error": in_short(error),
    }
