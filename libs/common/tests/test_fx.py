"""This module is where money changes its currency on paper: exactly, and on the quote's terms."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from wallet_common import commands as ask
from wallet_common.currencies import EXPONENTS
from wallet_common.errors import InvalidAmount
from wallet_common.fx import Exchange, Quote, exchanged
from wallet_common.ledger import decide
from wallet_common.meanings import meaning
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.payloads import Step
from wallet_common.transfer_steps import credit_of, end_of
from wallet_common.wallet import Posted, Rejected, RejectionReason as Reason, Surroundings, Wallet

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ADA = Wallet("ada", "USD", "ada", balance_minor=10_000, version=3)
EUR = Wallet("ada-eur", "EUR", "ada", version=1)
TERMS = Exchange(
    quote_id="q1",
    rate="0.5",
    from_currency="USD",
    from_minor=1_001,
    to_currency="EUR",
    to_minor=500,
    residue="0.005",
)
QUOTE = Quote(terms=TERMS, expires_at=NOW + timedelta(seconds=1))
EXACTLY = Context(prec=100)


@pytest.mark.parametrize(
    ("amount", "currencies", "rate", "expected"),
    [
        (1_001, "USD EUR", "0.5", (500, "0.005")),
        (1_003, "USD EUR", "0.5", (502, "-0.005")),
        (10_010, "USD EUR", "0.92585", (9_268, "-0.002415")),
        (10_000, "USD EUR", "1", (10_000, "0")),
        (1_000, "USD JPY", "156.789", (1_568, "-0.11")),
        (1_568, "JPY USD", "0.00638", (1_000, "0.00384")),
        (1, "BHD USD", "2.65", (0, "")),
        (MAX_MINOR, "USD EUR", "1", (MAX_MINOR, "0")),
    ],
)
def test_an_amount_is_worth_what_the_rate_says(
    amount: int, currencies: str, rate: str, expected: tuple[int, str]
) -> None:
    """Rounded half to even, between currencies of any decimals; the rest is told exactly."""
    from_currency, to_currency = currencies.split()
    if expected[0] == 0:
        with pytest.raises(InvalidAmount):
            exchanged(amount, from_currency, to_currency, parse_amount(rate))
    else:
        assert exchanged(amount, from_currency, to_currency, parse_amount(rate)) == expected


def test_nothing_is_worth_more_than_a_wallet_can_hold() -> None:
    """One minor unit beyond the range is refused, and so is what is worth no minor unit."""
    with pytest.raises(InvalidAmount, match="more EUR"):
        exchanged(MAX_MINOR, "USD", "EUR", parse_amount("1.00000000000000001"))
    with pytest.raises(InvalidAmount, match="more than a wallet can hold"):
        exchanged(MAX_MINOR + 1, "USD", "EUR", parse_amount("0.1"))
    with pytest.raises(InvalidAmount, match="smallest amount of EUR"):
        exchanged(1, "USD", "EUR", parse_amount("0.5"))


@given(
    amount=st.integers(1, MAX_MINOR),
    pair=st.lists(st.sampled_from(sorted(EXPONENTS)), min_size=2, max_size=2, unique=True),
    rate=st.tuples(st.integers(1, 10**12), st.integers(0, 18)),
)
def test_what_is_paid_and_what_is_left_over_are_what_the_rate_gives(
    amount: int, pair: list[str], rate: tuple[int, int]
) -> None:
    """As decimal arithmetic has it, for any amount, currencies and rate."""
    one, other = pair
    spelled = f"{EXACTLY.scaleb(Decimal(rate[0]), -rate[1]):f}"
    exact = EXACTLY.multiply(EXACTLY.scaleb(Decimal(amount), -EXPONENTS[one]), Decimal(spelled))
    rounded = exact.quantize(
        EXACTLY.scaleb(Decimal(1), -EXPONENTS[other]), rounding=ROUND_HALF_EVEN, context=EXACTLY
    )
    try:
        to_minor, residue = exchanged(amount, one, other, parse_amount(spelled))
    except InvalidAmount:
        worth = EXACTLY.scaleb(rounded, EXPONENTS[other])
        assert worth == 0 or worth > MAX_MINOR
        return

    assert EXACTLY.scaleb(Decimal(to_minor), -EXPONENTS[other]) == rounded
    assert Decimal(residue) == EXACTLY.subtract(exact, rounded)


def transfer(**more: Any) -> ask.DebitTransfer:  # noqa: ANN401  # its fields
    asked: dict[str, Any] = {
        "wallet_id": "ada",
        "to_wallet_id": "ada-eur",
        "request_id": "k1",
        "operation_id": "o1",
        "amount": parse_amount("10.01"),
        "quote_id": "q1",
    }
    return ask.DebitTransfer(**(asked | more))


@pytest.mark.parametrize(
    ("command", "recipient", "quote", "expected"),
    [
        (transfer(quote_id=None), EUR, None, Reason.CURRENCY_MISMATCH),
        (transfer(), EUR, None, Reason.QUOTE_NOT_FOUND),
        (
            transfer(),
            EUR,
            replace(QUOTE, owner_id="bob"),
            Reason.QUOTE_NOT_FOUND,
        ),
        (transfer(), EUR, Quote(terms=TERMS, expires_at=NOW), Reason.QUOTE_EXPIRED),
        (
            transfer(),
            EUR,
            Quote(terms=TERMS, expires_at=NOW, transfer_id="o0"),
            Reason.QUOTE_USED,
        ),
        (transfer(amount=parse_amount("10.02")), EUR, QUOTE, Reason.QUOTE_MISMATCH),
        (transfer(), Wallet("ada-jpy", "JPY", "ada"), QUOTE, Reason.QUOTE_MISMATCH),
        (transfer(), Wallet("ada-usd", "USD", "ada"), QUOTE, Reason.QUOTE_MISMATCH),
        (transfer(is_conversion=True), Wallet("bob", "EUR", "bob"), QUOTE, Reason.OTHER_OWNER),
    ],
)
def test_a_quote_is_good_for_what_it_says_and_no_more(
    command: ask.DebitTransfer, recipient: Wallet, quote: Quote | None, expected: Reason
) -> None:
    """Another amount, currency, owner or time, and a second use, are refused by name."""
    decided = decide(ADA, command, Surroundings(recipient=recipient, quote=quote, now=NOW))

    assert isinstance(decided, Rejected)
    assert decided.reason is expected


def test_a_conversion_names_the_quote_that_is_not_for_it() -> None:
    """Also where its amount would make no sense in the wallet's currency."""
    yen = Wallet("ada", "JPY", "ada", balance_minor=10_000, version=3)
    around = Surroundings(recipient=EUR, quote=QUOTE, now=NOW)

    decided = decide(yen, transfer(is_conversion=True), around)

    assert isinstance(decided, Rejected)
    assert (decided.reason, decided.detail) == (
        Reason.QUOTE_MISMATCH,
        "The quote is for 10.01 USD into EUR.",
    )


def test_of_another_owners_quote_nothing_is_told() -> None:
    """Not even that it is for another currency than the wallet's."""
    yen = Wallet("bea", "JPY", "bea", balance_minor=10_000, version=3)
    theirs = replace(QUOTE, owner_id="ada")

    decided = decide(
        yen,
        transfer(wallet_id="bea", is_conversion=True),
        Surroundings(recipient=EUR, quote=theirs, now=NOW),
    )

    assert decided == Rejected(Reason.QUOTE_NOT_FOUND)


def test_each_side_moves_in_its_own_currency() -> None:
    """The sender pays dollars, the recipient gets euros; both tell the terms."""
    around = Surroundings(recipient=EUR, quote=QUOTE, now=NOW)
    debited = decide(ADA, transfer(), around)
    assert isinstance(debited, Posted)
    assert debited.transfer is not None
    credit = credit_of(debited.transfer, "o2")
    credited = decide(EUR, credit, Surroundings())
    assert isinstance(credited, Posted)
    ended = end_of(debited.transfer, Rejected(Reason.WALLET_FROZEN), "o3")
    refunded = decide(debited.wallet, ended, Surroundings(transfer=debited.transfer))
    assert isinstance(refunded, Posted)

    entries = [each.entry for each in (debited, credited, refunded)]
    assert [(each.amount_minor, each.changes_currency) for each in entries if each] == [
        *((-1_001, True), (500, True), (1_001, True)),
    ]
    told = [fact.payload for each in (debited, credited, refunded) for fact in each.facts]
    assert {each.exchange.residue for each in told if isinstance(each, Step) and each.exchange} == {
        "0.005"
    }
    moved = [each.payload for each in (debited.facts[1], *credited.facts)]
    assert [(each.amount, each.currency) for each in moved if isinstance(each, Step)] == [
        *(("10.01", "USD"), ("5.00", "EUR")),
    ]


def test_the_quote_is_part_of_what_a_key_means() -> None:
    """The same transfer on other terms is another intent, and a conversion is no transfer."""
    assert meaning(transfer())["quoteId"] == "q1"
    assert meaning(transfer()) != meaning(transfer(quote_id="q2"))
    assert meaning(transfer(is_conversion=True))["type"] == "conversion"
