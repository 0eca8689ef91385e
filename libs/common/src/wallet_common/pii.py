"""
This module is where personal data inside a wallet's metadata is told apart from the rest.

What is sealed stands where the plain value stood, as a JSON string that begins with `MARK`.
Nothing is encrypted here: these are the forms, the vault of `wallet_db_orm` has the keys.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, Self

import msgspec

MARK: Final = "wallet-pii:"
# What is shown where a value can never, or not now, be read any more.
ERASED: Final = "[erased]"
UNREADABLE: Final = "[unreadable]"

NONCE_BYTES: Final = 12
_VERSION: Final = "1"
_MASTER_BYTES: Final = 32
_MASTER_LINE: Final = re.compile(
    r"(?:(?P<id>[A-Za-z0-9._-]{1,32}):)?(?P<key>[0-9A-Fa-f]{64})", re.ASCII
)
_RAW_MARK: Final = f'"{MARK}'
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Sealed(msgspec.Struct, frozen=True):
    """An encrypted value: the data key that opens it, its nonce, the ciphertext with its tag."""

    key_id: str
    nonce: bytes
    ciphertext: bytes

    @property
    def text(self) -> str:
        """What stands in the metadata."""
        packed = urlsafe_b64encode(self.nonce + self.ciphertext).decode()
        return f"{MARK}{_VERSION}:{self.key_id}:{packed}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` returned; raises ValueError for anything else."""
        version, key_id, packed = text.removeprefix(MARK).split(":")
        if version != _VERSION:
            raise ValueError("a form that this version does not know")
        both = urlsafe_b64decode(packed)
        return cls(key_id, both[:NONCE_BYTES], both[NONCE_BYTES:])


class Indexed(msgspec.Struct, frozen=True):
    """By what equality finds a value: a keyed digest, made with this master key."""

    key: str
    digest: bytes
    master_id: str


def has_sealed(metadata: str | None) -> bool:
    """Say, without reading it as JSON, whether anything in the metadata can be sealed."""
    return metadata is not None and _RAW_MARK in metadata


def is_sealed(value: bytes) -> bool:
    """Say whether a member's JSON text has the form of a sealed value."""
    return value.startswith(_RAW_MARK.encode())


def members(metadata: str) -> dict[str, bytes]:
    """Return each member's JSON text as it stands; raises msgspec.DecodeError for bad text."""
    return {key: bytes(value) for key, value in _MEMBERS.decode(metadata).items()}


def joined(values: Mapping[str, bytes]) -> str:
    """Return the object with these members, each the JSON text that it is."""
    return msgspec.json.encode({key: msgspec.Raw(text) for key, text in values.items()}).decode()


def names(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON value
    """Yield the name of every member at any depth."""
    if isinstance(value, dict):
        yield from value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from names(each)


def searched(value: bytes) -> str | None:
    """
    Return the text by which equality finds a member's JSON text: a string's own, else as spelled.

    None for objects, arrays and null, which cannot be searched for.
    """
    if value.startswith(b'"'):
        return msgspec.json.decode(value, type=str)
    return None if value[:1] in b"{[n" else value.decode()


def bound_to(*parts: str) -> bytes:
    """Return the place a ciphertext belongs to, unambiguously: nowhere else does it open."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(each).to_bytes(4) + each for each in encoded)


def declared_keys(text: str) -> frozenset[str]:
    """Read the comma separated names of metadata keys that hold personal data."""
    keys = frozenset(name.strip() for name in text.split(",")) - {""}
    if any(not key.isprintable() or ":" in key for key in keys):
        raise ValueError("has to be names of metadata keys, without colons, separated by commas")
    return keys


def master_keys(text: str) -> dict[str, bytes]:
    """
    Read master keys, one a line, the current one first; raises ValueError that shows none.

    A line is 64 hexadecimal digits, or `id:` and these. One without an id is called by a
    fingerprint, so it keeps its id when another key comes before it.
    """
    keys: dict[str, bytes] = {}
    for line in re.split(r"[\s,]+", text.strip()):
        found = _MASTER_LINE.fullmatch(line)
        if found is None:
            raise ValueError("has to be lines of 64 hexadecimal digits, or of id:digits")
        key = bytes.fromhex(found["key"])
        key_id = found["id"] or sha256(b"wallet master key" + key).hexdigest()[:8]
        if len(set(key)) <= _MASTER_BYTES // 4:
            raise ValueError("has to be random: openssl rand -hex 32")
        if key_id in keys or key in keys.values():
            raise ValueError("names the same id or key twice")
        keys[key_id] = key
    return keys
