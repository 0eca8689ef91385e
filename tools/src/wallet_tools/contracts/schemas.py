"""
This module is where each event gets the JSON Schema that docs/events/ publishes.

The shape is the code's own (`wallet_common.events`); what a field means is told here, and the
examples are the messages that docs/events/samples keeps.
"""

from typing import Any, Final

import msgspec

from wallet_common.events import SCHEMA_VERSION, json_schemas
from wallet_tools.state import ROOT

SAMPLES: Final = ROOT / "docs" / "events" / "samples"

Schema = dict[str, Any]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

# Of the envelope, then of the payloads.
_FIELDS: Final = {
    "id": "The event's id, on the broker also the message_id. The same id may come again: apply"
    " each once.",
    "type": "What happened; on the broker also the routing key and the property `type`.",
    "schemaVersion": "The version of this contract. Another number is for a newer consumer.",
    "occurredAt": "When it happened: RFC 3339, UTC, by the database's clock.",
    "walletId": "The wallet that the event tells of.",
    "walletVersion": "Counts the wallet's events, 1, 2, 3 … without a gap; null for an event that"
    " is no step of the wallet.",
    "transferId": "The transfer that this is a step of.",
    "auditId": "The audit record of the request that caused it.",
    "traceId": "The trace of the request that caused it.",
    "payload": "What is particular to this type.",
    "amount": "Decimal, as text, with exactly the decimals of `currency`; always positive, the type"
    " tells the direction.",
    "currency": "ISO 4217, or an asset with its decimals in its code, such as `BTC.8`.",
    "newBalance": "The balance of `walletId` after this event: decimal, as text; absent if it did"
    " not change.",
    "ownerId": "Whose wallet it is, if anybody's.",
    "requestId": "The idempotency key under which it was asked for.",
    "operationId": "The operation that moved the money.",
    "reversedOperationId": "The operation that is taken back.",
    "fromWalletId": "The sender of the transfer.",
    "toWalletId": "The recipient of the transfer.",
    "scheduleId": "The schedule by which the fee was charged.",
    "exchange": "The terms on which the money changes its currency; absent if it keeps it.",
    "quoteId": "The quote whose terms these are.",
    "rate": "Units of `toCurrency` for one of `fromCurrency`: decimal, as text.",
    "fromAmount": "What the sender pays: decimal, as text, of `fromCurrency`.",
    "fromCurrency": "The currency of the sender's wallet.",
    "toAmount": "What the recipient gets: decimal, as text, of `toCurrency`.",
    "toCurrency": "The currency of the recipient's wallet.",
    "residue": "What rounding left over, exact minus rounded: decimal, as text, of `toCurrency`.",
    "reason": "Why it had to come back, or why the wallet stands so.",
    "status": "How the wallet stands from now on: `active`, `frozen` or `closed`.",
    "direction": "Which way no money may move: `in`, `out` or `both`.",
    "overdraft": "How much the wallet may owe: decimal, as text.",
    "maxBalance": "How much it may have: decimal, as text; absent is no limit.",
    "maxTransaction": "How much may move at once: decimal, as text; absent is no limit.",
    "velocity": "How much, and how often, may leave in a period.",
    "period": "`day`, `week` or `month`, from midnight to midnight of `timeZone`.",
    "count": "How often at most; absent is no limit.",
    "timeZone": "The IANA name of the time zone in which periods begin.",
    "holdId": "The hold.",
    "held": "What all holds of the wallet bind after this event: decimal, as text.",
    "remaining": "What the hold still binds after this event: decimal, as text.",
    "expiresAt": "When the hold's time is over: RFC 3339, UTC; absent if it has no end.",
    "ruleId": "The fraud rule that matched.",
    "ruleVersion": "Rises when the rule's meaning changes.",
    "threshold": "What was compared with: a count as a number, an amount as decimal text.",
    "observed": "What was seen: as the threshold.",
    "evidence": "The ids of the events that show it.",
    "flaggedAt": "When the verdict was reached: RFC 3339, UTC.",
    "windowSeconds": "The span of event time that was looked at, for rules that have one.",
}


def event_schemas() -> dict[str, Schema]:
    """Return the schema of each event type, by type."""
    return {name: _described(name, plain) for name, plain in json_schemas().items()}


def samples(name: str) -> list[Any]:
    """Return the kept messages of one type, the oldest first: `<type>.<number>.json`."""
    found = SAMPLES.glob(f"{name}.*.json")
    return [
        msgspec.json.decode(path.read_bytes())
        for path in sorted(found, key=lambda path: int(path.suffixes[-2].removeprefix(".")))
    ]


def published(name: str, title: str, schema: Schema) -> Schema:
    """Return a schema as it stands in a file of its own: with its name, dialect and examples."""
    head = {"$schema": _DIALECT, "$id": f"urn:wallet:message:{name}:{SCHEMA_VERSION}"}
    return head | schema | {"title": title, "examples": samples(name)}


def _described(name: str, plain: Schema) -> Schema:
    payloads = {title: _with_meanings(each) for title, each in plain["$defs"].items()}
    envelope = payloads.pop(name)
    envelope["properties"]["schemaVersion"] |= {"const": SCHEMA_VERSION}
    return published(name, name, envelope | {"$defs": payloads})


def _with_meanings(schema: Schema) -> Schema:
    properties = {
        field: {**shape, "description": _FIELDS[field]}
        for field, shape in schema["properties"].items()
    }
    return schema | {"properties": properties}
