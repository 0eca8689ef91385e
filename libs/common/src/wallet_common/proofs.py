"""
This module is where an entry's inclusion is proved without the books: by hashes and a signature.

From the entry's own columns its digest is made, from that and the hash before it its hash; the
digests that follow lead to the wallet's head, a path from there to the root, and the root is what
the checkpoint signs.
"""

import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from wallet_common import chain
from wallet_common.checkpoints import Checkpoint, Unreadable, Verifier, read
from wallet_common.merkle import Head, Step, climb, leaf


class ProvenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every column of the entry but its hash, as `wallet_common.chain` reads them."""

    wallet_id: str
    wallet_version: int
    type: str
    amount_minor: int
    balance_after_minor: int
    currency: str
    counter_account: str
    operation_id: str
    transfer_id: str | None
    request_id: str
    reference: str | None
    metadata: str | None
    audit_id: str | None
    trace_id: str
    occurred_at: datetime


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What stands in the file: the entry, and the way from it to a signed checkpoint.

    `before` is the hash of the entry before, `following` the digests of those that came until the
    checkpoint, `head` how it found the wallet, all in hex.
    """

    entry: ProvenEntry
    before: str
    following: Sequence[str]
    head: Head
    path: Sequence[Step]
    checkpoint: str


class NotProven(Exception):
    """The file proves nothing; the message says where its way ends."""


_DECODER: Final = msgspec.json.Decoder(Proof)
# Hashes that are none, numbers that no column holds, an instant without a zone.
_Unfit: Final = (ValueError, OverflowError, TypeError, struct.error)


def encode(proof: Proof) -> bytes:
    """Return what is written into the file."""
    return msgspec.json.format(msgspec.json.encode(proof), indent=1) + b"\n"


def decode(content: bytes) -> Proof:
    """Read a proof; raises NotProven if it is none."""
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise NotProven(f"it is no proof: {error}") from error


def check(proof: Proof, key: Verifier | None = None) -> Checkpoint:
    """
    Return the checkpoint that covers the entry, signed by `key`; raises NotProven.

    Without a key the signature is not looked at: whoever makes a proof knows that the way is whole.
    """
    try:
        checkpoint = read(proof.checkpoint)
        if _root(proof).hex() != checkpoint.root:
            raise NotProven("its way does not lead to the checkpoint's root: something was changed")
        signature = bytes.fromhex(checkpoint.signature)
    except Unreadable as unreadable:
        raise NotProven(f"its checkpoint is unreadable: {unreadable}") from unreadable
    except _Unfit as error:
        raise NotProven(f"it is not written as it was made: {error}") from error
    if key is not None and not key.has_signed(checkpoint.content(), signature):
        message = f"its checkpoint was not signed by this key, but by {checkpoint.key}"
        raise NotProven(message)
    return checkpoint


def _root(proof: Proof) -> bytes:
    if proof.head.wallet_id != proof.entry.wallet_id:
        message = "entry and head are of two wallets"
        raise NotProven(message)
    columns = [getattr(proof.entry, name) for name in chain.ENTRY]
    head = chain.link(bytes.fromhex(proof.before), chain.entry_digest(columns))
    for digest in proof.following:
        head = chain.link(head, bytes.fromhex(digest))
    if head.hex() != proof.head.head:
        message = "the entry does not lead to the wallet's head: something was changed"
        raise NotProven(message)
    return climb(leaf(proof.head), proof.path)
