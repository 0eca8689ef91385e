"""This module is where events are shown to be read as they were written, and to keep a contract."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common.errors import Poison
from wallet_common.events import Envelope, amount_minor, decode, encode, json_schemas
from wallet_common.facts import EventType
from wallet_common.payloads import (
    FeeTold,
    HoldStep,
    LimitsTold,
    Movement,
    Opening,
    Payload,
    Rate,
    Reversal,
    Standing,
    Step,
    Verdict,
)

SCHEMAS = Path(__file__).parents[3] / "docs" / "events"
NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)

MOVEMENT = Movement(
    amount="12.50", currency="USD", new_balance="20.00", request_id="r1", operation_id="o1"
)
STEP = Step(
    amount="1.250",
    currency="KWD",
    from_wallet_id="w1",
    to_wallet_id="w2",
    request_id="r1",
    operation_id="o1",
    new_balance="3.750",
    reason="wallet_frozen",
)
HOLD_STEP = HoldStep(
    amount="1.250",
    currency="KWD",
    new_balance="3.750",
    request_id="r1",
    operation_id="o1",
    hold_id="h1",
    held="0.750",
    remaining="0.250",
    expires_at=NOON,
    to_wallet_id="w2",
)
STANDING = Standing(currency="USD", status="frozen", direction="in", reason="asked")
REVERSAL = Reversal(
    amount="1.250",
    currency="KWD",
    new_balance="0.000",
    request_id="r2",
    operation_id="o2",
    reversed_operation_id="o1",
    reason="chargeback",
)
FEE = FeeTold(
    amount="0.50",
    currency="USD",
    new_balance="12.00",
    request_id="k1",
    operation_id="o1",
    schedule_id="s1",
)
PAYLOADS: dict[EventType, Payload] = {
    EventType.WALLET_CREATED: Opening("USD", "alice", "0.00"),
    EventType.FUNDS_DEPOSITED: MOVEMENT,
    EventType.FUNDS_WITHDRAWN: MOVEMENT,
    EventType.DEPOSIT_REVERSED: REVERSAL,
    EventType.WITHDRAWAL_REVERSED: REVERSAL,
    EventType.TRANSFER_INITIATED: STEP,
    EventType.TRANSFER_DEBITED: STEP,
    EventType.TRANSFER_CREDITED: STEP,
    EventType.TRANSFER_COMPLETED: STEP,
    EventType.TRANSFER_COMPENSATED: STEP,
    EventType.TRANSFER_FAILED: STEP,
    EventType.WALLET_FROZEN: STANDING,
    EventType.WALLET_UNFROZEN: STANDING,
    EventType.WALLET_CLOSED: STANDING,
    EventType.LIMITS_CHANGED: LimitsTold(
        currency="USD",
        overdraft="5.00",
        time_zone="Europe/Berlin",
        max_balance="10.00",
        max_transaction="1.00",
        velocity=(Rate(period="day", amount="2.00", count=3), Rate(period="month", count=9)),
    ),
    EventType.HOLD_PLACED: HOLD_STEP,
    EventType.HOLD_CAPTURED: HOLD_STEP,
    EventType.HOLD_RELEASED: HOLD_STEP,
    EventType.HOLD_EXPIRED: HOLD_STEP,
    EventType.FEE_CHARGED: FEE,
    EventType.FEE_REFUNDED: FEE,
    EventType.WALLET_FLAGGED: Verdict(
        rule_id="rapid_withdrawals",
        rule_version=1,
        threshold=3,
        observed=4,
        evidence=("e1", "e2", "e3", "e4"),
        currency="USD",
        flagged_at=NOON,
        window_seconds=60,
    ),
}


def an_envelope(event_type: EventType, payload: Payload | None = None) -> Envelope:
    return Envelope(
        id="019b8a6e-0000-7000-8000-000000000001",
        type=event_type,
        occurred_at=NOON,
        wallet_id="w1",
        wallet_version=None if event_type is EventType.WALLET_FLAGGED else 7,
        transfer_id="t1",
        audit_id="a1",
        trace_id="trace",
        payload=msgspec.Raw(encode(PAYLOADS[event_type] if payload is None else payload)),
    )


@pytest.mark.parametrize("event_type", EventType)
def test_each_event_is_read_as_it_was_written(event_type: EventType) -> None:
    """Every type goes over the wire and arrives as its own class, with all it said."""
    envelope = an_envelope(event_type)

    event = decode(encode(envelope))

    assert type(event).__name__ == event_type
    assert event.payload == PAYLOADS[event_type]
    assert (event.id, event.wallet_id, event.wallet_version, event.occurred_at) == (
        envelope.id,
        envelope.wallet_id,
        envelope.wallet_version,
        envelope.occurred_at,
    )
    assert (event.transfer_id, event.audit_id, event.trace_id) == ("t1", "a1", "trace")


def test_an_envelope_has_the_names_of_the_contract() -> None:
    """On the wire the envelope has ten camelCase fields, UTC times and money as text."""
    written = json.loads(encode(an_envelope(EventType.FUNDS_DEPOSITED)))

    assert written == {
        "id": "019b8a6e-0000-7000-8000-000000000001",
        "type": "FundsDeposited",
        "schemaVersion": 1,
        "occurredAt": "2026-01-01T12:00:00.123456Z",
        "walletId": "w1",
        "walletVersion": 7,
        "transferId": "t1",
        "auditId": "a1",
        "traceId": "trace",
        "payload": {
            "amount": "12.50",
            "currency": "USD",
            "newBalance": "20.00",
            "requestId": "r1",
            "operationId": "o1",
        },
    }


def test_a_step_says_only_what_it_knows() -> None:
    """A step that moved no money of this wallet has no balance, no operation and no reason."""
    step = Step(
        amount="1.00", currency="USD", from_wallet_id="w1", to_wallet_id="w2", request_id="r1"
    )

    written = encode(an_envelope(EventType.TRANSFER_INITIATED, step))

    assert json.loads(written)["payload"].keys() == {
        "amount",
        "currency",
        "fromWalletId",
        "toWalletId",
        "requestId",
    }
    assert decode(written).payload == step


def test_fields_of_tomorrow_are_let_through() -> None:
    """A consumer of today reads an event to which later fields were added."""
    written = json.loads(encode(an_envelope(EventType.FUNDS_DEPOSITED)))
    written["region"] = "eu"
    written["payload"]["channel"] = {"name": "card"}

    event = decode(json.dumps(written).encode())

    assert event.payload == MOVEMENT


@pytest.mark.parametrize(
    ("amount", "currency", "expected_minor"),
    [
        ("12.50", "USD", 1_250),
        ("12", "JPY", 12),
        ("1.250", "KWD", 1_250),
        ("9007199254740993.01", "USD", 900_719_925_474_099_301),
        ("9223372036854775807", "POINTS.0", 2**63 - 1),
    ],
)
def test_a_payloads_amount_is_exact(amount: str, currency: str, expected_minor: int) -> None:
    """A consumer gets the very minor units that were posted."""
    movement = Movement(
        amount=amount, currency=currency, new_balance=amount, request_id="r1", operation_id="o1"
    )

    assert amount_minor(movement) == expected_minor


@given(st.text(), st.text(), st.sampled_from(["0.01", "12.50", "9007199254740993.01"]))
def test_any_text_survives_the_wire(request_id: str, operation_id: str, amount: str) -> None:
    """Whatever the ids hold, an event is read as it was written."""
    movement = Movement(
        amount=amount,
        currency="USD",
        new_balance=amount,
        request_id=request_id,
        operation_id=operation_id,
    )

    event = decode(encode(an_envelope(EventType.FUNDS_WITHDRAWN, movement)))

    assert event.payload == movement


@pytest.mark.parametrize("event_type", EventType)
def test_each_event_keeps_its_published_schema(event_type: EventType) -> None:
    """What we send validates against the schema that we publish for its type."""
    schema = json.loads((SCHEMAS / f"{event_type}.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)

    validator.check_schema(schema)
    validator.validate(json.loads(encode(an_envelope(event_type))))


@pytest.mark.parametrize("event_type", EventType)
@pytest.mark.parametrize("field", ["id", "type", "walletId", "occurredAt", "payload"])
def test_a_schema_wants_what_a_consumer_needs(event_type: EventType, field: str) -> None:
    """An event that lacks what no consumer can do without does not validate."""
    schema = json.loads((SCHEMAS / f"{event_type}.json").read_text("utf-8"))
    written = json.loads(encode(an_envelope(event_type)))
    del written[field]

    assert not jsonschema.Draft202012Validator(schema).is_valid(written)


@pytest.mark.parametrize("event_type", EventType)
def test_a_schema_is_of_one_type(event_type: EventType) -> None:
    """An event of another type does not validate, even with the same payload."""
    schema = json.loads((SCHEMAS / f"{event_type}.json").read_text("utf-8"))
    written = json.loads(encode(an_envelope(event_type))) | {"type": "FundsLaundered"}

    assert not jsonschema.Draft202012Validator(schema).is_valid(written)


def test_each_type_has_the_schema_of_its_own_event() -> None:
    """Every type is published, and each schema is about the type that it stands under."""
    schemas = json_schemas()
    assert schemas.keys() == {each.value for each in EventType}
    for name, schema in schemas.items():
        assert {each.value for each in EventType if f'"{each.value}"' in json.dumps(schema)} == {
            name
        }


@pytest.mark.parametrize("day", [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)])
def test_the_first_and_the_last_day_are_days(day: datetime) -> None:
    """The calendar ends behind them, not with them."""
    event = msgspec.structs.replace(an_envelope(EventType.FUNDS_DEPOSITED), occurred_at=day)
    assert decode(encode(event)).occurred_at == day


def test_a_time_out_of_range_says_so() -> None:
    """The reason is the letter's error, and what letters are grouped by."""
    body = encode(an_envelope(EventType.FUNDS_DEPOSITED))
    late = body.replace(b"2026-01-01T12:00:00.123456Z", b"9999-12-31T12:00:00Z")
    with pytest.raises(Poison) as poison:
        decode(late)
    assert str(poison.value) == "occurredAt is out of range"
