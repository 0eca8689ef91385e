"""This module is where an answer is judged, strictly: one that no promise allows is a finding."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from wallet_tools.torture.history import Intent, Outcome, Role, Verb

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
_MONEY: Final = re.compile(r"\A(0|[1-9][0-9]*)\.[0-9]{2}\Z")
# What an answer to a success must tell.
_HOLD: Final = ("holdId", "walletId", "remaining", "balance", "held", "available", "operationId")
_FIELDS: Final = {
    Verb.DEPOSIT: ("walletId", "balance", "currency", "requestId", "operationId", "version"),
    Verb.WITHDRAW: ("walletId", "balance", "currency", "requestId", "operationId", "version"),
    Verb.TRANSFER: ("transferId", "fromWalletId", "toWalletId", "amount", "status", "fromBalance"),
    **dict.fromkeys((Verb.HOLD, Verb.CAPTURE, Verb.RELEASE), _HOLD),
    Verb.READ: ("walletId", "balance", "held", "available", "version"),
}
_POOR: Final = {"insufficient_funds": ("required", "available")}
_HELD: Final = {"hold_exceeded": ("required", "remaining")}
# What may be too little for a verb, and where the refusal says how little.
_LACKS: Final = {
    **dict.fromkeys((Verb.WITHDRAW, Verb.TRANSFER, Verb.HOLD), _POOR),
    **dict.fromkeys((Verb.CAPTURE, Verb.RELEASE), _HELD),
}

Judgement = tuple[Outcome, str]


def judge(intent: Intent, status: int, headers: Mapping[str, str], content: bytes) -> Judgement:
    """
    Return what an answer tells the client, and why.

    A 503 `busy` tells nothing: the request may take effect or not. It has to say when to come back.
    """
    document = _decoded(content)
    if document is None:
        return Outcome.FINDING, "the body is no JSON object"
    if headers.get("x-trace-id") != intent.id:
        return Outcome.FINDING, "another request's trace id"
    if status < 400:
        return _success(intent, status, headers, document)
    if headers.get("content-type") != PROBLEM:
        return Outcome.FINDING, "an error that is no problem document"
    code = document.get("code")
    if document.get("status") != status or not isinstance(code, str):
        return Outcome.FINDING, "a problem document that contradicts its status"
    if status == 503:
        is_busy = code == "busy" and "retry-after" in headers
        return (Outcome.UNKNOWN, code) if is_busy else (Outcome.FINDING, f"503 {code}")
    return _refusal(intent, status, code, document)


def _success(
    intent: Intent, status: int, headers: Mapping[str, str], document: dict[str, Any]
) -> Judgement:
    if intent.role in {Role.CONFLICT, Role.INVALID}:
        return Outcome.FINDING, f"{intent.expects[1]} was accepted"
    if status != (200 if intent.verb is Verb.READ else 201):
        return Outcome.FINDING, f"status {status}"
    if headers.get("content-type") != JSON:
        return Outcome.FINDING, "a success that is no JSON"
    missing = [name for name in _FIELDS[intent.verb] if name not in document]
    if missing:
        return Outcome.FINDING, f"without {', '.join(missing)}"
    return Outcome.OK, ""


def _refusal(intent: Intent, status: int, code: str, document: Mapping[str, Any]) -> Judgement:
    if intent.role in {Role.CONFLICT, Role.INVALID}:
        is_expected = (status, code) == intent.expects
        return (Outcome.FAIL, code) if is_expected else (Outcome.FINDING, f"{status} {code}")
    if status == 422 and code in _LACKS.get(intent.verb, {}):
        names = _LACKS[intent.verb][code]
        required, there = (str(document.get(name)) for name in names)
        if not (_MONEY.match(required) and _MONEY.match(there)):
            return Outcome.FINDING, f"{code}: {required} of {there}"
        if Decimal(required) <= Decimal(there):
            return Outcome.FINDING, f"{code}, though {there} cover {required}"
        return Outcome.FAIL, code
    if (status, code) == (422, "hold_closed") and intent.verb in {Verb.CAPTURE, Verb.RELEASE}:
        return Outcome.FAIL, code
    return Outcome.FINDING, f"{status} {code}"


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
