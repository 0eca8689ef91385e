"""
This module is where rows become digests, and digests chains that show where they were changed.

A row's canonical bytes are PostgreSQL's binary record: the number of columns, then of each the
number of its type, its length (-1 for NULL) and its bytes; integers, uuids and instants in their
fixed binary form, JSON as the text that is stored. The server can spell the same with
`record_send`, which is how the proof does it, independently of this. See docs/adr/0021.
"""

from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, Final

NO_HASH: Final = bytes(32)

# What comes first in all that is hashed, so that nothing can stand for something of another kind.
# The first one is the version of the rows' form too: a column that comes later gets another.
ROW: Final = b"\x01"
LINK: Final = b"\x02"
SEAL: Final = b"\x03"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SIZED: Final = Struct(">Ii")
_INT8: Final = Struct(">Iiq")
_UUID_HEAD: Final = _SIZED.pack(2950, 16)


def _text(number: int) -> Callable[[str], bytes]:
    def pack(value: str) -> bytes:
        content = value.encode()
        return _SIZED.pack(number, len(content)) + content

    return pack


def _bytes(value: bytes) -> bytes:
    return _SIZED.pack(17, len(value)) + value


def _int2(value: int) -> bytes:
    return _SIZED.pack(21, 2) + value.to_bytes(2, "big", signed=True)


def _int8(value: int) -> bytes:
    return _INT8.pack(20, 8, value)


@lru_cache(maxsize=256)
def _instant(value: datetime) -> bytes:
    """Microseconds since 2000; a batch's entries have one instant."""
    return _INT8.pack(1184, 8, (value - _EPOCH) // _MICROSECOND)


def _uuid(value: str) -> bytes:
    return _UUID_HEAD + unhexlify(value.replace("-", ""))


# By the name of a type: its number in PostgreSQL's catalogue, and what makes a value's bytes. The
# few values of a `word` are remembered.
_TYPES: Final[Mapping[str, tuple[int, Callable[[Any], bytes]]]] = {
    "bytea": (17, _bytes),
    "int8": (20, _int8),
    "int2": (21, _int2),
    "text": (25, _text(25)),
    "word": (25, lru_cache(maxsize=1024)(_text(25))),
    "json": (114, _text(114)),
    "timestamptz": (1184, _instant),
    "uuid": (2950, _uuid),
}

# Every column of `ledger_entries` but its hash, and every column of `api_audit`.
ENTRY: Final[Mapping[str, str]] = {
    "wallet_id": "text",
    "wallet_version": "int8",
    "type": "word",
    "amount_minor": "int8",
    "balance_after_minor": "int8",
    "currency": "word",
    "counter_account": "word",
    "operation_id": "uuid",
    "transfer_id": "uuid",
    "request_id": "text",
    "reference": "text",
    "metadata": "json",
    "audit_id": "uuid",
    "trace_id": "text",
    "occurred_at": "timestamptz",
}
AUDIT: Final[Mapping[str, str]] = {
    "id": "uuid",
    "recorded_at": "timestamptz",
    "method": "text",
    "url": "text",
    "body": "bytea",
    "headers": "json",
    "client_ip": "text",
    "status": "int2",
    "principal": "text",
    "wallet_id": "text",
    "request_id": "text",
    "trace_id": "text",
    "duration_us": "int8",
}


def _digester(columns: Mapping[str, str]) -> Callable[[Sequence[object]], bytes]:
    head = ROW + len(columns).to_bytes(4, "big")
    packs = [_TYPES[kind] for kind in columns.values()]
    forms = [(pack, _SIZED.pack(number, -1)) for number, pack in packs]

    def digest(row: Sequence[object]) -> bytes:
        packed = [
            null if value is None else pack(value)
            for (pack, null), value in zip(forms, row, strict=True)
        ]
        return sha256(head + b"".join(packed)).digest()

    return digest


# Each takes a row's values in the order of its columns above.
entry_digest: Final = _digester(ENTRY)
audit_digest: Final = _digester(AUDIT)


def seal(before: bytes, number: int, at: datetime, ids: Sequence[str], digests: bytes) -> bytes:
    """Return a seal's hash: of the seal before it (NO_HASH first), and of all that it states."""
    named = b"".join(unhexlify(each.replace("-", "")) for each in ids)
    head = number.to_bytes(8, "big") + ((at - _EPOCH) // _MICROSECOND).to_bytes(8, "big")
    return sha256(SEAL + before + head + named + digests).digest()


def link(before: bytes, digest: bytes) -> bytes:
    """Return an entry's hash, of the one before it in its wallet (NO_HASH first) and its digest."""
    return sha256(LINK + before + digest).digest()
