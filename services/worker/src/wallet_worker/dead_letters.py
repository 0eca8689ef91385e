"""
This module is where a message goes that could not be applied: to a retry tier, or to rest.

A copy is published with its reason and confirmed before the original is acknowledged, so a letter
may exist twice for a moment but never not at all.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from wallet_common import topology as names
from wallet_common.errors import Poison
from wallet_common.topology import Topology
from wallet_db_orm.database import Trouble, trouble
from wallet_worker.links import CONFIRM_TIMEOUT_S
from wallet_worker.pauses import Pauses, in_short

_VALUE_MAX: Final = 500

log = structlog.get_logger("wallet_worker")


class Letters:
    """The way out for messages of one queue, whose channels confirm and raise on returns."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._pauses = Pauses("letters.wait")

    async def give_up(self, message: AbstractIncomingMessage, error: Exception) -> None:
        """
        Let the message wait in the next retry tier; poison, and the tired, are laid to rest.

        Tries until the broker has taken the copy, or until the channel is gone: then the broker
        still has the original, and delivers it again.
        """
        while True:
            try:
                await self._move(message, error)
            except ChannelInvalidStateError:
                return
            except (AMQPError, OSError, TimeoutError) as away:
                await self._pauses.wait(away)
            except Exception as unsayable:  # noqa: BLE001  # no retry would help: the broker moves it
                log.warning("letter.copy_refused", **_told(message, unsayable, 0))
                await message.reject(requeue=False)
                return
            else:
                self._pauses.over()
                return

    async def _move(self, message: AbstractIncomingMessage, error: Exception) -> None:
        # Somebody else's lock is no fault of the message, however long it is held.
        is_held_up = trouble(error) is Trouble.CONTENTION
        attempts = _attempts(message.headers) + (0 if is_held_up else 1)
        delays = self._topology.retry_delays_ms
        is_dead = isinstance(error, Poison) or attempts > len(delays)
        if is_dead:
            exchange, routing_key = self._topology.dead_letter_exchange, _routing_key(message)
        else:
            exchange, routing_key = "", self._topology.retry_queue(delays[max(0, attempts - 1)])
        copy = Message(
            message.body,
            headers={**_sayable(message.headers), **self._headers(message, error, attempts)},
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            timestamp=message.timestamp,
            type=message.type,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        # On the message's own channel: if it breaks, neither the copy nor the ack goes out.
        await message.channel.basic_publish(
            copy.body,
            exchange=exchange,
            routing_key=routing_key,
            properties=copy.properties,
            mandatory=True,
            timeout=CONFIRM_TIMEOUT_S,
        )
        await message.ack()
        if is_dead:
            log.error("letter.died", **_told(message, error, attempts))
        else:
            log.warning("message.postponed", **_told(message, error, attempts))

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
            names.ORIGIN_QUEUE_HEADER: self._topology.queue,
            names.ROUTING_KEY_HEADER: _routing_key(message),
        }


def _sayable(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers in types that can be sent again; what a stranger wrote may not be."""
    return {
        name: value
        if isinstance(value, (bool, str)) or _is_long(value)
        else repr(value)[:_VALUE_MAX]
        for name, value in headers.items()
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
