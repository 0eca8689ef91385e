"""
This module is where messages of other services are read, in both dialects they speak.

Their documents and their code name things differently; what neither names is let through.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from wallet_common.errors import InvalidAmount, Poison
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.redaction import Part, Shape

# The reason of a failure that is told without one.
UNEXPLAINED: Final = "transaction_failed"
_REASON_MAX: Final = 500

# As the API takes an owner's id and a reference: they are stored as these.
_USER_ID: Final = re.compile(r"\A[\x21-\x7e]{1,128}\Z")
_TRANSACTION_ID: Final = re.compile(r"\A[^\x00-\x1f\x7f]{1,256}\Z")
# Numbers are read from their very text, so everything stays text at first.
_Fields = Mapping[str, msgspec.Raw]
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
# All that is read of any message, and so all that the audit keeps.
KEPT: Final[Shape] = dict.fromkeys(
    (
        *("transactionId", "type", "amount", "reason"),
        *("id", "userId", "fromUserId", "recipientId", "toUserId"),
    ),
    Part.VALUE,
)


class TransactionType(StrEnum):
    """What a transaction does with money."""

    TOPUP = "topup"
    TRANSFER = "transfer"


class SignUp(msgspec.Struct, frozen=True):
    """Somebody became a user."""

    user_id: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction is to take effect here; a transfer has its recipient."""

    transaction_id: str
    type: TransactionType
    user_id: str
    recipient_id: str | None
    amount_minor: int
    currency: str


class Failure(msgspec.Struct, frozen=True):
    """A transaction has to have no effect here, whether it had one already or never will."""

    transaction_id: str
    user_id: str | None = None
    reason: str = UNEXPLAINED


def read_sign_up(body: bytes) -> SignUp:
    """Read `user.signup`; raises Poison, as the other two do, for what will never be readable."""
    fields = _fields(body)
    # Beside a userId, an id is that of something else.
    return SignUp(_id(fields, _USER_ID, "userId") or _required_id(fields, _USER_ID, "id"))


def read_completion(body: bytes, currency: str) -> Completion:
    """Read `transaction.completed`, whose amount is in `currency`."""
    fields = _fields(body)
    kind = _type(fields)
    if kind is None:
        raise Poison("type is missing")
    recipient_id = None
    if kind is TransactionType.TRANSFER:
        user_id = _required_id(fields, _USER_ID, "userId", "fromUserId")
        recipient_id = _required_id(fields, _USER_ID, "recipientId", "toUserId")
    else:
        user_id = _required_id(fields, _USER_ID, "userId")
    return Completion(
        transaction_id=_required_id(fields, _TRANSACTION_ID, "transactionId"),
        type=kind,
        user_id=user_id,
        recipient_id=recipient_id,
        amount_minor=_amount_minor(fields, currency),
        currency=currency,
    )


def read_failure(body: bytes) -> Failure:
    """Read `transaction.failed`; what was to be done is known from the plan, if there is one."""
    fields = _fields(body)
    _type(fields)
    transaction_id = _required_id(fields, _TRANSACTION_ID, "transactionId")
    return Failure(transaction_id, _id(fields, _USER_ID, "userId", "fromUserId"), _reason(fields))


def _fields(body: bytes) -> _Fields:
    try:
        fields: _Fields = _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as unreadable:
        raise Poison(str(unreadable)) from unreadable
    return fields


def _value(fields: _Fields, name: str) -> object:
    """Return a field's value, None if it is absent; raises Poison if it is no JSON."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as unreadable:
        raise Poison(f"{name}: {unreadable}") from unreadable
    return value


def _id(fields: _Fields, form: re.Pattern[str], *names: str) -> str | None:
    """Return the one id that is given under any of `names`, None if there is none."""
    given = {name: value for name in names if (value := _value(fields, name)) is not None}
    for name, value in given.items():
        if not isinstance(value, str) or not form.match(value):
            raise Poison(f"{name} is no id that could be kept: {value!r:.200}")
    found = {str(value) for value in given.values()}
    if len(found) > 1:
        raise Poison(f"{' and '.join(given)} differ")
    return found.pop() if found else None


def _required_id(fields: _Fields, form: re.Pattern[str], *names: str) -> str:
    found = _id(fields, form, *names)
    if found is None:
        raise Poison(f"{' or '.join(names)} is missing")
    return found


def _type(fields: _Fields) -> TransactionType | None:
    given = _value(fields, "type")
    if given is None:
        return None
    try:
        return TransactionType(str(given).lower())
    except ValueError:
        raise Poison(f"unknown transaction type {given!r:.200}") from None


def _amount_minor(fields: _Fields, currency: str) -> int:
    raw = fields.get("amount")
    if raw is None:
        raise Poison("amount is missing")
    value = _value(fields, "amount")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Poison("amount is neither a number nor a string")
    try:
        text = value if isinstance(value, str) else bytes(raw).decode()
        amount_minor = parse_amount(text).to_minor(currency)
    except InvalidAmount as wrong:
        raise Poison(f"amount: {wrong}") from wrong
    if amount_minor > MAX_MINOR:
        raise Poison("amount: is more than a wallet can hold")
    return amount_minor


def _reason(fields: _Fields) -> str:
    """Return the reason so that it can be kept and shown; what is no text explains nothing."""
    given = _value(fields, "reason")
    if not isinstance(given, str):
        return UNEXPLAINED
    shown = "".join(each if each.isprintable() else " " for each in given[:_REASON_MAX])
    return shown.strip() or UNEXPLAINED
