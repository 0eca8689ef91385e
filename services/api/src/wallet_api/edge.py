"""
This module is where every request passes first and every response last, whatever happens between.

Outside the framework, because the framework runs no middleware for 404 and 405: here a request
gets its trace id and its whole body in time, and a refused write gets its audit row.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from wallet_api.exchange import AUDITED_METHODS, Exchange
from wallet_api.problems import MEDIA_TYPE, Problem, fault
from wallet_api.shortcut import Shortcut
from wallet_db_orm.audit import AuditRecord

BODY_BYTES_MAX: Final = 65_536
BATCH_BYTES_MAX: Final = 4_194_304
_BATCHES: Final = "/v1/batches"
BODY_TIMEOUT_S: Final = 20.0
# So much of a body that is too large is still received, and dropped: hanging up on a client that
# sends makes it lose the answer.
_DROPPED_BYTES_MAX: Final = 16_777_216
# What was refused or took longer gets a line of its own; the rest only at LOG_LEVEL=DEBUG, because
# a line costs as much as the whole way of a request through this module.
_SLOW_MS: Final = 1_000.0
_REFUSED: Final = 400
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_JSON: Final = (b"content-type", b"application/json")
_REPLAY: Final = (b"idempotent-replay", b"true")
_NO_STORE: Final = (b"cache-control", b"no-store")

log = structlog.get_logger("wallet_api")

WriteAudit = Callable[[AuditRecord, int], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Edge:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, shortcut: Shortcut, write_audit: WriteAudit) -> None:
        self._app = app
        self._shortcut = shortcut
        self._write_audit = write_audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope)
        try:
            if exchange.method in AUDITED_METHODS:
                exchange.body = await _read_body(exchange, receive)
                _refuse_upgrade(exchange)
            if plain := self._shortcut.find(exchange):
                status, body = await self._shortcut.answer(exchange, plain)
                await self._send(exchange, send, status, [_JSON], body)
            else:
                await self._through_framework(exchange, scope, receive, send)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  # told to the caller, and the log if it is ours
            problem = error if isinstance(error, Problem) else fault(error, exchange)
            body = problem.document(exchange.path, exchange.trace_id)
            named = {"content-type": MEDIA_TYPE, **problem.headers}
            headers = [(name.lower().encode(), text.encode()) for name, text in named.items()]
            await self._send(exchange, send, problem.status, headers, body)
        _log(exchange)

    async def _send(
        self, exchange: Exchange, send: Send, status: int, headers: Headers, body: bytes
    ) -> None:
        exchange.status = status
        if not exchange.is_audited:
            await self._audit(exchange)
        length = (b"content-length", b"%d" % len(body))
        lines = [*headers, length, *_common_headers(exchange)]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _through_framework(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        # As it was sent: an encoded slash belongs to a name.
        raw_path: bytes = scope["raw_path"]
        if raw_path != b"/" and (raw_path.endswith(b"/") or b"//" in raw_path):
            raise Problem(404, "not_found", "There is nothing at this address.")
        scope.setdefault("state", {})["exchange"] = exchange

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                if not exchange.is_audited:
                    await self._audit(exchange)
                message["headers"] = [*message["headers"], *_common_headers(exchange)]
            await send(message)

        await self._app(scope, _replay(exchange.body, receive), answer)

    async def _audit(self, exchange: Exchange) -> None:
        exchange.is_audited = True
        # A stranger's batch is not kept whole: whoever may not write could fill the audit with it.
        exchange.body = exchange.body[:BODY_BYTES_MAX]
        await self._write_audit(exchange.audit_record(), exchange.status)


class ClientGone(Exception):
    """The client left before its request was complete: there is nobody to answer."""


async def _read_body(exchange: Exchange, receive: Receive) -> bytes:
    """Return the whole body; raises a 413 or a 408, or ClientGone."""
    bytes_max = BATCH_BYTES_MAX if exchange.path == _BATCHES else BODY_BYTES_MAX
    body, size, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more and size <= _DROPPED_BYTES_MAX:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                assert message["type"] == "http.request"
                body += message["body"][: bytes_max - len(body)]
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
    if size > bytes_max:
        exchange.body = bytes(body)
        raise Problem(
            413,
            "body_too_large",
            f"A body may have {bytes_max} bytes.",
            headers={"Connection": "close"},
        )
    return bytes(body)


def _refuse_upgrade(exchange: Exchange) -> None:
    """Say why the body is missing: the parser stops reading where a protocol would change."""
    if exchange.body or exchange.header(b"upgrade") is None:
        return
    raise Problem(
        400,
        "upgrade_not_served",
        "The protocol is not changed here and the body was not read: send no Upgrade header"
        " (Java's HttpClient: version HTTP_1_1).",
        headers={"Connection": "close"},
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def again() -> Any:  # noqa: ANN401  # an ASGI message
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _common_headers(exchange: Exchange) -> Headers:
    headers = [(b"x-trace-id", exchange.trace_id.encode()), _NO_SNIFFING]
    if not exchange.path.startswith("/docs"):
        headers.append(_NO_STORE)
    if exchange.is_replay:
        headers.append(_REPLAY)
    return headers


def _log(exchange: Exchange) -> None:
    taken_ms = (perf_counter() - exchange.started_s) * 1000
    is_told = exchange.status >= _REFUSED or taken_ms > _SLOW_MS
    if not is_told and not log.is_enabled_for(logging.DEBUG):
        return
    log.log(
        logging.INFO if is_told else logging.DEBUG,
        "request.handled",
        method=exchange.method,
        path=exchange.path[:200],
        status=exchange.status,
        ms=round(taken_ms, 2),
        trace_id=exchange.trace_id,
    )
