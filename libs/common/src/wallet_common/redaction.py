"""
This module is where it is decided what the audit keeps of what a caller sent: what was asked for.

An allow-list: members that our own schemas name keep their values, of everything else only the
name is kept. Numbers keep their exact text.
"""

import re
from collections.abc import Collection, Mapping
from enum import Enum
from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

REDACTED: Final = "[redacted]"
_MARK: Final = msgspec.Raw(f'"{REDACTED}"'.encode())
_NAME_MAX: Final = 64
# A word of ours, or an id: what may stand between two slashes.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@~-]{0,159}")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_Unreadable: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Part(Enum):
    """What a member that is kept may be."""

    VALUE = "a string, a number, true, false or null"
    METADATA = "an object of the caller's own, but for what is private"


# The members that are kept of an object, or of each object of a list.
Shape: TypeAlias = "Mapping[str, Part | Shape]"


class Places(msgspec.Struct, frozen=True):
    """
    What is kept of an address: words, what stands right behind some of them, parameters.

    Behind a word of `pairs` it is two segments.
    """

    words: frozenset[str]
    named: frozenset[str]
    parameters: frozenset[str]
    pairs: frozenset[str] = frozenset()


def body(sent: bytes, shape: Shape, private: Collection[str]) -> bytes:
    """
    Return what is kept of a body; `private` are the keys of metadata whose values are not.

    Of what is no JSON the length and the SHA-256 are kept.
    """
    if not sent:
        return sent
    try:
        return msgspec.json.encode(_of_object(msgspec.Raw(sent), shape, private))
    except _Unreadable:
        told = {"redacted": "no JSON", "bytes": len(sent), "sha256": sha256(sent).hexdigest()}
        return msgspec.json.encode(told)


def has_private(sent: bytes, private: Collection[str]) -> bool:
    """Whether a body that was read strictly may hold metadata that is not to be kept."""
    return bool(private) and (b"metadata" in sent or b"\\" in sent)


def address(path: str, query: str, places: Places) -> str:
    """Return what is kept of a path and its query; names of unknown parameters are, no values."""
    shown = "/".join(_segments(path, places))
    if not query:
        return shown
    given = [each.partition("=") for each in query.split("&")]
    pairs = (
        f"{name[:_NAME_MAX]}={value if name in places.parameters else REDACTED}"
        if is_
        else REDACTED
        for name, is_, value in given
    )
    return f"{shown}?{'&'.join(pairs)}"


def _segments(path: str, places: Places) -> list[str]:
    shown: list[str] = []
    for segment in path.split("/"):
        is_named = places.named.intersection(shown[-1:]) | places.pairs.intersection(shown[-2:])
        is_kept = segment in places.words or (is_named and _SEGMENT.fullmatch(segment))
        shown.append(segment if is_kept or not segment else REDACTED)
    return shown


def _of_object(raw: msgspec.Raw, shape: Shape, private: Collection[str]) -> object:
    kind = _kind(raw)
    if kind == b"[":
        return [_of_object(each, shape, private) for each in _ITEMS.decode(raw)]
    if kind != b"{":
        msgspec.json.decode(raw)  # Whether it is JSON at all.
        return _MARK
    return {
        name[:_NAME_MAX]: _of_member(value, shape.get(name), private)
        for name, value in _MEMBERS.decode(raw).items()
    }


def _of_member(raw: msgspec.Raw, part: "Part | Shape | None", private: Collection[str]) -> object:
    match part:
        case None:
            return _MARK
        case Part.VALUE:
            return _MARK if _kind(raw) in {b"{", b"["} else raw
        case Part.METADATA:
            return _without(raw, private) if _kind(raw) == b"{" else _MARK
        case _:
            return _of_object(raw, part, private)


def _without(raw: msgspec.Raw, private: Collection[str]) -> object:
    """Return metadata without private values, however deep they are."""
    kind = _kind(raw)
    if not private or kind not in {b"{", b"["}:
        return raw
    if kind == b"[":
        return [_without(each, private) for each in _ITEMS.decode(raw)]
    members = _MEMBERS.decode(raw).items()
    return {name: _MARK if name in private else _without(v, private) for name, v in members}


def _kind(raw: msgspec.Raw) -> bytes:
    return bytes(raw).lstrip(b" \t\r\n")[:1]
