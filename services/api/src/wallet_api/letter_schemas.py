"""This module is where the shapes of requests about dead letters are declared."""

from typing import Annotated

import msgspec

_LINE = r"^[^\x00-\x1f\x7f-\x9f]{1,1000}$(?!\n)"
_RATE_MAX = 100_000


class DiscardBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why the letter is thrown away; the archive keeps it with the letter."""

    reason: Annotated[str, msgspec.Meta(pattern=_LINE, max_length=1_000)]


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which letters: `all` of them, or those of one `group`; `rate` is at most so many a second."""

    all: bool = False
    group: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}$(?!\n)")] | None = None
    rate: Annotated[float, msgspec.Meta(gt=0, le=_RATE_MAX)] | None = None
