"""
This module is where bytes on a connection become requests, or are refused before they are any.

The server's own parser decides what is HTTP. Here it gets what it lacks: limits for a request's
head, an end to waiting for a head, a body, or a client that takes no answer, no fields behind a
body, and refusals that read like all others.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from wallet_api.exchange import trace_id_of
from wallet_api.problems import MEDIA_TYPE, Problem

HEAD_BYTES_MAX: Final = 32_768
HEADERS_MAX: Final = 100
HEAD_TIMEOUT_S: Final = 20.0
BODY_TIMEOUT_S: Final = 20.0
# Who has not made room for more of an answer for so long is hung up on.
DEAF_TIMEOUT_S: Final = 20.0
# A chunk of one byte comes in six; beside that there may be so much: what else chunks carry along
# (extensions) nobody reads.
_FRAMING_PER_BYTE: Final = 6
_FRAMING_BYTES_FREE: Final = 16_384
_VERSIONS: Final = ("1.1", "1.0")
_ABSOLUTE: Final = (b"http://", b"https://")

log = structlog.get_logger("wallet_api")


class Wire(HttpToolsProtocol):
    """One connection; what it refuses no application has heard of, so it has no audit row."""

    _refusal: Problem | None = None
    _running: RequestResponseCycle | None = None
    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _is_deaf = False
    _in_head = False
    _in_body = False
    _is_chunked = False
    # How much is being read just now, how much of an unfinished head came before, its fields.
    _fed = 0
    _head_fed = 0
    _head_bytes = 0
    # What a body in chunks has beside its bytes.
    _framing_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream's, as uvicorn says
        self._wait(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self._stall_no_more()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(DEAF_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stall_no_more()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._is_over():
            return
        self._fed = len(data)
        if self._in_body:
            self._framing_bytes += len(data)
        super().data_received(data)
        if self._is_over():
            return
        if self._in_head:
            self._head_fed += len(data)
            if self._head_fed > HEAD_BYTES_MAX:
                self._refuse(_head_too_large())
        elif self._in_body and self._has_much_framing():
            self._refuse(_much_framing())
        # Most requests arrive whole and cost no timer.
        if self._waiting is not None:
            return
        if self._in_body:
            self._wait(BODY_TIMEOUT_S)
        elif not self._is_working():
            self._wait(HEAD_TIMEOUT_S)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # the server's signature
        """Refuse what the parser could not read, or what one of its callbacks would not have."""
        self._refuse(self._refusal or _malformed("This is no request as HTTP/1.1 has them."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes, self._head_fed = 0, -self._fed

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            # A proxy that cleans the head does not see these, and they would count as if it had.
            self._stop(_malformed("Fields behind a body (trailers) are not taken."))
        self._head_bytes += len(name) + len(value) + len(": \r\n")
        if len(self.headers) >= HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            self._stop(_head_too_large())
        self._is_chunked = self._is_chunked or name.lower() == b"transfer-encoding"
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) > HEAD_BYTES_MAX:
            self._stop(_head_too_large())
        if self.parser.get_http_version() not in _VERSIONS:
            self._stop(_malformed("HTTP/1.1 and 1.0 are served."))
        self._wait_no_more()
        self._in_head, self._in_body = False, True
        self._framing_bytes = self._fed - self._head_bytes - len(self.url)
        if self.url.lower().startswith(_ABSOLUTE):
            # An address that names a host is one more Host: the edge wants them to be one.
            named = self.url.partition(b"//")[2].partition(b"/")[0]
            if (b"host", named) not in self.headers:
                self.headers.append((b"host", named))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body) * _FRAMING_PER_BYTE
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._has_much_framing():
            self._stop(_much_framing())
        self._in_body = self._is_chunked = False
        self._wait_no_more()
        super().on_message_complete()

    def _has_much_framing(self) -> bool:
        return self._is_chunked and self._framing_bytes > _FRAMING_BYTES_FREE

    def _is_over(self) -> bool:
        return self._is_deaf or self.transport.is_closing()

    def _is_working(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401  # as the server has it
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _wait(self, seconds: float) -> None:
        self._waiting = self.loop.call_later(seconds, self._give_up, seconds)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _stall_no_more(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _give_up(self, seconds: float) -> None:
        self._waiting = None
        what = "The body did not arrive" if self._in_body else "No request arrived"
        self._refuse(Problem(408, "request_timeout", f"{what} within {seconds:.0f} s."))

    def _stop(self, refusal: Problem) -> None:
        """Make the parser give up, from one of its callbacks."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, refusal: Problem) -> None:
        """Answer and hang up; a request that is complete and in work is answered instead."""
        self._is_deaf = True
        self._wait_no_more()
        running = self._running
        if running is not None and self._is_working() and not running.more_body:
            running.keep_alive = False
            return
        if self.transport.is_closing():
            return
        # What came before a head that is not whole was another request.
        trace_id = trace_id_of(self.headers if self._in_body else [])
        log.info("request.unreadable", status=refusal.status, code=refusal.code, trace_id=trace_id)
        self.transport.write(_answer(refusal, trace_id))
        self.transport.close()


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_request", detail)


def _much_framing() -> Problem:
    return _malformed("A body may not have so much between its chunks.")


def _head_too_large() -> Problem:
    detail = f"A request's head may have {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers."
    return Problem(431, "headers_too_large", detail)


def _answer(refusal: Problem, trace_id: str) -> bytes:
    body = refusal.document("", trace_id)
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
        f"x-trace-id: {trace_id}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        "\r\n"
    )
    return head.encode() + body
