"""
This module is where the AMQP library is taught to read whatever the broker lets pass.

The broker takes a message whose timestamp no calendar has, whose names are no UTF-8 and whose
headers are nested without end. The library raises at such a one, which ends the connection, and so
one stranger's letter would hide all the others.
"""

import struct
from datetime import UTC, datetime
from typing import Any, Final

from pamqp import decode

_DEPTH_MAX: Final = 16
_LAST_SECOND: Final = 253_402_300_799
# The library's own rule: what lies beyond the year 2106 was meant in milliseconds.
_SECONDS_MAX: Final = 0xFFFFFFFF


class WireTime(datetime):
    """The time nearest to an AMQP timestamp; sent again it is the very number that came."""

    number: int

    def timestamp(self) -> float:
        return self.number


def read_anything() -> None:
    """Replace the library's readers that raise; doing it again changes nothing."""
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp
    decode.METHODS["shortstr"] = _short_string
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = _table
    decode.METHODS["array"] = decode.TABLE_MAPPING[b"A"] = _array


def _timestamp(value: bytes) -> tuple[int, datetime]:
    (number,) = struct.unpack_from(">Q", value)
    seconds = number if number <= _SECONDS_MAX else number / 1000
    told = WireTime.fromtimestamp(min(seconds, _LAST_SECOND), tz=UTC)
    told.number = number
    return 8, told


def _short_string(value: bytes) -> tuple[int, str]:
    end = value[0] + 1
    return end, _text(value[1:end])


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _table(value: bytes, depth: int = 0) -> tuple[int, Any]:
    end = _end(value)
    if depth == _DEPTH_MAX:
        return end, bytearray(value[:end])
    found, offset = {}, 4
    while offset < end:
        taken, key = _short_string(value[offset:])
        offset += taken
        taken, found[key] = _value(value[offset:end], depth)
        offset += taken
    return end, found


def _array(value: bytes, depth: int = 0) -> tuple[int, Any]:
    end = _end(value)
    if depth == _DEPTH_MAX:
        return end, bytearray(value[:end])
    found, offset = [], 4
    while offset < end:
        taken, each = _value(value[offset:end], depth)
        offset += taken
        found.append(each)
    return end, found


def _value(value: bytes, depth: int) -> tuple[int, Any]:
    kind, rest = value[:1], value[1:]
    if kind == b"F":
        taken, found = _table(rest, depth + 1)
    elif kind == b"A":
        taken, found = _array(rest, depth + 1)
    else:
        taken, found = decode.TABLE_MAPPING[kind](rest)
    return taken + 1, found


def _end(value: bytes) -> int:
    (length,) = struct.unpack_from(">I", value)
    return int(length) + 4
