"""This module is where rows 149 to 170 of the catalogue are: requests that are barely HTTP."""

from typing import Final

from services.api.tests.inputs.rows import DEPOSIT, GOOD, JSON, Row, raw

_START: Final = f"POST {DEPOSIT} HTTP/1.1"
_SMUGGLED: Final = b"GET /v1/wallets/w9 HTTP/1.1\r\nHost: wallet\r\n\r\n"
_UNREAD: Final = "refused by the server before it is a request: there is nothing to audit"
_CHUNKED: Final = "Transfer-Encoding: chunked"
_LENGTH: Final = f"Content-Length: {len(GOOD)}"
_PEER: Final = "no proxy is trusted: limits and audit see the socket's peer"


def head(
    *lines: str | bytes, start: str = _START, host: str = "Host: wallet", token: str = "<teller>"
) -> bytes:
    usual = (
        *((host,) if host else ()),
        *((f"Authorization: Bearer {token}",) if token else ()),
        *("Content-Type: application/json", "X-Trace-Id: <trace>"),
    )
    told = [line if isinstance(line, bytes) else line.encode() for line in (start, *usual, *lines)]
    return b"\r\n".join([*told, b"", b""])


def refused(number: int, what: str, *lines: str | bytes, body: bytes = GOOD) -> Row:
    return raw(number, what, head(*lines) + body, note=_UNREAD)


_EXPECTING: Final = head(_LENGTH, "Expect: 100-continue", "Connection: close", token="") + GOOD

ROWS: Final = (
    refused(
        *(149, "a length and chunks", "Content-Length: 4", _CHUNKED),
        body=b"e\r\n%b\r\n0\r\n\r\n%b" % (GOOD, _SMUGGLED),
    ),
    refused(
        *(149, "chunks and a length", _CHUNKED, "Content-Length: 5"),
        body=b"0\r\n\r\n" + _SMUGGLED,
    ),
    refused(150, "two lengths", _LENGTH, "Content-Length: 5"),
    refused(151, "the same length twice", _LENGTH, _LENGTH),
    refused(152, "length +14", "Content-Length: +14"),
    refused(153, "length -1", "Content-Length: -1"),
    refused(154, "coding xchunked", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    refused(155, "a space before the colon", "Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    refused(156, "a chunk of -1", _CHUNKED, body=b"-1\r\n%b\r\n0\r\n\r\n" % GOOD),
    refused(
        *(157, "an extension of 70 KB", _CHUNKED),
        body=b"e;x=%b\r\n%b\r\n0\r\n\r\n" % (b"x" * 70_000, GOOD),
    ),
    raw(
        *(158, "lines without CR", head(_LENGTH).replace(b"\r\n", b"\n") + GOOD),
        note=_UNREAD,
    ),
    refused(159, "a folded line", "X-Folded: a\r\n b", _LENGTH),
    refused(160, "a NUL in a header", b"X-Nul: a\0b", _LENGTH),
    raw(
        *(161, "no Host", head(_LENGTH, "Connection: close", host="") + GOOD),
        audited=True,
    ),
    raw(
        *(162, "two Hosts", head(_LENGTH, "Connection: close", "Host: other") + GOOD),
        audited=True,
    ),
    raw(
        163,
        "an address at another host",
        head(_LENGTH, "Connection: close", start=f"POST http://other{DEPOSIT} HTTP/1.1") + GOOD,
        audited=True,
    ),
    raw(164, "HTTP/0.9", b"GET /healthz\r\n\r\n", note=_UNREAD),
    raw(
        *(165, "a header of 100 KB", head("X-Long: " + "x" * 100_000, _LENGTH) + GOOD, 431),
        note=_UNREAD,
    ),
    raw(
        166,
        "5,000 headers",
        head(*(f"X-{n}: {n}" for n in range(5_000)), _LENGTH) + GOOD,
        *(431,),
        note=_UNREAD,
    ),
    raw(
        *(167, "garbage behind a request", head(_LENGTH) + GOOD + b"\x16\x03\x01 garbage", 201),
        moves=100,
        audited=True,
        note="the request is answered, then the connection is closed",
    ),
    raw(
        *(169, "100-continue of a stranger", _EXPECTING, 401),
        audited=True,
        note="100, then 401",
    ),
    Row(
        *(170, "forwarded for", (201,)),
        headers=(*JSON, ("X-Forwarded-For", "1.2.3.4"), ("X-Real-IP", "1.2.3.4")),
        moves=100,
        note=_PEER,
    ),
    Row(
        *(170, "forwarded for 10 KB", (201,)),
        headers=(*JSON, ("X-Forwarded-For", "1.2.3.4, " * 1_100)),
        moves=100,
        note=_PEER,
    ),
    Row(
        *(170, "another user, method, address", (201,)),
        headers=(
            *(*JSON, ("X-User-Id", "mallory"), ("X-HTTP-Method-Override", "DELETE")),
            *(("X-Original-URL", "/v1/wallets/w9/deposit"), ("X-Rewrite-URL", "/healthz")),
        ),
        moves=100,
    ),
)
