"""This module is where the shapes of requests and answers about a wallet's limits are declared."""

from datetime import datetime
from typing import Annotated

import msgspec

from wallet_api.schemas import Key
from wallet_common.limits import Period

_Raw = msgspec.Raw | msgspec.UnsetType
TimeZone = Annotated[
    str,
    msgspec.Meta(
        max_length=64,
        description="An IANA name: the periods begin at its midnights, weeks on a Monday.",
        examples=["Europe/Berlin"],
    ),
]


class VelocityBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """How much, or how many times, money may leave in a period: one of both at least."""

    period: Period
    amount: _Raw = msgspec.UNSET
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


class LimitsBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """The limits that a wallet has from now on; what is left out is no limit, or no overdraft."""

    overdraft: _Raw = msgspec.UNSET
    max_balance: _Raw = msgspec.UNSET
    max_transaction: _Raw = msgspec.UNSET
    velocity: Annotated[list[VelocityBody], msgspec.Meta(max_length=3)] = msgspec.field(
        default_factory=list
    )
    time_zone: TimeZone = "UTC"
    request_id: Key | None = None


class VelocityAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """A limit of the period that we are in, and what is used of it; held money counts as used."""

    period: Period
    amount: str | None
    used_amount: str
    count: int | None
    used_count: int
    since: datetime
    frees_at: datetime


class LimitsAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """What a wallet may owe, keep, and let go in a time; null is no limit."""

    wallet_id: str
    currency: str
    overdraft: str
    max_balance: str | None
    max_transaction: str | None
    velocity: list[VelocityAnswer]
    time_zone: str
