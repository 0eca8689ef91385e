"""
This module is where the messages that we exchange with other services are described.

What they send comes in two dialects, that of their documents and that of their code: either is
taken, and fields that are not named here are passed over.
"""

from typing import Any, Final

from wallet_common.topology import ANSWER_KEY
from wallet_tools.contracts.schemas import Schema, published

_USER_ID: Final = {"type": "string", "pattern": r"^[!-~]{1,128}$(?!\n)"}
_TRANSACTION_ID: Final = {
    "type": "string",
    "pattern": r"^[^\x00-\x1f\x7f]{1,256}$(?!\n)",
    "description": "What has effect here once, however often it is told.",
}
_AMOUNT: Final = {
    "description": "Positive, in our default currency; read exactly, a number too.",
    "anyOf": [
        {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,17})(\.[0-9]+)?$(?!\n)"},
        {"type": "number", "exclusiveMinimum": 0},
    ],
}
_MOMENT: Final = {"type": "string", "format": "date-time"}


def answer_schema() -> Schema:
    """Return the schema of what we answer on the transactions' exchange."""
    properties = {
        "transactionId": {**_TRANSACTION_ID, "description": "The transaction's own id."},
        "userId": {
            "type": ["string", "null"],
            "description": "Whose transaction it is; null if nobody told.",
        },
        "status": {
            "enum": ["completed", "failed"],
            "description": "Whether it has effect here, or none (any more).",
        },
        "success": {"type": "boolean", "description": "Whether `status` is `completed`."},
        "reason": {"type": ["string", "null"], "description": "Why it failed."},
        "finalizedAt": {**_MOMENT, "description": "When that was settled: RFC 3339, UTC."},
    }
    schema = {
        "description": "How a transaction of another service ended here.",
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
    }
    return published(ANSWER_KEY, "TransactionFinalized", schema)


def inbound_schemas() -> dict[str, Schema]:
    """Return the schemas of what other services send, by the title of the message."""
    return {each["title"]: each for each in (_sign_up(), _completion(), _failure())}


def _sign_up() -> Schema:
    words = {"name": {"type": "string"}, "email": {"type": "string"}, "createdAt": _MOMENT}
    return {
        "title": "UserSignedUp",
        "description": "Somebody became a user and gets a wallet, once.",
        "type": "object",
        "properties": {"userId": _USER_ID, "id": _USER_ID, **words},
        **_any("userId", "id"),
        "examples": [
            {
                "userId": "u-1842",
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "createdAt": "2026-11-21T12:00:00Z",
            },
            {"id": "u-1842"},
        ],
    }


def _completion() -> Schema:
    words = {"description": {"type": "string"}, "completedAt": _MOMENT}
    topup = {"properties": {"type": _word("topup")}, "required": ["userId"]}
    transfer = {
        "properties": {"type": _word("transfer")},
        "allOf": [_any("userId", "fromUserId"), _any("recipientId", "toUserId")],
    }
    return {
        "title": "TransactionCompleted",
        "description": "Takes effect here, once: a top-up from outside, or a transfer.",
        "type": "object",
        "properties": _transaction() | words,
        "required": ["amount", "transactionId", "type"],
        "anyOf": [topup, transfer],
        "examples": [
            {
                "transactionId": "t-77",
                "type": "topup",
                "userId": "u-1842",
                "amount": 25.5,
                "description": "card",
                "completedAt": "2026-11-21T12:00:00Z",
            },
            {
                "transactionId": "t-78",
                "type": "transfer",
                "userId": "u-1842",
                "recipientId": "u-7",
                "amount": "10.00",
                "completedAt": "2026-11-21T12:01:00Z",
            },
            {
                "transactionId": "t-79",
                "type": "Transfer",
                "fromUserId": "u-1842",
                "toUserId": "u-7",
                "amount": 10,
            },
        ],
    }


def _failure() -> Schema:
    return {
        "title": "TransactionFailed",
        "description": "Is to have no effect here: what it did is taken back, once.",
        "type": "object",
        "properties": _transaction() | {"reason": {"type": "string"}, "failedAt": _MOMENT},
        "required": ["transactionId"],
        "examples": [
            {
                "transactionId": "t-77",
                "type": "topup",
                "userId": "u-1842",
                "amount": 25.5,
                "reason": "charged back",
                "failedAt": "2026-11-21T12:05:00Z",
            },
            {"transactionId": "t-79", "type": "Transfer", "reason": "timed out"},
        ],
    }


def _transaction() -> Schema:
    users = ("userId", "recipientId", "fromUserId", "toUserId")
    kind = {**_word("topup", "transfer"), "description": "Compared without case."}
    told = {"transactionId": _TRANSACTION_ID, "type": kind, "amount": _AMOUNT}
    return told | dict.fromkeys(users, _USER_ID)


def _any(*names: str) -> dict[str, Any]:
    return {"anyOf": [{"required": [name]} for name in names]}


def _word(*words: str) -> Schema:
    """Return a string that is one of the words, in capitals or not."""
    spelled = ("".join(f"[{each.upper()}{each}]" for each in word) for word in words)
    return {"type": "string", "pattern": f"^({'|'.join(spelled)})$(?!\\n)"}
