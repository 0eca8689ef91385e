"""This module is where the shapes of requests and answers about fees are declared."""

from typing import Annotated, Literal

import msgspec

Operation = Literal["deposit", "withdraw", "transfer", "conversion"]
_PERCENT = r"^(100|[1-9]?[0-9](\.[0-9]{1,18})?)$(?!\n)"


class FeesBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """
    What an operation costs: `flat` and `percent` of its amount, at least `min`, at most `max`.

    Without any of them it is free.
    """

    flat: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    percent: Annotated[str, msgspec.Meta(pattern=_PERCENT, max_length=21)] | None = None
    min: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    max: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class FeesAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """A schedule that is in force; amounts are decimals of `currency`."""

    schedule_id: str
    operation: str
    currency: str
    flat: str
    percent: str | None
    min: str
    max: str | None


class FeesList(msgspec.Struct, rename="camel"):
    items: list[FeesAnswer]
