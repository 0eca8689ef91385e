"""This module is where text becomes an exact amount of money and an amount becomes text."""

import re
from typing import Final

import msgspec

from wallet_common.currencies import EXPONENTS
from wallet_common.errors import InvalidAmount

# A balance is a signed 64-bit integer of minor units in the database.
MAX_MINOR: Final = 2**63 - 1

# ASCII digits only: `\d` and Decimal() also take other scripts' digits.
_GRAMMAR: Final = re.compile(r"\A(0|[1-9][0-9]{0,17})(?:\.([0-9]+))?\Z")
# What money became in another currency may have a digit more than anybody can ask for.
_TOLD_GRAMMAR: Final = re.compile(r"\A(0|[1-9][0-9]{0,18})(?:\.([0-9]+))?\Z")
# No currency has more decimals; bounds the integer before it is built.
_MAX_DECIMALS: Final = 18


class Amount(msgspec.Struct, frozen=True):
    """
    A positive decimal as it was written: `digits` x 10^-`decimals`, its currency not yet known.

    The currency belongs to the wallet and is read under its lock, so the edge can only check the
    grammar; `to_minor` does the rest.
    """

    digits: int
    decimals: int

    def to_minor(self, currency: str) -> int:
        """Return the minor units; may be beyond `MAX_MINOR`. Raises InvalidAmount."""
        exponent = EXPONENTS[currency]
        if self.decimals > exponent:
            message = f"{currency} has {exponent} decimals, the amount has {self.decimals}"
            raise InvalidAmount(message)
        return int(self.digits * 10 ** (exponent - self.decimals))

    def to_minor_rounded_up(self, currency: str) -> int:
        """Return the least minor units that are not below the amount: for thresholds."""
        return -int(-self.digits * 10 ** EXPONENTS[currency] // 10**self.decimals)

    def canonical(self) -> str:
        """Return one spelling for all spellings of the value: "10" for "10", 10 and "10.00"."""
        text = decimal_text(self.digits, self.decimals)
        return text.rstrip("0").rstrip(".") if self.decimals else text


def parse_amount(text: str) -> Amount:
    """Read an amount exactly; raises InvalidAmount for all that is not a positive decimal."""
    return _parse(_GRAMMAR, text)


def parse_told(text: str) -> Amount:
    """Read an amount that this service has told, up to all that a wallet can have."""
    return _parse(_TOLD_GRAMMAR, text)


def _parse(grammar: re.Pattern[str], text: str) -> Amount:
    found = grammar.match(text)
    if found is None:
        message = 'must be a positive decimal such as "12.50": digits, no sign, no exponent'
        raise InvalidAmount(message)
    whole, fraction = found[1], found[2] or ""
    if len(fraction) > _MAX_DECIMALS:
        message = f"has more than {_MAX_DECIMALS} decimals"
        raise InvalidAmount(message)
    digits = int(whole + fraction)
    if digits == 0:
        message = "must be greater than zero"
        raise InvalidAmount(message)
    return Amount(digits, len(fraction))


def from_minor(amount_minor: int, currency: str) -> Amount:
    """Return minor units as the amount that they are in `currency`."""
    return Amount(amount_minor, EXPONENTS[currency])


def render(amount_minor: int, currency: str) -> str:
    """Write minor units with exactly the currency's decimals; the sign is kept."""
    sign = "-" if amount_minor < 0 else ""
    return sign + decimal_text(abs(amount_minor), EXPONENTS[currency])


def half_even(numerator: int, denominator: int) -> int:
    """Divide, neither negative, and round half to even."""
    whole, rest = divmod(numerator, denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return whole + is_up


def decimal_text(digits: int, decimals: int) -> str:
    """Write `digits` x 10^-`decimals`, all of the decimals."""
    if decimals == 0:
        return str(digits)
    text = str(digits).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}"
