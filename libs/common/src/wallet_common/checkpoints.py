"""
This module is where it is said what a checkpoint states, and how it is written and read.

A checkpoint is one line of JSON: the statement, the signature of its bytes, and the hash of the
line before, so that no line can be changed, left out or put in between. It names no database:
a copy of the books is proved by the same line.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, Protocol

import msgspec
from msgspec import UNSET, UnsetType

_SIGNED: Final = b"\x20"
_LINE: Final = b"\x21"
_JOINT: Final = b"\x22"


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """
    What is signed: all wallets' heads under one root, the audit's newest seal, at an instant.

    `previous` is the hash of the line before, `key` the name of the key that signs, `heads` the
    digest of the heads that this checkpoint keeps itself, `archives_hash` that of the first
    `archives` notes of archives; the first lines did not state these.
    """

    checkpoint: int
    at: datetime
    root: str
    wallets: int
    seal: int | None
    seal_hash: str | None
    previous: str | None
    algorithm: str
    key: str
    heads: str | UnsetType = UNSET
    archives: int | UnsetType = UNSET
    archives_hash: str | UnsetType = UNSET

    def content(self) -> bytes:
        """Return the bytes that the signature is of."""
        fields = {name: getattr(self, name) for name in Statement.__struct_fields__}
        return _SIGNED + msgspec.json.encode(Statement(**fields))


class Checkpoint(Statement, frozen=True, kw_only=True, rename="camel"):
    """A statement with its signature, in hex."""

    signature: str

    def is_signed_by(self, key: "Verifier") -> bool:
        """Whether the signature is one, of this statement and by this key."""
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError:
            return False
        return key.has_signed(self.content(), signature)


class Joint:
    """Takes hashes in their order, and is one of all that it took."""

    def __init__(self) -> None:
        self._taken = sha256(_JOINT)

    def add(self, hashed: bytes) -> None:
        self._taken.update(hashed)

    def digest(self) -> str:
        """Return the hash of those that were taken so far, in hex."""
        return self._taken.hexdigest()


class Signer(Protocol):
    """Who signs: the key's algorithm and name, and what it makes of bytes."""

    @property
    def algorithm(self) -> str:
        """HMAC-SHA256 or Ed25519."""

    @property
    def name(self) -> str:
        """A name that tells nothing about the key but which one it is."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature; raises ValueError if this half of the key cannot sign."""


class Verifier(Protocol):
    """Who knows a good signature: the key's name, and whether it has signed some bytes."""

    @property
    def name(self) -> str:
        """The name that the key's checkpoints bear."""

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Whether this key has made the signature."""


class Contradiction(Exception):
    """What is there is not what was signed; the message says what to look at."""


class Unreadable(Exception):
    """A line is no checkpoint as this service writes them; the message says why."""


def signed(statement: Statement, signer: Signer) -> str:
    """Return the line, without its end."""
    fields = {name: getattr(statement, name) for name in Statement.__struct_fields__}
    signature = signer.sign(statement.content()).hex()
    return msgspec.json.encode(Checkpoint(**fields, signature=signature)).decode()


def read(line: str) -> Checkpoint:
    """Read a line; raises Unreadable, also if it was written in another way than ours."""
    try:
        checkpoint = msgspec.json.decode(line, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if msgspec.json.encode(checkpoint) != line.encode():
        message = "it is not written as it was signed"
        raise Unreadable(message)
    return checkpoint


def line_hash(line: str) -> str:
    """Return what the next checkpoint states as `previous`."""
    return sha256(_LINE + line.encode()).hexdigest()


def insist_on_chain(before: str | None, following: Sequence[str], key: Verifier) -> None:
    """Raise Contradiction unless the lines go on from the one before, all signed by the key."""
    known = read(before).checkpoint if before is not None else 0
    for number, line in enumerate(following, known + 1):
        try:
            told = read(line)
        except Unreadable as unreadable:
            message = f"the database's checkpoint {number} is unreadable: {unreadable}"
            raise Contradiction(message) from None
        if (told.checkpoint, told.previous) != (number, line_hash(before) if before else None):
            message = f"the database's checkpoint {number} does not go on from the one before"
            raise Contradiction(message)
        if not told.is_signed_by(key):
            message = f"the database's checkpoint {number} was not signed by this key ({key.name})"
            raise Contradiction(message)
        before = line
