"""This module is where an amount of one currency becomes one of another: exactly, then rounded."""

from datetime import datetime

import msgspec

from wallet_common.currencies import EXPONENTS
from wallet_common.errors import InvalidAmount
from wallet_common.money import MAX_MINOR, Amount, decimal_text, half_even


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """
    The terms on which money changes its currency: those of the quote `quote_id`.

    `rate` is units of `to_currency` for one of `from_currency`, `residue` the units of
    `to_currency` that rounding left over, signed; both are decimal text.
    """

    quote_id: str
    rate: str
    from_currency: str
    from_minor: int
    to_currency: str
    to_minor: int
    residue: str


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """
    An offer of terms, good once and until it expires: `transfer_id` is who has used it.

    With an `owner_id` it is for that owner's wallets alone.
    """

    terms: Exchange
    expires_at: datetime
    owner_id: str | None = None
    transfer_id: str | None = None


def account(currency: str) -> str:
    """Return the system account through which money leaves or enters a currency."""
    return f"@fx:{currency}"


def exchanged(
    from_minor: int, from_currency: str, to_currency: str, rate: Amount
) -> tuple[int, str]:
    """
    Return what an amount is worth, rounded half to even, and the residue: exact minus rounded.

    Raises InvalidAmount for what is worth nothing, or more than a wallet can hold.
    """
    if from_minor > MAX_MINOR:
        message = "is more than a wallet can hold"
        raise InvalidAmount(message)
    exponent = EXPONENTS[to_currency]
    decimals = EXPONENTS[from_currency] + rate.decimals
    exact, unit = from_minor * rate.digits * 10**exponent, 10**decimals
    to_minor = half_even(exact, unit)
    if to_minor == 0:
        message = f"is worth less than the smallest amount of {to_currency}"
        raise InvalidAmount(message)
    if to_minor > MAX_MINOR:
        message = f"is worth more {to_currency} than a wallet can hold"
        raise InvalidAmount(message)
    left = exact - to_minor * unit
    residue = decimal_text(abs(left), decimals + exponent).rstrip("0").rstrip(".") or "0"
    return to_minor, f"-{residue}" if left < 0 else residue
