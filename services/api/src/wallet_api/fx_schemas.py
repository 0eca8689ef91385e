"""This module is where the shapes of requests and answers about exchange are declared."""

from datetime import datetime
from uuid import UUID

import msgspec

from wallet_api.schemas import CurrencyCode, Key, WalletId


class RateBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """
    What one unit of a currency is worth in the other, from now on unless it says otherwise.

    `rate` is kept raw: its exact text counts. Times are RFC 3339 with an offset.
    """

    rate: msgspec.Raw
    valid_from: str | None = None
    valid_to: str | None = None


class RateAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """`rate` is units of `toCurrency` for one of `fromCurrency`."""

    from_currency: str
    to_currency: str
    rate: str
    valid_from: datetime
    valid_to: datetime | None


class QuoteBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """How much of `fromCurrency` is to be changed into `toCurrency`."""

    from_currency: CurrencyCode
    to_currency: CurrencyCode
    amount: msgspec.Raw


class QuoteAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """
    An offer that is good once, until `expiresAt`.

    `residue` is what rounding `toAmount` half to even has left over, in units of `toCurrency`.
    """

    quote_id: str
    from_currency: str
    to_currency: str
    rate: str
    from_amount: str
    to_amount: str
    residue: str
    expires_at: datetime


class ConvertBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """A conversion: all of what the quote offers, into another wallet of the same owner."""

    to_wallet_id: WalletId
    quote_id: UUID
    request_id: Key | None = None


class ConversionAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """What was changed into what; each balance is in its own wallet's currency."""

    operation_id: str
    from_wallet_id: str
    to_wallet_id: str
    from_amount: str
    from_currency: str
    to_amount: str
    to_currency: str
    rate: str
    quote_id: str
    request_id: str
    from_balance: str
    to_balance: str | None
    fee: str | msgspec.UnsetType = msgspec.UNSET
