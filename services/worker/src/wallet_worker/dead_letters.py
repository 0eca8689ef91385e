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
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from wallet_common import topology as names
from wallet_common.errors import Poison
from wallet_common.topology import Topology

_ERROR_MAX: Final = 500
_PUBLISH_TIMEOUT_S: Final = 10

log = structlog.get_logger("wallet_worker")


class Letters:
    """The way out for messages of one queue; `channel` confirms and raises on returns."""

    def __init__(self, channel: AbstractChannel, topology: Topology) -> None:
        self._channel = channel
        self._topology = topology

    async def give_up(self, message: AbstractIncomingMessage, error: Exception) -> None:
        """Let the message wait in the next retry tier; poison, and the tired, are laid to rest."""
        attempts = _attempts(message.headers) + 1
        delays = self._topology.retry_delays_ms
        if isinstance(error, Poison) or attempts > len(delays):
            exchange, routing_key = self._topology.dead_letter_exchange, _routing_key(message)
            log.error("letter.died", **_told(message, error, attempts))
        else:
            exchange, routing_key = "", self._topology.retry_queue(delays[attempts - 1])
            log.warning("message.postponed", **_told(message, error, attempts))
        copy = Message(
            message.body,
            headers={**message.headers, **self._headers(message, error, attempts)},
            message_id=message.message_id,
            content_type=message.content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        target = (
            await self._channel.get_exchange(exchange, ensure=False)
            if exchange
            else self._channel.default_exchange
        )
        await target.publish(copy, routing_key, mandatory=True, timeout=_PUBLISH_TIMEOUT_S)
        await message.ack()

    def _headers(
        self, message: AbstractIncomingMessage, error: Exception, attempts: int
    ) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            names.ATTEMPTS_HEADER: attempts,
            names.ERROR_HEADER: str(error)[:_ERROR_MAX],
            names.ERROR_CLASS_HEADER: type(error).__name__,
            names.FIRST_FAILED_HEADER: message.headers.get(names.FIRST_FAILED_HEADER, now),
            names.LAST_FAILED_HEADER: now,
            names.ORIGIN_QUEUE_HEADER: self._topology.queue,
            names.ROUTING_KEY_HEADER: _routing_key(message),
        }


def _attempts(headers: Mapping[str, Any]) -> int:
    found = headers.get(names.ATTEMPTS_HEADER, 0)
    return found if isinstance(found, int) else 0


def _routing_key(message: AbstractIncomingMessage) -> str:
    # Back from a retry tier the message's own key is the queue's name.
    return str(message.headers.get(names.ROUTING_KEY_HEADER, message.routing_key))


def _told(message: AbstractIncomingMessage, error: Exception, attempts: int) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "routing_key": _routing_key(message),
        "attempts": attempts,
        "error_class": type(error).__name__,
        "error": str(error)[:_ERROR_MAX],
    }
