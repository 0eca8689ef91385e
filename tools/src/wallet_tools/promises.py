"""This module is where one answer of the API is held against what was asked: what is wrong?"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

Json = Mapping[str, Any]

_MONEY: Final = re.compile(r"\A(0|[1-9][0-9]*)\.[0-9]{2}\Z")
_SIGNED: Final = re.compile(r"\A-?(0|[1-9][0-9]*)\.[0-9]{2}\Z")
_DECLINES: Final = frozenset({"insufficient_funds", "same_wallet", "recipient_not_found"})
_PROBLEM: Final = ("type", "title", "status", "detail", "instance", "code", "traceId", "retryable")


def of_write(verb: str, asked: Json, status: int, content: bytes) -> str | None:
    """Return what is wrong with the answer to a command about money; None if nothing is."""
    answer = _object(content)
    if answer is None:
        return "no JSON object"
    if status in {404, 422}:
        return _of_decline(answer, status)
    if status != 201:
        return f"status {status}"
    if answer.get("requestId") != asked["requestId"]:
        return "another request's answer"
    if verb == "transfer":
        told = ("amount", "toWalletId", "status")
        expected = (asked["amount"], asked["toWalletId"], "completed")
        if tuple(answer.get(name) for name in told) != expected:
            return "another transfer's answer"
        return _of_money(answer, "fromBalance", "toBalance")
    return _of_money(answer, "balance")


def of_repetition(first: tuple[int, bytes], again: tuple[int, bytes], marked: str) -> str | None:
    """Return what is wrong with the answer to the same request again."""
    if again != first:
        return f"the repetition differs: {again[0]} {again[1][:200]!r}"
    return None if marked == "true" else "the repetition is not marked"


def of_conflict(status: int, content: bytes) -> str | None:
    """Return what is wrong with the answer to a key that is used for another amount."""
    answer = _object(content) or {}
    if status != 422 or answer.get("code") != "idempotency_key_reused":
        return f"a reused key is answered {status} {answer.get('code')}"
    fields = [each.get("field") for each in answer.get("errors", ())]
    return None if fields == ["amount"] else f"the differing fields are {fields}"


def of_nonsense(status: int, content: bytes) -> str | None:
    """Return what is wrong with the answer to an amount that is none."""
    answer = _object(content) or {}
    if status != 400 or answer.get("code") not in {"invalid_request", "invalid_amount"}:
        return f"nonsense is answered {status} {answer.get('code')}"
    return _of_problem(answer, status)


def of_read(page: str, status: int, content: bytes) -> str | None:
    """Return what is wrong with a wallet, or with the newest page of its ledger or history."""
    answer = _object(content)
    if answer is None:
        return "no JSON object"
    if status == 404:
        return _of_problem(answer, status)
    if status != 200:
        return f"status {status}"
    match page:
        case "":
            return _of_money(answer, "balance", "held", "available")
        case "/ledger":
            return _of_ledger(answer["items"])
        case "/history":
            return _of_order([each["walletVersion"] for each in answer["items"]], gap_free=True)
        case _:
            return _of_money(answer, *(name for name in answer if name.startswith("total")))


def _of_decline(answer: Json, status: int) -> str | None:
    code = answer.get("code")
    if (code == "wallet_not_found") != (status == 404):
        return f"{status} with the code {code}"
    if status == 422 and code not in _DECLINES:
        return f"a decline nobody asked for: {code}"
    if code == "insufficient_funds":
        if wrong := _of_money(answer, "required", "available"):
            return wrong
        if _minor(answer["required"]) <= _minor(answer["available"]):
            return f"declined although {answer['available']} cover {answer['required']}"
    return _of_problem(answer, status)


def _of_problem(answer: Json, status: int) -> str | None:
    missing = [name for name in _PROBLEM if name not in answer]
    if missing:
        return f"a problem without {', '.join(missing)}"
    if answer["status"] != status or answer["retryable"] is not False:
        return f"a problem of {answer['status']} answered with {status}"
    return None


def _of_money(answer: Json, *names: str) -> str | None:
    for name in names:
        value = answer.get(name)
        if not isinstance(value, str) or not _MONEY.match(value):
            return f"{name} is {value!r}"
    return None


def _of_ledger(entries: Sequence[Json]) -> str | None:
    """Newest first, no balance below zero, and each follows from the one before it."""
    for each in entries:
        if wrong := _of_money(each, "balanceAfter"):
            return wrong
        if not _SIGNED.match(each["amount"]):
            return f"amount is {each['amount']!r}"
    for after, before in pairwise(entries):
        if _minor(before["balanceAfter"]) + _minor(after["amount"]) != _minor(
            after["balanceAfter"]
        ):
            return f"version {after['walletVersion']} does not follow from the entry before it"
    return _of_order([each["walletVersion"] for each in entries], gap_free=False)


def _of_order(versions: Sequence[int], *, gap_free: bool) -> str | None:
    """An entry's version may leave room for the steps that move no money; an event's may not."""
    for newer, older in pairwise(versions):
        if newer <= older or (gap_free and newer != older + 1):
            return f"version {older} comes after {newer}"
    return None


def _minor(money: str) -> int:
    return int(money.replace(".", ""))


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
