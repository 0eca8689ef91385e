"""
This module is where a message's headers tell how it became a letter.

Most letters were laid down by the worker, which says why in headers of its own. One that the broker
gave up on by itself has only what the broker notes in `x-death`. Anybody may have written any of
them, so nothing here trusts a type.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from wallet_common import topology as names
from wallet_common.topology import Topology
from wallet_letters.letters import Letter, group_of, storable

_DEATHS: Final = "x-death"
# Where it was handled alone is not where it came from.
_ALONE: Final = Topology().alone("")
# What a message bears of its failures; without them it has all its attempts before it again.
_FAILURE: Final = frozenset(
    {
        *(names.ATTEMPTS_HEADER, names.ERROR_HEADER, names.ERROR_CLASS_HEADER),
        *(names.FIRST_FAILED_HEADER, names.LAST_FAILED_HEADER),
    }
)
# The broker counts deliveries, so each look at a letter too.
_LOOKS: Final = "x-delivery-count"
_COUNT_MAX: Final = 2**31 - 1
_LONG: Final = range(-(2**63), 2**63)
_FLOAT_MAX: Final = 3.4e38
_NAME_MAX: Final = 255


class Death(msgspec.Struct, frozen=True):
    """What the broker notes of a message that it gave up on."""

    queue: str
    reason: str
    routing_key: str | None
    first_at: datetime | None
    last_at: datetime | None


def letter_of(
    headers: Mapping[str, Any], body: bytes, *, message_id: str, routing_key: str, queue: str
) -> Letter:
    """Return the letter that a message is, not yet named; `queue` is where most come from."""
    death = _death(headers)
    if death is None:
        error_class = storable(headers.get(names.ERROR_CLASS_HEADER, "Unknown"), _NAME_MAX)
        error = storable(headers.get(names.ERROR_HEADER, "nobody said why"))
        queue = storable(headers.get(names.ORIGIN_QUEUE_HEADER, queue), _NAME_MAX)
        told_key = None
    else:
        error_class = _class_of(death.reason)
        error = f"given up on by the broker: {death.reason}"
        queue, told_key = death.queue, death.routing_key
    first_at = _time(headers.get(names.FIRST_FAILED_HEADER))
    last_at = _time(headers.get(names.LAST_FAILED_HEADER))
    return Letter(
        id=message_id,
        name="",
        queue=queue,
        routing_key=storable(
            headers.get(names.ROUTING_KEY_HEADER, told_key or routing_key), _NAME_MAX
        ),
        group=group_of(error_class, error),
        error=error,
        error_class=error_class,
        attempts=_count(headers, names.ATTEMPTS_HEADER) + (death is not None),
        replays=_count(headers, names.REPLAYS_HEADER),
        first_failed_at=first_at or (death.first_at if death else None),
        last_failed_at=death.last_at if death else last_at,
        headers={name: _tellable(value) for name, value in headers.items() if name != _LOOKS},
        body=body,
    )


def of_replay(headers: Mapping[str, Any], letter: Letter) -> dict[str, Any]:
    """Return the headers with which a letter goes through its queue again."""
    kept = {
        name: _sendable(value)
        for name, value in headers.items()
        if name not in _FAILURE and name != _LOOKS and "death" not in name
    }
    origin = {names.ORIGIN_QUEUE_HEADER: letter.queue, names.ROUTING_KEY_HEADER: letter.routing_key}
    return origin | kept | {names.REPLAYS_HEADER: letter.replays + 1}


def _death(headers: Mapping[str, Any]) -> Death | None:
    """Return what the broker notes; None if it only brought the message back from a retry tier."""
    deaths = headers.get(_DEATHS)
    told = [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
    if not told or told[0].get("reason") == "expired":
        return None
    latest = told[0]
    keys = latest.get("routing-keys")
    times = [at for each in told if (at := _time(each.get("time"))) is not None]
    return Death(
        queue=storable(latest.get("queue", ""), _NAME_MAX).removesuffix(_ALONE),
        reason=storable(latest.get("reason", "unknown"), _NAME_MAX),
        routing_key=keys[0]
        if isinstance(keys, list) and keys and isinstance(keys[0], str)
        else None,
        first_at=min(times, default=None),
        last_at=_time(latest.get("time")),
    )


def _class_of(reason: str) -> str:
    return "".join(part.capitalize() for part in reason.replace("-", "_").split("_"))


def _count(headers: Mapping[str, Any], name: str) -> int:
    value = headers.get(name, 0)
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return min(max(0, value), _COUNT_MAX - 1) if is_count else 0


def _time(value: object) -> datetime | None:
    """Return the instant that a header tells, if it tells one."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        # A plain datetime: what came over the wire may remember a number besides.
        return (
            None if at.tzinfo is None else datetime.combine(at.date(), at.timetz()).astimezone(UTC)
        )
    except (ValueError, OverflowError):
        return None


def _tellable(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """Return an AMQP value as JSON has it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat()
        case bytes() | bytearray():
            return value.decode(errors="backslashreplace")
        case list():
            return [_tellable(each) for each in value]
        case dict():
            return {str(name): _tellable(each) for name, each in value.items()}
        case _:
            return str(value)


def _sendable(value: object) -> Any:  # noqa: ANN401  # any AMQP value
    """Return a value as the library can write it: it reads more than it writes."""
    match value:
        case bytes():
            return bytearray(value)
        case int() if value not in _LONG:
            return str(value)
        case float() if abs(value) > _FLOAT_MAX:
            return repr(value)
        case list():
            return [_sendable(each) for each in value]
        case dict():
            return {name: _sendable(each) for name, each in value.items()}
        case _:
            return value
