"""This module is where answers are judged: what no promise allows is a finding, never a shrug."""

from typing import Any

import msgspec
import pytest

from wallet_tools.torture.answers import judge
from wallet_tools.torture.history import Intent, Outcome, Role, Verb

DEPOSITED = {
    "walletId": "w",
    "balance": "1.00",
    "currency": "USD",
    "requestId": "k",
    "created": False,
    "operationId": "o",
    "version": 2,
}


def _intent(verb: Verb = Verb.DEPOSIT, role: Role = Role.FIRST, **more: Any) -> Intent:  # noqa: ANN401  # any field
    return Intent(id="t-1", client=0, verb=verb, role=role, wallet="w", path="/", **more)


def _judged(intent: Intent, status: int, body: object, **headers: str) -> Outcome:
    kind = "application/json" if status < 400 else "application/problem+json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"content-type": kind, "x-trace-id": "t-1"} | named
    return judge(intent, status, lines, msgspec.json.encode(body))[0]


def _problem(status: int, code: str) -> dict[str, object]:
    return {"status": status, "code": code}


def test_a_success_tells_what_it_must() -> None:
    """A 201 with every field is ok; without its version, or with another status, a finding."""
    assert _judged(_intent(), 201, DEPOSITED) is Outcome.OK
    assert _judged(_intent(), 200, DEPOSITED) is Outcome.FINDING
    without = {name: value for name, value in DEPOSITED.items() if name != "version"}
    assert _judged(_intent(), 201, without) is Outcome.FINDING


def test_only_busy_with_a_time_to_come_back_tells_nothing() -> None:
    """A 503 is unknown if it is `busy` and says when; another 503, or a 500, is a finding."""
    assert _judged(_intent(), 503, _problem(503, "busy"), retry_after="1") is Outcome.UNKNOWN
    assert _judged(_intent(), 503, _problem(503, "busy")) is Outcome.FINDING
    assert _judged(_intent(), 503, _problem(503, "other"), retry_after="1") is Outcome.FINDING
    assert _judged(_intent(), 500, _problem(500, "internal_error")) is Outcome.FINDING


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 429])
def test_a_valid_request_is_refused_for_lack_of_money_only(status: int) -> None:
    """Of the refusals a valid request knows one; whatever else says no is a finding."""
    assert _judged(_intent(), status, _problem(status, "whatever")) is Outcome.FINDING
    poor = _problem(422, "insufficient_funds") | {"required": "9.00", "available": "8.99"}
    assert _judged(_intent(Verb.WITHDRAW), 422, poor) is Outcome.FAIL
    assert _judged(_intent(Verb.TRANSFER), 422, poor) is Outcome.FAIL
    assert _judged(_intent(Verb.DEPOSIT), 422, poor) is Outcome.FINDING


def test_a_hold_is_refused_for_its_own_reasons() -> None:
    """Placing for lack of money, a part for too little that remains or because it has ended."""
    poor = _problem(422, "insufficient_funds") | {"required": "9.00", "available": "8.99"}
    exceeded = _problem(422, "hold_exceeded") | {"required": "9.00", "remaining": "8.99"}
    closed = _problem(422, "hold_closed")
    told = {
        verb: [_judged(_intent(verb), 422, each) for each in (poor, exceeded, closed)]
        for verb in (Verb.HOLD, Verb.CAPTURE, Verb.RELEASE)
    }

    part = [Outcome.FINDING, Outcome.FAIL, Outcome.FAIL]
    assert told == {
        Verb.HOLD: [Outcome.FAIL, Outcome.FINDING, Outcome.FINDING],
        Verb.CAPTURE: part,
        Verb.RELEASE: part,
    }
    covered = exceeded | {"remaining": "9.00"}
    assert _judged(_intent(Verb.CAPTURE), 422, covered) is Outcome.FINDING


@pytest.mark.parametrize(
    "told",
    [
        {"required": "9.00", "available": "9.00"},
        {"required": "9.00", "available": "10.00"},
        {"required": "9.00", "available": "-1.00"},
        {"required": "9.00"},
        {},
    ],
)
def test_a_lack_of_money_has_to_be_one(told: dict[str, str]) -> None:
    """Who has enough is not refused, and both amounts are told."""
    poor = _problem(422, "insufficient_funds") | told
    assert _judged(_intent(Verb.WITHDRAW), 422, poor) is Outcome.FINDING


def test_what_must_be_refused_is_not_accepted() -> None:
    """A conflict or an invalid request that gets a 201, or another refusal, is a finding."""
    conflict = _intent(role=Role.CONFLICT, expects=(422, "idempotency_key_reused"))
    assert _judged(conflict, 422, _problem(422, "idempotency_key_reused")) is Outcome.FAIL
    assert _judged(conflict, 422, _problem(422, "insufficient_funds")) is Outcome.FINDING
    assert _judged(conflict, 201, DEPOSITED) is Outcome.FINDING


def test_an_answer_to_somebody_else_is_a_finding() -> None:
    """Another request's trace id, a body that is no JSON, a problem that contradicts its status."""
    assert _judged(_intent(), 201, DEPOSITED, x_trace_id="t-2") is Outcome.FINDING
    assert judge(_intent(), 502, {"x-trace-id": "t-1"}, b"<html>")[0] is Outcome.FINDING
    poor = _problem(400, "insufficient_funds")
    assert _judged(_intent(Verb.WITHDRAW), 422, poor) is Outcome.FINDING
