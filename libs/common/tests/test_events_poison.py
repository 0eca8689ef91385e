"""This module is where messages that no retry makes readable are shown to be called poison."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from wallet_common.errors import Poison
from wallet_common.events import decode

PAYLOAD: dict[str, object] = {
    "amount": "12.50",
    "currency": "USD",
    "newBalance": "12.50",
    "requestId": "r1",
    "operationId": "o1",
}


def a_body(**changes: object) -> bytes:
    """A readable deposit with some fields changed; `...` leaves a field out."""
    message: dict[str, Any] = {
        "id": "e1",
        "type": "FundsDeposited",
        "schemaVersion": 1,
        "occurredAt": "2026-01-01T12:00:00Z",
        "walletId": "w1",
        "walletVersion": 7,
        "transferId": None,
        "auditId": None,
        "traceId": None,
        "payload": PAYLOAD,
    } | changes
    return json.dumps({name: value for name, value in message.items() if value is not ...}).encode()


def a_payload(**changes: object) -> bytes:
    """The same deposit with some fields of its payload changed."""
    payload = PAYLOAD | changes
    return a_body(payload={name: value for name, value in payload.items() if value is not ...})


NOT_JSON = {
    "empty": b"",
    "words": b"not json",
    "cut off": a_body()[:-1],
    "two values": a_body() + b"{}",
    "NaN": b"NaN",
    "NaN in a field": a_body(walletVersion=1).replace(
        b'"walletVersion": 1', b'"walletVersion": NaN'
    ),
    "invalid UTF-8": a_body().replace(b'"w1"', b'"w\xff"'),
    "invalid UTF-8 deep inside": a_body().replace(b'"r1"', b'"r\xff"'),
    "lone surrogate": a_body().replace(b'"r1"', b'"\\ud800"'),
    "UTF-16": a_body().decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + a_body(),
    "20 000 arrays deep": a_body()[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}
NOT_AN_OBJECT = {
    "array": b"[]",
    "text": b'"FundsDeposited"',
    "number": b"1",
    "null": b"null",
    "five megabytes of arrays": b"[" * 5_000_000,
}
# What is wrong, and the word that tells an operator where.
WRONG_FIELDS = {
    "no id": (a_body(id=...), "id"),
    "no type": (a_body(type=...), "type"),
    "no wallet id": (a_body(walletId=...), "walletId"),
    "no payload": (a_body(payload=...), "payload"),
    "no time": (a_body(occurredAt=...), "occurredAt"),
    "id is a number": (a_body(id=1), "id"),
    "id is null": (a_body(id=None), "id"),
    "id is empty": (a_body(id=""), "id"),
    "id is too long": (a_body(id="x" * 129), "id"),
    "id holds a line break": (a_body(id="e1\n"), "id"),
    "type is a number": (a_body(type=1), "type"),
    "type is null": (a_body(type=None), "type"),
    "type is unknown": (a_body(type="FundsLaundered"), "FundsLaundered"),
    "type is in another case": (a_body(type="fundsDeposited"), "fundsDeposited"),
    "wallet id is a number": (a_body(walletId=1), "walletId"),
    "wallet id is no wallet id": (a_body(walletId="w 1"), "walletId"),
    "wallet id holds a line break": (a_body(walletId="w1\n"), "walletId"),
    "version is text": (a_body(walletVersion="7"), "walletVersion"),
    "version is a fraction": (a_body(walletVersion=7.5), "walletVersion"),
    "version is a truth value": (a_body(walletVersion=True), "walletVersion"),
    "version is beyond 64 bits": (a_body(walletVersion=2**63), "walletVersion"),
    "time is a number": (a_body(occurredAt=1_767_268_800), "occurredAt"),
    "time is null": (a_body(occurredAt=None), "occurredAt"),
    "time is a day": (a_body(occurredAt="2026-01-01"), "occurredAt"),
    "time has no zone": (a_body(occurredAt="2026-01-01T12:00:00"), "occurredAt"),
    "time is before the first year": (a_body(occurredAt="0001-01-01T00:00:00+10:00"), "occurredAt"),
    "time is after the last year": (a_body(occurredAt="9999-12-31T23:59:59-10:00"), "occurredAt"),
    "schema of the future": (a_body(schemaVersion=2), "schemaVersion"),
    "schema is text": (a_body(schemaVersion="1"), "schemaVersion"),
    "transfer id is a number": (a_body(transferId=1), "transferId"),
    "trace id holds NUL": (a_body(traceId="t\x00"), "traceId"),
    "payload is an array": (a_body(payload=[]), "payload"),
    "payload is null": (a_body(payload=None), "payload"),
    "payload is text": (a_body(payload="{}"), "payload"),
    "payload is of another type": (a_body(payload={"ownerId": None, "currency": "USD"}), "payload"),
    "no amount": (a_payload(amount=...), "payload"),
    "amount is a number": (a_payload(amount=12.5), "payload.amount"),
    "amount is negative": (a_payload(amount="-12.50"), "payload.amount"),
    "amount is zero": (a_payload(amount="0.00"), "payload.amount"),
    "amount is NaN": (a_payload(amount="NaN"), "payload.amount"),
    "amount is too fine": (a_payload(amount="12.501"), "payload.amount"),
    "no currency": (a_payload(currency=...), "currency"),
    "currency is unknown": (a_payload(currency="XXX"), "XXX"),
    "currency of a new wallet is unknown": (
        a_body(
            type="WalletCreated", payload={"currency": "XXX", "ownerId": None, "newBalance": "0"}
        ),
        "XXX",
    ),
}


def test_the_body_that_the_others_are_made_of_is_readable() -> None:
    """Unchanged, the message of this module is no poison."""
    event = decode(a_body())

    assert event.id == "e1"


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_json_is_poison(body: bytes) -> None:
    """Bytes that are no JSON text in UTF-8 are poison, saying why."""
    with pytest.raises(Poison, match=r"\w+ \w+"):
        decode(body)


@pytest.mark.parametrize("body", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT.keys())
def test_what_is_not_an_object_is_poison(body: bytes) -> None:
    """JSON that is no object is poison, saying what it is instead."""
    with pytest.raises(Poison, match="object"):
        decode(body)


@pytest.mark.parametrize(("body", "named"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_a_wrong_field_is_poison_and_named(body: bytes, named: str) -> None:
    """A field that is missing, of a wrong type or not storable is poison, and is named."""
    with pytest.raises(Poison) as refused:
        decode(body)

    assert named in str(refused.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_worse_than_poison(body: bytes) -> None:
    """Random bytes are called poison; they raise nothing else."""
    with pytest.raises(Poison):
        decode(body)


@given(
    st.sampled_from(
        ["id", "type", "occurredAt", "walletId", "walletVersion", "traceId", "payload"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_no_value_in_a_field_does_worse_than_poison(field: str, value: object) -> None:
    """Whatever stands in a field, the message is read or called poison."""
    with suppress(Poison):
        decode(a_body(**{field: value}))
