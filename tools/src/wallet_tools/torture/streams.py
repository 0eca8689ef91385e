"""This module is where bytes on a wire are read as what they mean: a COMMIT's reply, a confirm."""

from dataclasses import dataclass, field
from typing import Final, Protocol

# PostgreSQL's CommandComplete with the tag COMMIT: kind, length, text.
COMMIT_REPLY: Final = b"C\x00\x00\x00\x0bCOMMIT\x00"
# Of an AMQP frame: kind, channel and size come first, then the payload, then one octet.
_FRAME_HEAD: Final = 7
_METHOD: Final = b"\x01"
_BASIC_ACK: Final = b"\x00\x3c\x00\x50"


class Sieve(Protocol):
    """
    Reads what a server sends on one connection, chunk by chunk, and finds the one to swallow.

    `pass_on` returns what goes through, and whether the wanted one was found and taken out; what
    follows it is kept back. It looks for it only while `is_armed`.
    """

    def pass_on(self, chunk: bytes, *, is_armed: bool) -> tuple[bytes, bool]: ...


@dataclass(slots=True)
class CommitSieve:
    """Finds the reply to a COMMIT, also one that comes in two chunks."""

    _held: bytes = b""

    def pass_on(self, chunk: bytes, *, is_armed: bool) -> tuple[bytes, bool]:
        seen, self._held = self._held + chunk, b""
        if not is_armed:
            return seen, False
        at = seen.find(COMMIT_REPLY)
        if at >= 0:
            return seen[:at], True
        keep = _beginning_at_end(seen)
        if keep:
            self._held = seen[-keep:]
            return seen[:-keep], False
        return seen, False


@dataclass(slots=True)
class ConfirmSieve:
    """Finds a basic.ack, which a broker sends only to those who publish; frame by frame."""

    _held: bytearray = field(default_factory=bytearray)

    def pass_on(self, chunk: bytes, *, is_armed: bool) -> tuple[bytes, bool]:
        self._held += chunk
        out, is_found = bytearray(), False
        while (size := self._frame()) is not None:
            frame = bytes(self._held[:size])
            del self._held[:size]
            if is_armed and not is_found and _is_confirm(frame):
                is_found = True
            else:
                out += frame
        return bytes(out), is_found

    def _frame(self) -> int | None:
        if len(self._held) < _FRAME_HEAD:
            return None
        size = _FRAME_HEAD + int.from_bytes(self._held[3:7]) + 1
        return size if len(self._held) >= size else None


def _is_confirm(frame: bytes) -> bool:
    return frame[:1] == _METHOD and frame[_FRAME_HEAD : _FRAME_HEAD + 4] == _BASIC_ACK


def _beginning_at_end(seen: bytes) -> int:
    """Return how many of the last bytes may be the beginning of a reply to COMMIT."""
    longest = min(len(COMMIT_REPLY) - 1, len(seen))
    return next((n for n in range(longest, 0, -1) if COMMIT_REPLY.startswith(seen[-n:])), 0)
