"""This module is where a place in a list becomes an opaque cursor, and only that list's cursor."""

import base64
import binascii
from hashlib import blake2b
from typing import Final

from wallet_api.problems import invalid

_CHECK_BYTES: Final = 9


def encode(scope: str, position: str) -> str:
    """
    Return a cursor that works for `scope` (the list with its filters) alone.

    The check is no secret: it catches mistakes. What a caller may see is decided by the path.
    """
    place = position.encode()
    return base64.urlsafe_b64encode(_check(scope, place) + place).decode().rstrip("=")


def decode(scope: str, cursor: str, *, name: str = "cursor") -> str:
    """Return the position; raises a 400 for a cursor that was changed or is another list's."""
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = packed[_CHECK_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise foreign(name) from None
    # Encoding again also refuses other spellings of the same bytes.
    if encode(scope, position) != cursor:
        raise foreign(name)
    return position


def _check(scope: str, place: bytes) -> bytes:
    digest = blake2b(digest_size=_CHECK_BYTES)
    for part in (scope.encode(), place):
        digest.update(len(part).to_bytes(4) + part)
    return digest.digest()


def foreign(name: str = "cursor") -> Exception:
    """Return the refusal of a cursor that this list did not give."""
    return invalid(name, "was not given by this list with these filters")
