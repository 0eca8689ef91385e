"""
This module is where every request passes first and every response last, whatever happens between.

Outside the framework, because the framework runs no middleware for 404 and 405: here a request
gets its trace id and its whole body in time, and a refused write gets its audit row.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from wallet_api.problems import MEDIA_TYPE, Problem
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.ids import new_id

BODY_BYTES_MAX: Final = 65_536
BODY_TIMEOUT_S: Final = 20.0
# So much of a body that is too large is still received, and dropped: hanging up on a client that
# sends makes it lose the answer.
_DROPPED_BYTES_MAX: Final = 16_777_216
AUDITED_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_TRACE_ID: Final = re.compile(rb"\A[A-Za-z0-9._-]{1,64}\Z")
_WALLET_PATH: Final = re.compile(
    r"\A/(v1/wallets|wallet)/(?P<wallet_id>[A-Za-z0-9][A-Za-z0-9_.:-]{0,127})(/|\Z)"
)
# Headers that tell something and can hold no secret; of all others only the name is kept.
_HEADERS_KEPT: Final = frozenset(
    {
        *(
            "accept",
            "content-encoding",
            "content-length",
            "content-type",
            "host",
            "idempotency-key",
        ),
        *("traceparent", "user-agent", "x-request-id", "x-trace-id"),
    }
)
_HEADER_VALUE_MAX: Final = 256

log = structlog.get_logger("wallet_api")

WriteAudit = Callable[[AuditRecord, int], Awaitable[None]]


class Exchange:
    """One request and what is learned of it on the way; handlers find it in the scope's state."""

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        given = next((value for name, value in headers if name == b"x-trace-id"), b"")
        self.id = new_id()
        self.trace_id = given.decode() if _TRACE_ID.match(given) else new_id()
        self.received_at = datetime.now(UTC)
        self.started_s = perf_counter()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        query = scope.get("query_string", b"").decode("latin-1")
        self.url = f"{self.path}?{query}" if query else self.path
        self.headers = headers
        self.client_ip: str | None = scope["client"][0] if scope.get("client") else None
        self.body = b""
        self.principal: str | None = None
        named = _WALLET_PATH.match(self.path)
        self.wallet_id: str | None = named["wallet_id"] if named else None
        self.request_id: str | None = None
        # A ledger transaction has written the row, or the transfer's end will.
        self.is_audited = self.method not in AUDITED_METHODS
        self.status = 0

    def audit_record(self) -> AuditRecord:
        """Return what `api_audit` keeps of this request."""
        return AuditRecord(
            id=self.id,
            method=self.method,
            url=_storable(self.url),
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


class Edge:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, write_audit: WriteAudit) -> None:
        self._app = app
        self._write_audit = write_audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope)  # type: ignore[arg-type]  # the framework's scope is a TypedDict
        scope.setdefault("state", {})["exchange"] = exchange

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                await self._audit(exchange)
                message["headers"] = [*message["headers"], *_common_headers(exchange)]
            await send(message)

        try:
            exchange.body = await _read_body(exchange, receive)
            # As it was sent: an encoded slash belongs to a name.
            raw_path: bytes = scope["raw_path"]
            if raw_path != b"/" and (raw_path.endswith(b"/") or b"//" in raw_path):
                raise Problem(404, "not_found", "There is nothing at this address.")
            await self._app(scope, _replay(exchange.body, receive), answer)
        except Problem as problem:
            await _send_problem(problem, exchange, answer)
        except ClientGone:
            return
        log.info(
            "request.handled",
            method=exchange.method,
            path=exchange.path[:200],
            status=exchange.status,
            ms=round((perf_counter() - exchange.started_s) * 1000, 2),
            trace_id=exchange.trace_id,
        )

    async def _audit(self, exchange: Exchange) -> None:
        if exchange.is_audited:
            return
        exchange.is_audited = True
        await self._write_audit(exchange.audit_record(), exchange.status)


class ClientGone(Exception):
    """The client left before its request was complete: there is nobody to answer."""


async def _read_body(exchange: Exchange, receive: Receive) -> bytes:
    """Return the whole body of a write; raises a 413 or a 408. Reads have none to be heard."""
    if exchange.method not in AUDITED_METHODS:
        return b""
    body, size, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more and size <= _DROPPED_BYTES_MAX:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                assert message["type"] == "http.request"
                body += message["body"][: BODY_BYTES_MAX - len(body)]
                size += len(message["body"])
                more = message["more_body"]
    except TimeoutError:
        exchange.is_audited = True  # It never was a complete request.
        raise Problem(
            408,
            "request_timeout",
            f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s.",
            headers={"Connection": "close"},
        ) from None
    if size > BODY_BYTES_MAX:
        exchange.body = bytes(body)
        raise Problem(
            413,
            "body_too_large",
            f"A body may have {BODY_BYTES_MAX} bytes.",
            headers={"Connection": "close"},
        )
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def again() -> Any:  # noqa: ANN401  # an ASGI message
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _send_problem(problem: Problem, exchange: Exchange, send: Send) -> None:
    body = problem.document(exchange.path, exchange.trace_id)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _common_headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-trace-id", exchange.trace_id.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if not exchange.path.startswith("/docs"):
        headers.append((b"cache-control", b"no-store"))
    return headers


def _kept(name: bytes, value: bytes) -> str:
    text = name.decode("latin-1").lower()
    return (
        _storable(value.decode("latin-1")[:_HEADER_VALUE_MAX])
        if text in _HEADERS_KEPT
        else "[redacted]"
    )


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL cannot keep or a reader cannot see."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
