"""This module is where one request is kept from arrival to answer, and told to the audit."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.ids import new_id

AUDITED_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_TRACE_ID: Final = re.compile(rb"\A[A-Za-z0-9._-]{1,64}\Z")
# `verb` is empty for the wallet itself and None for what is neither it nor one step below it.
_WALLET_PATH: Final = re.compile(
    r"\A/(?:v1/wallets|wallet)/(?P<wallet_id>[A-Za-z0-9][A-Za-z0-9_.:-]{0,127})"
    r"(?:(?P<verb>(?:/[a-z]+)?)\Z|/)"
)
# Headers that tell something and can hold no secret; of all others only the name is kept.
_HEADERS_KEPT: Final = frozenset(
    {
        *(b"accept", b"content-encoding", b"content-length", b"content-type", b"host"),
        *(b"idempotency-key", b"traceparent", b"user-agent", b"x-request-id", b"x-trace-id"),
    }
)
_HEADER_VALUE_MAX: Final = 256


class Exchange:
    """One request and what is learned of it on the way; handlers find it in the scope's state."""

    __slots__ = (
        *("body", "client_ip", "headers", "id", "is_audited", "is_replay", "method"),
        *("path", "principal", "query", "received_at", "request_id", "started_s", "status"),
        *("trace_id", "verb", "wallet_id"),
    )

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.started_s = perf_counter()
        self.received_at = datetime.now(UTC)
        self.id = new_id()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.client_ip: str | None = scope["client"][0] if scope.get("client") else None
        given = self.header(b"x-trace-id") or b""
        self.trace_id = given.decode() if _TRACE_ID.match(given) else new_id()
        self.body = b""
        self.principal: str | None = None
        named = _WALLET_PATH.match(self.path)
        self.wallet_id: str | None = named["wallet_id"] if named else None
        self.verb: str | None = named["verb"] if named else None
        self.request_id: str | None = None
        # A ledger transaction has written the row, or the transfer's end will.
        self.is_audited = self.method not in AUDITED_METHODS
        # The answer repeats an earlier request's.
        self.is_replay = False
        self.status = 0

    def header(self, wanted: bytes) -> bytes | None:
        """Return the first value of a header, by its name in small letters."""
        for name, value in self.headers:
            if name == wanted:
                return value
        return None

    def audit_record(self) -> AuditRecord:
        """Return what `api_audit` keeps of this request."""
        url = f"{self.path}?{self.query.decode('latin-1')}" if self.query else self.path
        return AuditRecord(
            id=self.id,
            method=self.method,
            url=_storable(url),
            body=self.body,
            headers={
                _storable(name.decode("latin-1")): _kept(name, value)
                for name, value in self.headers
            },
            client_ip=self.client_ip,
            principal=self.principal,
            wallet_id=self.wallet_id,
            request_id=self.request_id,
            trace_id=self.trace_id,
            received_at=self.received_at,
        )


def _kept(name: bytes, value: bytes) -> str:
    if name.lower() not in _HEADERS_KEPT:
        return "[redacted]"
    return _storable(value[:_HEADER_VALUE_MAX].decode("latin-1"))


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL cannot keep or a reader cannot see."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
