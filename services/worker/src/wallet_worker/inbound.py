"""This module is where other services' messages come in, with a record of where they came from."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from faststream.rabbit import RabbitMessage

from wallet_common import redaction
from wallet_common.messages import KEPT
from wallet_common.topology import ATTEMPTS_HEADER, REPLAYS_HEADER, Topology
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.ids import new_id
from wallet_worker import topology as declared
from wallet_worker.consumers import Inlet, take_in
from wallet_worker.pauses import Pauses
from wallet_worker.settlement import Settlements

# Of each queue so many at a time, so that the lanes have something to batch.
_PREFETCH: Final = 50
_METHOD: Final = "AMQP"
# What an audit row keeps of a message, as of a request that was refused.
_BODY_BYTES_MAX: Final = 65_536
_VALUE_MAX: Final = 256
_TRACE_ID: Final = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")
# Headers of ours, which hold no secret; of all others only the name is kept.
_HEADERS_KEPT: Final = frozenset({ATTEMPTS_HEADER, REPLAYS_HEADER})


async def consume(url: str, topology: Topology, settlements: Settlements) -> None:
    """Take in other services' messages until cancelled, through every absence of the broker."""
    handlers = (settlements.sign_up, settlements.complete, settlements.fail)
    inlets = [
        Inlet(queue, partial(_handle, handler, exchange, key), at_once=_PREFETCH)
        for (queue, exchange, key), handler in zip(
            declared.inbound(topology), handlers, strict=True
        )
    ]
    pauses = Pauses("inbound.waits_for_broker")
    await take_in(url, topology, inlets, declared.declare_inbound, pauses)


async def _handle(
    handler: Callable[[bytes, AuditRecord], Awaitable[None]],
    exchange: str,
    key: str,
    message: RabbitMessage,
) -> None:
    await handler(message.body, origin(exchange, key, message))


def origin(exchange: str, key: str, message: RabbitMessage) -> AuditRecord:
    """Return what `api_audit` keeps of a message: the exchange is who asks, as far as we know."""
    raw = message.raw_message
    trace_id = str(raw.correlation_id or "")
    properties = {
        "message-id": raw.message_id,
        "correlation-id": raw.correlation_id,
        "content-type": raw.content_type,
    }
    return AuditRecord(
        id=new_id(),
        method=_METHOD,
        url=f"{exchange}/{key}",
        body=redaction.body(message.body[:_BODY_BYTES_MAX], KEPT, ()),
        headers={name: _storable(value) for name, value in properties.items() if value}
        | {
            _storable(name): _storable(value) if name in _HEADERS_KEPT else "[redacted]"
            for name, value in raw.headers.items()
        },
        client_ip=None,
        principal=exchange,
        wallet_id=None,
        request_id=None,
        trace_id=trace_id if _TRACE_ID.match(trace_id) else new_id(),
        received_at=datetime.now(UTC),
    )


def _storable(value: object) -> str:
    """Return a stranger's value as text that can be kept and shown."""
    text = str(value)[:_VALUE_MAX]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
