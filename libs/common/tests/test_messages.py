"""This module is where other services' messages are read, in the dialects of docs and code."""

import json
from typing import Any

import pytest

from wallet_common.errors import Poison
from wallet_common.messages import (
    UNEXPLAINED,
    Completion,
    Failure,
    SignUp,
    TransactionType,
    read_completion,
    read_failure,
    read_sign_up,
)

TOPUP: dict[str, Any] = {
    "transactionId": "t1",
    "type": "topup",
    "userId": "ann",
    "amount": "12.50",
    "description": "card",
    "completedAt": "2026-01-01T12:00:00Z",
}
TRANSFER = TOPUP | {"type": "transfer", "recipientId": "bob"}
OF_CODE: dict[str, Any] = {
    "transactionId": "t1",
    "type": "Transfer",
    "amount": 12.5,
    "fromUserId": "ann",
    "toUserId": "bob",
}


def body(message: dict[str, Any], **changes: object) -> bytes:
    """Return the message as sent, with some fields changed; `...` leaves one out."""
    changed = message | changes
    return json.dumps({name: value for name, value in changed.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "message",
    [
        {"userId": "ann", "name": "Ann", "email": "a@b.c", "createdAt": "2026-01-01T00:00:00Z"},
        {"id": "ann", "email": "a@b.c"},
        {"id": 7, "userId": "ann"},
        {"id": "ann", "userId": None},
    ],
)
def test_a_sign_up_names_its_user(message: dict[str, Any]) -> None:
    """Documents say userId, the code says id; beside a userId an id is that of something else."""
    assert read_sign_up(body(message)) == SignUp("ann")


@pytest.mark.parametrize("amount", [b'"12.50"', b"12.50", b"12.5", b'"12.5"'])
@pytest.mark.parametrize("spelled", ["topup", "TopUp", "TOPUP"])
def test_a_topup_is_read_exactly(spelled: str, amount: bytes) -> None:
    """The type is compared without case, the amount is a number's or a string's very text."""
    sent = body(TOPUP, type=spelled, amount="?").replace(b'"?"', amount)

    assert read_completion(sent, "USD") == Completion(
        transaction_id="t1",
        type=TransactionType.TOPUP,
        user_id="ann",
        recipient_id=None,
        amount_minor=1_250,
        currency="USD",
    )


@pytest.mark.parametrize("message", [TRANSFER, OF_CODE, OF_CODE | {"userId": "ann"}])
def test_a_transfer_is_the_same_in_both_dialects(message: dict[str, Any]) -> None:
    """The user and the recipient are fromUserId and toUserId in the code."""
    assert read_completion(body(message), "USD") == Completion(
        transaction_id="t1",
        type=TransactionType.TRANSFER,
        user_id="ann",
        recipient_id="bob",
        amount_minor=1_250,
        currency="USD",
    )


def test_an_amount_is_never_a_float() -> None:
    """More digits than a double has arrive as they were written."""
    sent = body(TOPUP, amount="?").replace(b'"?"', b"90071992547409.93")

    assert read_completion(sent, "USD").amount_minor == 9_007_199_254_740_993
    assert read_completion(sent, "EUR").currency == "EUR"


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        (TRANSFER | {"reason": "card declined"}, Failure("t1", "ann", "card declined")),
        (OF_CODE | {"reason": None}, Failure("t1", "ann", UNEXPLAINED)),
        ({"transactionId": "t1", "type": "TopUp"}, Failure("t1", None, UNEXPLAINED)),
        ({"transactionId": "t1"}, Failure("t1", None, UNEXPLAINED)),
        ({"transactionId": "t1", "reason": {"code": 7}}, Failure("t1", None, UNEXPLAINED)),
        ({"transactionId": "t1", "reason": "a\x00b\n"}, Failure("t1", None, "a b")),
        ({"transactionId": "t1", "amount": "-7"}, Failure("t1", None, UNEXPLAINED)),
    ],
)
def test_a_failure_needs_no_more_than_its_transaction(
    message: dict[str, Any], failure: Failure
) -> None:
    """What was to be done is known from the plan; a reason is kept if it is text."""
    assert read_failure(body(message)) == failure


def test_a_long_reason_is_cut() -> None:
    """Another service's essay does not fill our tables."""
    assert read_failure(body(TOPUP, reason="x" * 10_000)).reason == "x" * 500


UNREADABLE = {
    "nothing": b"",
    "no JSON": b"not json",
    "cut off": body(TOPUP)[:-1],
    "an array": b"[]",
    "a text": b'"t1"',
    "null": b"null",
    "invalid UTF-8": body(TOPUP).replace(b"t1", b"t\xff").replace(b"ann", b"a\xff"),
    "no text": bytes(range(256)),
    "deeply nested": b'{"a":' + b"[" * 100_000,
    "no ids": body(TOPUP, transactionId=..., userId=...),
    "null ids": body(TOPUP, transactionId=None, userId=None),
    "numbers as ids": body(TOPUP, transactionId=1, userId=1),
    "empty ids": body(TOPUP, transactionId="", userId=""),
    "ids that are too long": body(TOPUP, transactionId="t" * 257, userId="u" * 129),
    "ids that cannot be stored": body(TOPUP, transactionId="t\x00", userId="u\x00"),
    "ids with a line break": body(TOPUP, transactionId="t1\n", userId="ann\n"),
    "half a character": body(TOPUP, transactionId="?", userId="?").replace(b"?", rb"\ud800"),
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_nobody_can_read_is_poison(sent: bytes) -> None:
    """Whatever message it should have been, it says what is wrong with it."""
    with pytest.raises(Poison, match=r"\w"):
        read_sign_up(sent)
    with pytest.raises(Poison, match=r"\w"):
        read_completion(sent, "USD")
    with pytest.raises(Poison, match=r"\w"):
        read_failure(sent)


SENSELESS = {
    "no type": (body(TOPUP, type=...), "type"),
    "an unknown type": (body(TOPUP, type="payout"), "payout"),
    "a number as type": (body(TOPUP, type=1), "type"),
    "no user": (body(TOPUP, userId=...), "userId"),
    "a user that can own nothing": (body(TOPUP, userId="ann smith"), "userId"),
    "a transfer without sender": (body(OF_CODE, fromUserId=...), "fromUserId"),
    "a transfer without recipient": (body(TRANSFER, recipientId=...), "recipientId"),
    "two senders": (body(OF_CODE, userId="eve"), "differ"),
    "two recipients": (body(OF_CODE, recipientId="eve"), "differ"),
    "no amount": (body(TOPUP, amount=...), "amount"),
    "null": (body(TOPUP, amount=None), "amount"),
    "true": (body(TOPUP, amount=True), "amount"),
    "a list": (body(TOPUP, amount=["1"]), "amount"),
    "nothing": (body(TOPUP, amount="0.00"), "zero"),
    "less than nothing": (body(TOPUP, amount=-1), "amount"),
    "three decimals": (body(TOPUP, amount="1.001"), "decimals"),
    "three decimals that are nothing": (body(TOPUP, amount="1.000"), "decimals"),
    "an exponent": (body(TOPUP, amount="?").replace(b'"?"', b"1e2"), "amount"),
    "words": (body(TOPUP, amount="ten"), "amount"),
    "other digits": (body(TOPUP, amount="１０"), "amount"),
    "more than a wallet holds": (body(TOPUP, amount="92233720368547758.08"), "hold"),
}


@pytest.mark.parametrize(("sent", "said"), SENSELESS.values(), ids=SENSELESS.keys())
def test_what_has_no_meaning_is_poison(sent: bytes, said: str) -> None:
    """A completion that no retry will make carry-outable says which field is why."""
    with pytest.raises(Poison, match=said):
        read_completion(sent, "USD")


def test_a_failure_of_an_unknown_type_is_poison() -> None:
    """It is no transaction of the kind that we know."""
    with pytest.raises(Poison, match="payout"):
        read_failure(body(TOPUP, type="payout"))
