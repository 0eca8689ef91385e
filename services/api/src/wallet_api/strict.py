"""
This module is where a request's bytes become values, exactly or not at all.

The framework's own conversion is lax (it takes 1.0 for "1" and sends numbers through a double),
so bodies are decoded here, once, from the raw bytes.
"""

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from litestar import Request

from wallet_api.problems import NO_CURRENCY, Problem, invalid
from wallet_common.errors import InvalidAmount
from wallet_common.money import Amount, parse_amount

METADATA_BYTES_MAX: Final = 4_096
_METADATA_KEYS_MAX: Final = 64
_METADATA_DEPTH_MAX: Final = 32
_KEY: Final = re.compile(r"\A[\x21-\x7e]{1,128}\Z")
# An escaped NUL; after an escaped backslash it is plain text.
_ZERO: Final = re.compile(rb'\A(?P<quote>"?)0(\.0{1,18})?(?P=quote)\Z')
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_RFC_3339: Final = re.compile(
    r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:[0-5]\d)\Z", re.ASCII
)
_MSGSPEC_PLACE: Final = re.compile(r"\A(?P<message>.*) - at `\$\.?(?P<place>.*)`\Z", re.DOTALL)
# What a pattern means, by the field that has it; a regular expression is no help to a caller.
_WALLET_FORM: Final = "must be 1 to 128 letters, digits or _.:- beginning with a letter or digit"
_TIME_FORM: Final = "must be an RFC 3339 time such as 2026-01-31T12:00:00Z"
_FORMS: Final = {
    "commands": "must have 1 to 1000 items",
    "requestId": "must be 1 to 128 printable ASCII characters without spaces",
    "ownerId": "must be 1 to 128 printable ASCII characters without spaces",
    "currency": NO_CURRENCY,
    "reference": "must be 1 to 256 characters without control characters",
    "reason": "must be 1 to 1000 characters without control characters",
    "metadata": "must be a declared key, a colon and a value",
    "principal": "must be 1 to 256 characters without control characters",
    "method": "must be 1 to 16 capital letters",
    "traceId": "must be 1 to 64 letters, digits or ._-",
    "letterId": "must be an id as the list names it",
    "group": "must be a group as the list names it",
    "percent": "must be a decimal from 0 to 100 with up to 18 decimals",
    "velocity": "must have one item for each period: up to 3",
    "timeZone": "must be an IANA name such as Europe/Berlin",
    "cursor": "must be the nextCursor of a page",
    "fromCurrency": NO_CURRENCY,
    "toCurrency": NO_CURRENCY,
    **dict.fromkeys(("id", "walletId", "toWalletId"), _WALLET_FORM),
    **dict.fromkeys(("at", "before", "from", "to", "expiresAt"), _TIME_FORM),
}
# Of fields that have no words of their own.
_OTHER_FORM: Final = "has not the form that /docs tells of"
# Parameters of ours whose faults the framework tells by the handler's own name.
_WIRE_NAMES: Final = {
    "wallet_id": "walletId",
    "owner_id": "ownerId",
    "request_id": "requestId",
    "trace_id": "traceId",
    "letter_id": "letterId",
    "from_currency": "fromCurrency",
    "to_currency": "toCurrency",
    "dry_run": "dryRun",
}
_Body = TypeVar("_Body", bound=msgspec.Struct)
_MSGSPEC_FIELD: Final = re.compile(r"field `(?P<field>[^`]*)`")


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON body is decoded strictly into the handler's declared type."""

    async def json(self) -> Any:  # noqa: ANN401  # the framework's signature
        self.require_type("application/json")
        declared = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        return decode(await self.body(), declared)

    async def json_if_any(self, declared: type[_Body]) -> _Body | None:
        """Return the body, or None without one; whatever is said of it has to be true of JSON."""
        body = await self.body()
        if not body and self.headers.keys().isdisjoint({"content-type", "content-encoding"}):
            return None
        self.require_type("application/json")
        return decode(body, declared) if body else None

    def require_type(self, wanted: str) -> None:
        """Raise a 415 unless the body is `wanted`, in UTF-8 and as it is."""
        media_type, options = self.content_type
        charset = options.get("charset", "utf-8").lower()
        if media_type != wanted or charset not in {"utf-8", "utf8"}:
            raise Problem(415, "unsupported_media_type", f"Send {wanted} in UTF-8.")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(
                415, "unsupported_media_type", "Send the body without a content encoding."
            )


def decode(body: bytes, declared: type[_Body]) -> _Body:
    """Decode `body` into the struct `declared`; raises a 400 that names the field."""
    try:
        decoded: _Body = _decoder(declared).decode(body)
    except msgspec.ValidationError as wrong:
        # What is no JSON at all is told as that, also if the decoder stumbled over a field first.
        scan(body)
        raise _invalid(str(wrong)) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise _malformed(str(wrong)) from wrong
    if not _is_whole(body, decoded):
        scan(body)
    return decoded


def _is_whole(body: bytes, decoded: msgspec.Struct) -> bool:
    """Say whether nothing of the body was passed over: of a key that comes twice one value is."""
    # Without an escape every quotation mark begins or ends a key or a text.
    return (
        body.isascii()
        and b"\\" not in body
        and body.count(b'"') == msgspec.json.encode(decoded).count(b'"')
    )


def scan(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """
    Read `body` as JSON and return it with its numbers as text marked by a NUL.

    Raises a 400 for what a lax reader lets pass: a repeated key, NaN, text that the database
    cannot store, nesting without end.
    """
    if _NUL.search(body):
        raise _malformed("text must not contain NUL")
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as wrong:
        raise _malformed(str(wrong)) from wrong


def amount(raw: msgspec.Raw, field: str = "amount") -> Amount:
    """Read the raw JSON value of an amount, a string or a number, from its very text."""
    text = bytes(raw).decode()
    if text.startswith('"'):
        text = msgspec.json.decode(text, type=str)
    elif text[:1] not in "-0123456789":
        raise invalid(field, 'must be a decimal such as "12.50"')
    try:
        return parse_amount(text)
    except InvalidAmount as wrong:
        problem = invalid(field, str(wrong))
        problem.code = "invalid_amount"
        raise problem from wrong


def optional_amount(
    field: str, raw: msgspec.Raw | msgspec.UnsetType, *, may_be_zero: bool = False
) -> Amount | None:
    """Read an amount that may be left out, or null; zero, where it may be, is none as well."""
    if isinstance(raw, msgspec.UnsetType) or bytes(raw) == b"null":
        return None
    if may_be_zero and _ZERO.match(bytes(raw)):
        return None
    return amount(raw, field)


def metadata(raw: msgspec.Raw | msgspec.UnsetType) -> tuple[str | None, str | None]:
    """Return the metadata as it came and in canonical form; (None, None) for none."""
    if raw is msgspec.UNSET:
        return None, None
    text = bytes(raw).decode()
    if text == "null":
        return None, None
    value = scan(bytes(raw))
    if not isinstance(value, dict):
        raise invalid("metadata", "must be a JSON object")
    if len(text) > METADATA_BYTES_MAX or len(value) > _METADATA_KEYS_MAX:
        limit = f"{METADATA_BYTES_MAX} bytes and {_METADATA_KEYS_MAX} keys"
        raise invalid("metadata", f"must not be larger than {limit}")
    if not _is_flatter_than(_METADATA_DEPTH_MAX, value):
        raise invalid("metadata", f"must not be nested deeper than {_METADATA_DEPTH_MAX}")
    return text, json.dumps(value, sort_keys=True)


def idempotency_key(headers: list[tuple[bytes, bytes]], in_body: str | None) -> str | None:
    """Return the key that body or header name; raises a 400 if they disagree."""
    in_header = [value.decode("latin-1") for name, value in headers if name == b"idempotency-key"]
    if not all(is_key(value) for value in in_header):
        raise invalid("Idempotency-Key", "must be 1 to 128 printable ASCII characters, no spaces")
    keys = {*in_header, *([] if in_body is None else [in_body])}
    if len(keys) > 1:
        raise invalid("Idempotency-Key", "differs from the other key given")
    return keys.pop() if keys else None


def is_key(text: str) -> bool:
    """Say whether `text` can name an intent."""
    return _KEY.match(text) is not None


def instant(name: str, text: str) -> datetime:
    """Read an RFC 3339 time with its offset, in UTC."""
    # A plus that was not percent-encoded arrives as a space.
    text = text.replace(" ", "+")
    try:
        if _RFC_3339.match(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise invalid(name, _TIME_FORM)


def in_utc(at: datetime) -> datetime:
    """Return the instant in UTC; of the first there is, nothing can be subtracted."""
    return at.astimezone(UTC) if at.utcoffset() else at.replace(tzinfo=UTC)


@cache
def _decoder(declared: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401
    return msgspec.json.Decoder(declared, strict=True)


def _is_flatter_than(levels: int, value: Any) -> bool:  # noqa: ANN401  # any JSON value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flatter_than(levels - 1, each) for each in inner)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "an object has the same key twice"
        raise ValueError(message)
    return found


def _number(text: str) -> str:
    return f"\0{text}"


def _no_number(text: str) -> NoReturn:
    message = f"{text} is not JSON"
    raise ValueError(message)


def _malformed(reason: str) -> Problem:
    return Problem(400, "malformed_json", f"The body is not acceptable JSON: {reason[:200]}.")


def _invalid(reason: str) -> Problem:
    placed = _MSGSPEC_PLACE.match(reason)
    message = placed["message"] if placed else reason
    named = _MSGSPEC_FIELD.search(message)
    place = placed["place"] if placed else ""
    field = ".".join(part for part in (place, named["field"] if named else "") if part)
    return invalid_form(field[:100] or "body", message)


def invalid_form(field: str, message: str) -> Problem:
    """Return the problem of a field that the decoder refused, told in words."""
    wire_name = _WIRE_NAMES.get(field, field)
    if "matching regex" in message or "of length" in message:
        message = _FORMS.get(wire_name.rpartition(".")[2], _OTHER_FORM)
    return invalid(wire_name, message[:200])
