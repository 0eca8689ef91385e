"""This module is where the shapes of requests about a wallet's standing are declared."""

from typing import Annotated

import msgspec

from wallet_api.schemas import Key, WalletAnswer
from wallet_common.wallet import Direction

Reason = Annotated[
    str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,1000}$(?!\n)", max_length=1_000)
]


class StandingBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """Why. A repetition with its `requestId` changes nothing, however the wallet stands by then."""

    reason: Reason | None = None
    request_id: Key | None = None


class FreezeBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """Which way no money may move, and why; `requestId` as above."""

    direction: Direction
    reason: Reason
    request_id: Key | None = None


class StandingAnswer(WalletAnswer, rename="camel", kw_only=True):
    """The wallet as the operation left it."""

    request_id: str
    operation_id: str
