"""
This module is where many leaves become one hash, and a path shows that a leaf is among them.

The tree is that of RFC 6962: of n leaves the greatest power of two below n stands on the left.
Leaves come one after another and are not kept, so its memory is the tree's height.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from wallet_common.chain import NO_HASH

_LEAF: Final = b"\x10"
_NODE: Final = b"\x11"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A neighbour on the way up, and whether it stands on the left."""

    hash: str
    is_left: bool = msgspec.field(name="isLeft")


class Head(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A wallet as a checkpoint found it; `head` is its newest entry's hash, in hex."""

    wallet_id: str
    version: int
    balance_minor: int
    head: str


class Tree:
    """Takes leaves in their order; `path` is that of the one that was `proven`."""

    def __init__(self) -> None:
        self.count = 0
        self.path: list[Step] = []
        # Perfect subtrees from the left: the hash, how many leaves, whether the proven one is in.
        self._peaks: list[tuple[bytes, int, bool]] = []

    def add(self, leaf: bytes, *, is_proven: bool = False) -> None:
        """Take the next leaf."""
        self.count += 1
        self._peaks.append((leaf, 1, is_proven))
        while len(self._peaks) > 1 and self._peaks[-1][1] == self._peaks[-2][1]:
            self._join()

    def root(self) -> bytes:
        """Return the hash of all; nothing may be added any more."""
        while len(self._peaks) > 1:
            self._join()
        return self._peaks[0][0] if self._peaks else NO_HASH

    def _join(self) -> None:
        right, right_count, is_right = self._peaks.pop()
        left, left_count, is_left = self._peaks.pop()
        if is_left:
            self.path.append(Step(right.hex(), is_left=False))
        elif is_right:
            self.path.append(Step(left.hex(), is_left=True))
        joined = _node(left, right)
        self._peaks.append((joined, left_count + right_count, is_left or is_right))


def leaf(head: Head) -> bytes:
    """Return a wallet's leaf."""
    wallet_id = head.wallet_id.encode()
    numbers = head.version.to_bytes(8, "big") + head.balance_minor.to_bytes(8, "big", signed=True)
    size = len(wallet_id).to_bytes(4, "big")
    return sha256(_LEAF + size + wallet_id + numbers + bytes.fromhex(head.head)).digest()


def climb(start: bytes, path: Sequence[Step]) -> bytes:
    """Return the root to which a leaf's path leads."""
    for step in path:
        beside = bytes.fromhex(step.hash)
        start = _node(beside, start) if step.is_left else _node(start, beside)
    return start


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
