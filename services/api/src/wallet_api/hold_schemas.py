"""This module is where the shapes of requests and answers about holds are declared."""

from datetime import datetime
from typing import Annotated

import msgspec

from wallet_api.schemas import Key, MoneyBody, WalletId

Time = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        description="An RFC 3339 time in the future; without one the hold stays until it is ended.",
        examples=["2030-01-31T12:00:00Z"],
    ),
]


class HoldBody(MoneyBody, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Money to bind."""

    expires_at: Time | None = None


class ReleaseBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """How much to free; without an `amount` all that remains."""

    amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    request_id: Key | None = None


class CaptureBody(ReleaseBody, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """How much to take; to another wallet, or out of the service without `toWalletId`."""

    to_wallet_id: WalletId | None = None


class HoldAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """
    A hold; `released` is what it has freed, by time too, `remaining` what it still binds.

    `balance`, `held` and `available` are its wallet's.
    """

    hold_id: str
    wallet_id: str
    amount: str
    captured: str
    released: str
    remaining: str
    currency: str
    status: str
    expires_at: datetime | None
    request_id: str
    operation_id: str
    balance: str
    held: str
    available: str
    transfer_id: str | None = None


class HoldPage(msgspec.Struct, rename="camel"):
    items: list[HoldAnswer]
    next_cursor: str | None
