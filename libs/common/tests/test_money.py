"""This module is where amounts are shown to be read exactly, written canonically or refused."""

from fractions import Fraction

import pytest
from hypothesis import example, given, strategies as st
from iso4217 import Currency

from wallet_common.currencies import EXPONENTS, is_currency
from wallet_common.errors import InvalidAmount
from wallet_common.money import MAX_MINOR, Amount, parse_amount, render

NO_AMOUNTS = {
    "empty": "",
    "not a number": "NaN",
    "signalling not a number": "sNaN",
    "infinity": "Infinity",
    "negative infinity": "-Infinity",
    "exponent": "1e2",
    "large exponent": "1e400",
    "exponent that burns CPU": "1e999999",
    "small exponent": "1e-400",
    "upper-case exponent": "1E+2",
    "negative": "-10.0000",
    "negative zero": "-0.0000",
    "zero": "0",
    "zero with decimals": "0.0000",
    "plus sign": "+10",
    "minus of another script (U+2212)": "−5",
    "spaces around": " 10 ",
    "newline behind": "10\n",
    "carriage return and newline behind": "10\r\n",
    "tab in front": "\t10",
    "underscore": "1_000",
    "thousands comma": "1,000",
    "hexadecimal": "0x10",
    "leading zero": "010",
    "two leading zeros": "00.5",
    "no whole part": ".5",
    "no decimals behind the point": "5.",
    "point alone": ".",
    "two points": "1.2.3",
    "Arabic digits": "١٢",
    "full-width digits": "１２",
    "Devanagari digit": "५",
    "Arabic digits as decimals": "1.٥",
    "Arabic decimal point": "1٫5",
    "true": "true",
    "null": "null",
    "array": "[]",
    "object": "{}",
    "NUL behind": "10\x00",
    "lone surrogate behind": "10\ud800",
    "2^63 as whole number": "9223372036854775808",
    "2^64 as whole number": "18446744073709551616",
    "19 digits": "1000000000000000000",
    "19 decimals": "1.0000000000000000001",
    "5 000 digits": "1" * 5_000,
    "5 000 decimals": "0." + "1" * 5_000,
    "a megabyte of digits": "9" * 1_000_000,
}

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else str(whole),
    st.integers(0, 10**18 - 1),
    st.text("0123456789", max_size=18),
).filter(lambda text: Fraction(text) > 0)


@pytest.mark.parametrize("text", NO_AMOUNTS.values(), ids=NO_AMOUNTS.keys())
def test_what_is_no_positive_plain_decimal_is_refused(text: str) -> None:
    """Only ASCII digits with at most one point and a value above zero are an amount."""
    with pytest.raises(InvalidAmount):
        parse_amount(text)


@pytest.mark.parametrize(
    ("text", "currency", "expected_minor"),
    [
        ("10.5", "USD", 1_050),
        ("10", "USD", 1_000),
        ("10.00", "USD", 1_000),
        ("0.01", "USD", 1),
        ("0.10", "USD", 10),
        ("9007199254740993.01", "USD", 900_719_925_474_099_301),
        ("999999999999999999.99", "USD", 99_999_999_999_999_999_999),
        ("12", "JPY", 12),
        ("999999999999999999", "JPY", 999_999_999_999_999_999),
        ("1.25", "KWD", 1_250),
        ("0.001", "KWD", 1),
        ("9007199254740993.0001", "CLF", 90_071_992_547_409_930_001),
        ("922337203685477.5807", "CLF", MAX_MINOR),
        ("922337203685477.5808", "CLF", MAX_MINOR + 1),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, expected_minor: int) -> None:
    """An amount becomes the minor units of its currency to the last digit, however large."""
    amount = parse_amount(text)

    assert amount.to_minor(currency) == expected_minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("1.001", "USD"),
        ("1.000", "USD"),
        ("0.00001", "CLF"),
        ("10.00000", "CLF"),
        ("9007199254740993.0001", "USD"),
        ("922337203685477.5808", "USD"),
        ("1.0", "JPY"),
        ("1.0000", "KWD"),
    ],
)
def test_more_decimals_than_the_currency_has_are_refused(text: str, currency: str) -> None:
    """Decimals beyond the currency's are refused even when they are zeros, never rounded away."""
    amount = parse_amount(text)

    with pytest.raises(InvalidAmount, match=f"{currency} has {EXPONENTS[currency]} decimals"):
        amount.to_minor(currency)


def test_a_dime_ten_thousand_times_is_a_thousand() -> None:
    """Adding 0.1 ten thousand times gives 1000.00 and nothing beside it."""
    total_minor = sum(parse_amount("0.1").to_minor("USD") for _ in range(10_000))

    assert render(total_minor, "USD") == "1000.00"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "expected"),
    [
        (1_250, "USD", "12.50"),
        (0, "USD", "0.00"),
        (5, "USD", "0.05"),
        (-1_250, "USD", "-12.50"),
        (-5, "USD", "-0.05"),
        (12, "JPY", "12"),
        (0, "JPY", "0"),
        (-12, "JPY", "-12"),
        (1_250, "KWD", "1.250"),
        (1, "KWD", "0.001"),
        (1, "CLF", "0.0001"),
        (MAX_MINOR, "USD", "92233720368547758.07"),
    ],
)
def test_an_amount_is_written_with_its_currencys_decimals(
    amount_minor: int, currency: str, expected: str
) -> None:
    """Minor units are written with exactly the currency's decimals, and the sign is kept."""
    assert render(amount_minor, currency) == expected


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (("10", "10.0", "10.00", "10.0000"), "10"),
        (("0.5", "0.50", "0.500"), "0.5"),
        (("100", "100.0"), "100"),
        (("10.01", "10.010"), "10.01"),
    ],
)
def test_all_spellings_of_a_value_have_one_canonical_form(
    spellings: tuple[str, ...], expected: str
) -> None:
    """Trailing zeros do not change what was meant."""
    assert {parse_amount(text).canonical() for text in spellings} == {expected}


@given(amounts, currencies)
def test_reading_loses_nothing(text: str, currency: str) -> None:
    """Minor units are the written value times the currency's power of ten, or there are none."""
    exponent = EXPONENTS[currency]
    decimals = len(text.partition(".")[2])
    amount = parse_amount(text)

    if decimals > exponent:
        with pytest.raises(InvalidAmount):
            amount.to_minor(currency)
    else:
        assert amount.to_minor(currency) == Fraction(text) * 10**exponent


@given(st.text())
@example("1" * 19)
@example("1." + "0" * 19)
def test_any_text_is_either_exact_or_refused(text: str) -> None:
    """Whatever the text, the answer is its exact value or InvalidAmount, nothing else."""
    try:
        amount = parse_amount(text)
    except InvalidAmount:
        return

    assert Fraction(amount.digits, 10**amount.decimals) == Fraction(text) > 0


@given(st.text("0123456789.+-eE_, \n٣３", max_size=24))
def test_what_looks_like_a_number_is_read_by_the_grammar_alone(text: str) -> None:
    """Of the characters that numbers are written with, only ASCII digits and one point pass."""
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    is_plain = bool(whole) and bool(fraction) == bool(point) and set(digits) <= set("0123456789")
    is_short = len(whole) <= 18 and len(fraction) <= 18
    has_no_padding = whole == "0" or not whole.startswith("0")
    is_amount = is_plain and is_short and has_no_padding and int(digits) > 0

    try:
        parse_amount(text)
        accepted = True
    except InvalidAmount:
        accepted = False

    assert accepted == is_amount


@given(currencies, st.data())
def test_written_amounts_are_read_back(currency: str, data: st.DataObject) -> None:
    """What we write for a positive amount, we read as the same minor units."""
    highest = min(MAX_MINOR, 10 ** (18 + EXPONENTS[currency]) - 1)
    amount_minor = data.draw(st.integers(1, highest))

    text = render(amount_minor, currency)

    assert parse_amount(text).to_minor(currency) == amount_minor


@given(st.integers(-(2**63), MAX_MINOR), currencies)
def test_writing_loses_nothing(amount_minor: int, currency: str) -> None:
    """The written decimal is the exact value of the minor units, sign included."""
    text = render(amount_minor, currency)

    assert Fraction(text) == Fraction(amount_minor, 10 ** EXPONENTS[currency])
    assert len(text.partition(".")[2]) == EXPONENTS[currency]


@given(amounts, amounts)
def test_canonical_forms_agree_exactly_when_the_values_do(one: str, other: str) -> None:
    """Two amounts have one canonical form if and only if they are the same value."""
    same_form = parse_amount(one).canonical() == parse_amount(other).canonical()

    assert same_form == (Fraction(one) == Fraction(other))


@given(amounts)
def test_the_canonical_form_is_its_own(text: str) -> None:
    """The canonical form is an amount of the same value, and its own canonical form."""
    canonical = parse_amount(text).canonical()

    assert Fraction(canonical) == Fraction(text)
    assert parse_amount(canonical).canonical() == canonical


@pytest.mark.parametrize(
    ("threshold", "currency", "expected_minor"),
    [
        (Amount(10_000, 0), "USD", 1_000_000),
        (Amount(10_000, 0), "JPY", 10_000),
        (Amount(10_000, 0), "KWD", 10_000_000),
        (Amount(5, 1), "JPY", 1),
        (Amount(1_001, 3), "USD", 101),
        (Amount(1_000, 3), "USD", 100),
    ],
)
def test_a_threshold_is_rounded_up_to_the_currency(
    threshold: Amount, currency: str, expected_minor: int
) -> None:
    """A threshold finer than the currency becomes the least amount that reaches it."""
    assert threshold.to_minor_rounded_up(currency) == expected_minor


@given(amounts, currencies)
def test_a_rounded_threshold_is_the_least_that_reaches_it(text: str, currency: str) -> None:
    """One minor unit less would be below the threshold."""
    scale = 10 ** EXPONENTS[currency]
    rounded_minor = parse_amount(text).to_minor_rounded_up(currency)

    assert Fraction(rounded_minor - 1, scale) < Fraction(text) <= Fraction(rounded_minor, scale)


def test_the_currencies_are_those_of_the_standard() -> None:
    """Codes and exponents equal the maintained `iso4217` package; those without one are absent."""
    standard = {each.code: each.exponent for each in Currency if each.exponent is not None}

    assert standard == EXPONENTS


@pytest.mark.parametrize(
    ("code", "expected"),
    [("USD", True), ("JPY", True), ("usd", False), ("XAU", False), ("XXX", False), ("", False)],
)
def test_a_wallet_is_kept_in_a_real_currency(code: str, *, expected: bool) -> None:
    """Lower case, metals, test codes and nothing at all are no currency of a wallet."""
    assert is_currency(code) is expected
