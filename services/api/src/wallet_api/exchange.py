"""This module is where one request is kept from arrival to answer, and told to the audit."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

from wallet_api.access import NOBODY, Role
from wallet_api.addresses import Network, client_address
from wallet_api.redaction import kept_address, kept_body
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
# Of these only what has the form: whatever else was put there may be anything.
_HEADERS_OF_TRACES: Final = frozenset({b"traceparent", b"x-request-id", b"x-trace-id"})
_HEADER_VALUE_MAX: Final = 256

Headers = list[tuple[bytes, bytes]]


class Exchange:
    """One request and what is learned of it on the way; handlers find it in the scope's state."""

    __slots__ = (
        *("body", "client_ip", "expires_at", "headers", "id", "is_admitted", "is_audited"),
        *("is_rehearsal", "is_replay", "method"),
        *("owner_id", "path", "principal", "query", "received_at", "request_id", "roles"),
        *("route", "started_s", "status", "taken_s", "trace_id", "verb", "wallet_id"),
    )

    def __init__(self, scope: Mapping[str, Any], trusted: Sequence[Network] = ()) -> None:
        self.started_s = perf_counter()
        self.received_at = datetime.now(UTC)
        self.id = new_id()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.headers: Headers = scope["headers"]
        peer: str | None = scope["client"][0] if scope.get("client") else None
        self.client_ip = client_address(peer, self.headers, trusted)
        self.trace_id = trace_id_of(self.headers)
        self.body = b""
        # Who asks, noted at the door; where nobody is asked there is no principal.
        self.principal: str | None = None
        self.is_admitted = False
        self.roles: frozenset[Role] = NOBODY
        # The owner whose wallets alone are there for this request; None: every wallet is.
        self.owner_id: str | None = ""
        # When the token ends, in seconds since 1970.
        self.expires_at: float | None = None
        named = _WALLET_PATH.match(self.path)
        self.wallet_id: str | None = named["wallet_id"] if named else None
        self.verb: str | None = named["verb"] if named else None
        self.request_id: str | None = None
        # A ledger transaction has written the row, or the transfer's end will.
        self.is_audited = self.method not in AUDITED_METHODS
        # The answer repeats an earlier request's.
        self.is_replay = False
        # It is asked what would happen, and nothing does.
        self.is_rehearsal = False
        self.status = 0
        # Until the answer began: what follows may be a stream without an end.
        self.taken_s = 0.0
        # The address without its names, so that there are only so many of them.
        self.route = ""

    def header(self, wanted: bytes) -> bytes | None:
        """Return the first value of a header, by its name in small letters."""
        return _first(self.headers, wanted)

    def audit_record(self, private: Collection[str], *, is_understood: bool = False) -> AuditRecord:
        """
        Return what `api_audit` keeps of this request; of `private` keys of metadata no values.

        Understood is a request whose address and body were read to the end and are as they should
        be.
        """
        return AuditRecord(
            id=self.id,
            method=self.method,
            url=_storable(kept_address(self.path, self.query, is_understood=is_understood)),
            body=kept_body(self.body, private, is_understood=is_understood),
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


def trace_id_of(headers: Headers) -> str:
    """Return the trace id that a request names, or a new one."""
    given = _first(headers, b"x-trace-id") or b""
    return given.decode() if _TRACE_ID.match(given) else new_id()


def _first(headers: Headers, wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None


def _kept(name: bytes, value: bytes) -> str:
    known = name.lower()
    if known not in _HEADERS_KEPT or (known in _HEADERS_OF_TRACES and not _TRACE_ID.match(value)):
        return "[redacted]"
    return _storable(value[:_HEADER_VALUE_MAX].decode("latin-1"))


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL cannot keep or a reader cannot see."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
