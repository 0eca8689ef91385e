"""
This module is where the AsyncAPI document is made: exchanges, messages and headers on the broker.

Names are the defaults of the settings; everything else is as the code has it. The schemas of
docs/events are embedded, so the document stands alone.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wallet_common import topology as names
from wallet_common.facts import EventType
from wallet_common.topology import COMPLETION_KEY, FAILURE_KEY, SIGN_UP_KEY, Topology
from wallet_tools.contracts.foreign import answer_schema, inbound_schemas
from wallet_tools.contracts.schemas import Schema, event_schemas

_VERSION: Final = "1.0.0"
_BINDING: Final = "0.3.0"
_JSON: Final = "application/json"

# Title of the message, routing key; the queue in which we take it follows from the topology.
_INBOUND: Final = (
    ("UserSignedUp", SIGN_UP_KEY),
    ("TransactionCompleted", COMPLETION_KEY),
    ("TransactionFailed", FAILURE_KEY),
)


def document() -> Schema:
    """Return the AsyncAPI 3.0 document."""
    topology = Topology()
    schemas = event_schemas() | {"TransactionFinalized": answer_schema()} | inbound_schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wallet",
            "version": _VERSION,
            "description": "Events of the wallets, and what is exchanged with other services. At"
            " least once: apply each message_id once. See docs/events/README.md.",
        },
        "defaultContentType": _JSON,
        "servers": {"broker": _server()},
        "channels": _channels(topology),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _embedded(schemas)},
    }


def written() -> bytes:
    """Return the document as JSON, stable from run to run."""
    plain = msgspec.json.encode(document(), order="deterministic")
    return msgspec.json.format(plain, indent=2) + b"\n"


def _server() -> Schema:
    return {
        "host": "{host}:{port}",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ, named by RABBITMQ_URL.",
        "variables": {"host": {"default": "localhost"}, "port": {"default": "5672"}},
    }


def _channels(topology: Topology) -> Schema:
    queues = (topology.user_queue, topology.update_queue, topology.revert_queue)
    exchanges = (topology.auth_exchange, *[topology.transaction_exchange] * 2)
    inbound = {
        title: _channel(key, exchange, f"Bound to our queue {queue}.", [title])
        for (title, key), exchange, queue in zip(_INBOUND, exchanges, queues, strict=True)
    }
    answers = "What became of transactions; bind a queue of your own."
    return {
        "events": _channel(
            "{eventType}",
            topology.exchange,
            f"Every event of every wallet (exchange: RABBITMQ_EXCHANGE). Bind a queue of your own;"
            f" the worker's is {topology.queue}.",
            list(EventType),
        )
        | {"parameters": {"eventType": {"enum": list(EventType), "description": "The type."}}},
        **inbound,
        "answers": _channel(
            names.ANSWER_KEY, topology.transaction_exchange, answers, ["TransactionFinalized"]
        ),
        "deadLetters": {
            "address": topology.dead_letter_queue,
            "description": f"What was given up on, from all of our queues: comes through the"
            f" exchange {topology.dead_letter_exchange} (RABBITMQ_DLX, topic, durable) under the"
            " original routing key and rests until an operator acts (`wallet dlq`).",
            "messages": _refs(["DeadLetter"], "components/messages"),
            "bindings": {"amqp": _queue_binding(topology.dead_letter_queue)},
        },
    }


def _channel(address: str, exchange: str, description: str, titles: Sequence[str]) -> Schema:
    return {
        "address": address,
        "description": description,
        "messages": _refs(titles, "components/messages"),
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange,
                    "type": "topic",
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _queue_binding(name: str) -> Schema:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False}
    return {"is": "queue", "queue": queue, "bindingVersion": _BINDING}


def _operations() -> Schema:
    events, persistent = list(EventType), {"deliveryMode": 2}
    answer, letter = ["TransactionFinalized"], ["DeadLetter"]
    receiving = {
        f"receive{title}": _operation("receive", title, [title], {"ack": True})
        for title, _ in _INBOUND
    }
    return {
        "sendEvents": _operation("send", "events", events, persistent | {"mandatory": True}),
        "sendAnswer": _operation("send", "answers", answer, persistent | {"mandatory": False}),
        "sendDeadLetter": _operation(
            "send", "deadLetters", letter, persistent | {"mandatory": True}
        ),
        **receiving,
    }


def _operation(action: str, channel: str, titles: Sequence[str], binding: Schema) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": list(_refs(titles, f"channels/{channel}/messages").values()),
        "bindings": {"amqp": binding | {"bindingVersion": _BINDING}},
    }


def _messages() -> Schema:
    events = {name: _message(name, key=name, headers="EventHeaders") for name in EventType}
    inbound = {title: _message(title, key=key, headers=None) for title, key in _INBOUND}
    return {
        **events,
        **inbound,
        "TransactionFinalized": _message(
            "TransactionFinalized", key=names.ANSWER_KEY, headers=None
        ),
        "DeadLetter": {
            "name": "DeadLetter",
            "title": "DeadLetter",
            "summary": "Byte-equal to the message that was given up on, with its properties.",
            "contentType": "application/octet-stream",
            "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
            "payload": {"description": "Whatever came: it may be no JSON at all."},
        },
    }


def _message(title: str, *, key: str, headers: str | None) -> Schema:
    is_ours = key in {*EventType, names.ANSWER_KEY}
    told: Schema = {
        "name": title,
        "title": title,
        "contentType": _JSON,
        "payload": {"$ref": f"#/components/schemas/{title}"},
        "x-routing-key": key,
    }
    if is_ours:
        told["bindings"] = {"amqp": {"messageType": key, "bindingVersion": _BINDING}}
        told["x-amqp-properties"] = {
            "message_id": "the event's id: the same each time it comes",
            "correlation_id": "as the message_id",
            "type": key,
            "content_type": _JSON,
            "delivery_mode": 2,
        }
    if headers:
        told["headers"] = {"$ref": f"#/components/schemas/{headers}"}
    return told


def _embedded(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schemas and what each has in its `$defs` side by side, referring to each other."""
    found: dict[str, Schema] = {
        "EventHeaders": _headers(_REPUBLISHED),
        "DeadLetterHeaders": _headers(_FAILURE),
    }
    for name, schema in schemas.items():
        plain = {key: value for key, value in schema.items() if not key.startswith("$")}
        for part, shape in (schema.get("$defs", {}) | {name: plain}).items():
            # The same payload in two events is the same schema.
            assert found.setdefault(part, _relocated(shape)) == _relocated(shape), part
    return found


def _relocated(schema: Any) -> Any:  # noqa: ANN401  # JSON
    text = msgspec.json.encode(schema).decode().replace("#/$defs/", "#/components/schemas/")
    return msgspec.json.decode(text)


_REPUBLISHED: Final = {
    names.REPUBLISHED_HEADER: ("boolean", "True if an operator sent it once more, to one queue."),
    names.ROUTING_KEY_HEADER: ("string", "Then: the routing key of the first time."),
}
_FAILURE: Final = {
    names.ERROR_HEADER: ("string", "Why the last attempt failed."),
    names.ERROR_CLASS_HEADER: ("string", "The kind of failure; `Poison` was tried once."),
    names.ATTEMPTS_HEADER: ("integer", "So often it was tried."),
    names.FIRST_FAILED_HEADER: ("string", "When it failed first: RFC 3339."),
    names.LAST_FAILED_HEADER: ("string", "When it failed last: RFC 3339."),
    names.ORIGIN_QUEUE_HEADER: ("string", "The queue that it came from."),
    names.ROUTING_KEY_HEADER: ("string", "The routing key it came with."),
    names.REPLAYS_HEADER: ("integer", "So often an operator has put it back already."),
}


def _headers(told: dict[str, tuple[str, str]]) -> Schema:
    """Return an object of headers, each of which may be absent."""
    properties = {
        name: {"type": kind, "description": meaning} for name, (kind, meaning) in told.items()
    }
    return {"type": "object", "properties": properties}


def _refs(titles: Sequence[str], place: str) -> Schema:
    return {str(title): {"$ref": f"#/{place}/{title}"} for title in titles}
