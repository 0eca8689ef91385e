"""
This module is where every request passes first and every response last, whatever happens between.

Outside the framework, because the framework runs no middleware for 404 and 405: here a request
gets its trace id and its whole body in time, and a refused write gets its audit row.
"""

import logging
from time import perf_counter
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.types.asgi_types import HTTPResponseStartEvent

from wallet_api.addresses import networks
from wallet_api.books import Books
from wallet_api.exchange import AUDITED_METHODS, Exchange, Headers
from wallet_api.openapi import ASSETS_PATH
from wallet_api.problems import MEDIA_TYPE, Problem, busy, fault
from wallet_api.redaction import kept_address
from wallet_api.shortcut import Shortcut

BODY_BYTES_MAX: Final = 65_536
BATCH_BYTES_MAX: Final = 4_194_304
STREAM_BYTES_MAX: Final = 33_554_432
STREAMED: Final = "/v1/batches/stream"
# Bodies beside the usual, and how large they may be.
_LARGER: Final = {"/v1/batches": BATCH_BYTES_MAX, STREAMED: STREAM_BYTES_MAX}
# So many of the largest are in memory at a time.
_STREAMED_MAX: Final = 2
# So much of a body that is too large is still received, and dropped: hanging up on a client that
# sends makes it lose the answer.
_DROPPED_BYTES_MAX: Final = 16_777_216
# What was refused or took longer gets a line of its own; the rest only at LOG_LEVEL=DEBUG, because
# a line costs as much as the whole way of a request through this module.
_SLOW_MS: Final = 1_000.0
_REFUSED: Final = 400
# A supervisor is answered however much there is to do.
_PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS: Final = AUDITED_METHODS | {"GET", "HEAD", "OPTIONS"}
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_JSON: Final = (b"content-type", b"application/json")
_REPLAY: Final = (b"idempotent-replay", b"true")
_NO_STORE: Final = (b"cache-control", b"no-store")

log = structlog.get_logger("wallet_api")
_OK: Final = 200
_CREATED: Final = 201
_REHEARSED: Final = b',"dryRun":true}'


class Edge:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, shortcut: Shortcut, books: Books) -> None:
        self._app = app
        self._shortcut = shortcut
        self._books = books
        self._trusted = networks(books.settings.trusted_proxies)
        self._under_way = self._streamed = 0

    def end_streams(self) -> None:
        """End the answers that would never end by themselves."""
        self._books.streams.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, self._trusted)
        try:
            _refuse_preflight(exchange)
            if exchange.path in _PROBES:
                _require_one_host(exchange, scope)
                await self._through_framework(exchange, scope, receive, send)
            else:
                await self._answer(exchange, scope, receive, send)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  # told to the caller, and the log if it is ours
            problem = error if isinstance(error, Problem) else fault(error, exchange)
            body = problem.document(exchange.path, exchange.trace_id)
            named = {"content-type": MEDIA_TYPE, **problem.headers}
            headers = [(name.lower().encode(), text.encode()) for name, text in named.items()]
            await self._send(exchange, send, problem.status, headers, body)
        self._count(exchange)
        _log(exchange)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of so many at a time; one more would delay them all, and gets a 503."""
        # Streams are counted where they are opened.
        under_way = self._under_way - len(self._books.streams)
        if under_way >= self._books.settings.concurrency_max:
            raise busy("Too many requests at once; send the same request again.")
        if exchange.path == STREAMED and self._streamed >= _STREAMED_MAX:
            raise busy("Other streams of commands are carried out; send this one again.")
        self._under_way += 1
        self._streamed += exchange.path == STREAMED
        try:
            # Before anything else is done for a client, also for one that has the wrong address.
            await self._books.door.count_client(exchange)
            if exchange.method in AUDITED_METHODS:
                exchange.body = await self._read_body(exchange, receive)
                _refuse_upgrade(exchange)
            _require_one_host(exchange, scope)
            _refuse_hidden_slashes(scope["raw_path"])
            if plain := self._shortcut.find(exchange):
                status, body = await self._shortcut.answer(exchange, plain)
                await self._send(exchange, send, status, [_JSON], body)
            else:
                await self._through_framework(exchange, scope, receive, send)
        finally:
            self._under_way -= 1
            self._streamed -= exchange.path == STREAMED

    async def _read_body(self, exchange: Exchange, receive: Receive) -> bytes:
        """Return the whole body; raises a 413, what the door raises, or ClientGone."""
        bytes_max = _LARGER.get(exchange.path, BODY_BYTES_MAX)
        body, size, more = bytearray(), 0, True
        while more and size <= max(_DROPPED_BYTES_MAX, bytes_max):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            assert message["type"] == "http.request"
            body += message["body"][: bytes_max - len(body)]
            size += len(message["body"])
            if bytes_max > BODY_BYTES_MAX and not exchange.is_admitted and size > BODY_BYTES_MAX:
                # So much is taken from those alone who may send it.
                exchange.body = bytes(body)
                await self._books.door.admit(exchange, exchange.path)
            more = message["more_body"]
        if size > bytes_max:
            exchange.body = bytes(body)
            raise Problem(
                413,
                "body_too_large",
                f"A body may have {bytes_max} bytes.",
                headers={"Connection": "close"},
            )
        return bytes(body)

    async def _send(
        self, exchange: Exchange, send: Send, status: int, headers: Headers, body: bytes
    ) -> None:
        exchange.status = status
        if exchange.is_rehearsal or not exchange.is_audited:
            await self._audit(exchange)
        exchange.taken_s = perf_counter() - exchange.started_s
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
                if exchange.is_rehearsal:
                    _begin_rehearsed(message)
                exchange.status = message["status"]
                if exchange.is_rehearsal or not exchange.is_audited:
                    await self._audit(exchange)
                exchange.taken_s = perf_counter() - exchange.started_s
                message["headers"] = [*message["headers"], *_common_headers(exchange)]
            elif message["type"] == "http.response.body" and exchange.is_rehearsal:
                message["body"] = _rehearsed(exchange, message["body"])
            await send(message)

        try:
            await self._app(scope, _replay(exchange.body, receive), answer)
        finally:
            exchange.route = scope.get("path_template", "")

    def _count(self, exchange: Exchange) -> None:
        method = exchange.method if exchange.method in _METHODS else "other"
        self._books.answered[method, exchange.route or "none", exchange.status] += 1

    async def _audit(self, exchange: Exchange) -> None:
        exchange.is_audited = True
        # A stranger's batch is not kept whole: whoever may not write could fill the audit with it.
        exchange.body = exchange.body[:BODY_BYTES_MAX]
        record = exchange.audit_record(self._books.settings.pii_keys)
        await self._books.refusals.write(record, exchange.status)


class ClientGone(Exception):
    """The client left before its request was complete: there is nobody to answer."""


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


def _require_one_host(exchange: Exchange, scope: Scope) -> None:
    """Refuse what two readers would take for requests to two hosts."""
    hosts = [value for name, value in exchange.headers if name == b"host"]
    if len(hosts) == 1 or (not hosts and scope["http_version"] == "1.0"):
        return
    raise Problem(400, "host_unclear", "A request names one host, in one Host header.")


def _refuse_hidden_slashes(raw_path: bytes) -> None:
    """Refuse a slash that a proxy did not see as one; only a request's key may have any."""
    if b"%" in raw_path and b"%2f" in raw_path.lower().partition(b"/operations/")[0]:
        raise Problem(404, "not_found", "There is nothing at this address.")


def _refuse_preflight(exchange: Exchange) -> None:
    """Refuse what a browser asks before it lets another site's page send a request here."""
    if exchange.method == "OPTIONS" and exchange.header(b"access-control-request-method"):
        raise Problem(403, "cross_origin_refused", "Pages of other sites are not served.")


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def again() -> Any:  # noqa: ANN401  # an ASGI message
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _begin_rehearsed(message: HTTPResponseStartEvent) -> None:
    """Tell of what would have been done that it was not: no 201, and the body says so, too."""
    if message["status"] not in {_OK, _CREATED}:
        return
    message["status"] = _OK
    more = len(_REHEARSED) - len(b"}")
    message["headers"] = [
        (name, b"%d" % (int(value) + more) if name == b"content-length" else value)
        for name, value in message["headers"]
    ]


def _rehearsed(exchange: Exchange, body: bytes) -> bytes:
    # A stream's lines of progress say it themselves.
    if exchange.status != _OK or exchange.path == STREAMED:
        return body
    return body.removesuffix(b"}") + _REHEARSED


def _common_headers(exchange: Exchange) -> Headers:
    headers = [(b"x-trace-id", exchange.trace_id.encode()), _NO_SNIFFING]
    # The pages' scripts and styles are the same for everybody.
    if not exchange.path.startswith(ASSETS_PATH):
        headers.append(_NO_STORE)
    if exchange.is_replay:
        headers.append(_REPLAY)
    return headers


def _log(exchange: Exchange) -> None:
    taken_ms = exchange.taken_s * 1000
    is_told = exchange.status >= _REFUSED or taken_ms > _SLOW_MS
    if not is_told and not log.is_enabled_for(logging.DEBUG):
        return
    log.log(
        logging.INFO if is_told else logging.DEBUG,
        "request.handled",
        method=exchange.method,
        path=kept_address(exchange.path)[:200],
        status=exchange.status,
        ms=round(taken_ms, 2),
        trace_id=exchange.trace_id,
    )
