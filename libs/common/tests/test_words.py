"""This module is where a refusal is shown to say why, in words that callers and operators see."""

import json
from typing import Any

import pytest

from wallet_common import messages
from wallet_common.errors import InvalidAmount, Poison
from wallet_common.messages import Failure, read_completion, read_failure, read_sign_up
from wallet_common.money import MAX_MINOR, Amount, from_minor, parse_amount
from wallet_common.settlements import plan, tombstone

TRANSFER: dict[str, Any] = {
    "transactionId": "t1",
    "type": "transfer",
    "userId": "ann",
    "recipientId": "bob",
    "amount": "12.50",
}


def completion(**changes: object) -> bytes:
    """Return a completion as sent, with some fields changed; `...` leaves one out."""
    fields = TRANSFER | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-1", 'must be a positive decimal such as "12.50": digits, no sign, no exponent'),
        ("0.00", "must be greater than zero"),
        (f"1.{'0' * 19}", "has more than 18 decimals"),
    ],
)
def test_what_is_no_amount_is_told_why(text: str, why: str) -> None:
    """The message is the `errors` member of the caller's 400."""
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(text)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("currency", "why"),
    [
        ("USD", "USD has 2 decimals, the amount has 3"),
        ("JPY", "JPY has 0 decimals, the amount has 3"),
    ],
)
def test_too_many_decimals_are_counted(currency: str, why: str) -> None:
    """A caller learns how many the currency has and how many it sent."""
    with pytest.raises(InvalidAmount) as refused:
        Amount(1_234, 3).to_minor(currency)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": ...}, "type is missing"),
        ({"type": "gift"}, "unknown transaction type 'gift'"),
        ({"amount": ...}, "amount is missing"),
        ({"amount": True}, "amount is neither a number nor a string"),
        ({"amount": [1]}, "amount is neither a number nor a string"),
        ({"amount": "1.234"}, "amount: USD has 2 decimals, the amount has 3"),
        ({"amount": "92233720368547758.08"}, "amount: is more than a wallet can hold"),
        ({"userId": ...}, "userId or fromUserId is missing"),
        ({"fromUserId": "eve"}, "userId and fromUserId differ"),
        ({"userId": 7}, "userId is no id that could be kept: 7"),
        ({"transactionId": ...}, "transactionId is missing"),
    ],
)
def test_poison_says_what_is_wrong(changes: dict[str, object], why: str) -> None:
    """The reason is the error of the dead letter, and what letters are grouped by."""
    with pytest.raises(Poison) as poison:
        read_completion(completion(**changes), "USD")
    assert str(poison.value) == why


def test_poison_that_is_no_json_says_where() -> None:
    """What the decoder found is told, for the whole and for a field."""
    with pytest.raises(Poison, match=r"JSON is malformed: .+ \(byte 0\)"):
        read_sign_up(b"x")
    with pytest.raises(Poison, match=r"^userId: .*(UTF|utf)-8"):
        read_sign_up(b'{"userId": "\xff"}')


def test_the_most_that_a_wallet_can_hold_is_no_poison() -> None:
    """The limit itself is still an amount."""
    most = f"{MAX_MINOR // 100}.{MAX_MINOR % 100:02}"
    assert read_completion(completion(amount=most), "USD").amount_minor == MAX_MINOR


def test_a_failure_without_a_reason_has_one() -> None:
    """A letter or an answer never has an empty reason."""
    assert read_failure(b'{"transactionId": "t1"}') == Failure("t1", None, messages.UNEXPLAINED)
    assert messages.UNEXPLAINED == "transaction_failed"


def test_one_spelling_keeps_every_letter_of_it() -> None:
    """Zeros go at the end of the decimals only, and the point with the last of them."""
    spellings = {"100": "100", "100.00": "100", "100.50": "100.5", "0.05": "0.05", "10.0": "10"}
    assert {text: parse_amount(text).canonical() for text in spellings} == spellings
    assert from_minor(1_000, "USD").canonical() == "10"


def test_a_tombstone_keeps_whose_transaction_it_was() -> None:
    """The failure's user is the one who is answered, for ever."""
    assert tombstone(Failure("t1", "ann", "chargeback")).user_id == "ann"


def test_another_transaction_of_the_same_id_names_what_differs() -> None:
    """All that differs is named, in one order."""
    known = plan(read_completion(completion(), "USD"), "w1", "w2")
    other = read_completion(completion(userId="eve", amount="1.00"), "USD")
    with pytest.raises(Poison) as poison:
        known.check_same(other)
    assert str(poison.value) == "the transaction is known with another user_id, amount_minor"
