"""The catalogue of bad input: each row is refused, and leaves nothing but its audit row."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import pytest

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "traceId", "retryable"}
INNER = ("Traceback", "SELECT", "INSERT", "sqlalchemy", "asyncpg", "msgspec", "/site-packages/")
JSON = {"Content-Type": "application/json"}
DEPOSIT = "/v1/wallets/w1/deposit"
LIST = "/v1/wallets"
PAST = "/v1/wallets/w1/history"
GOOD = b'{"amount":"1"}'


class Row(NamedTuple):
    """A request; `expected` are the statuses that it may be answered with."""

    body: bytes = GOOD
    path: str = DEPOSIT
    headers: Any = JSON
    method: str = "POST"
    expected: tuple[int, ...] = (400,)


def bodies(*values: bytes, expected: tuple[int, ...] = (400,)) -> list[Row]:
    return [Row(body=value, expected=expected) for value in values]


def amounts(*values: bytes) -> list[Row]:
    return bodies(*(b'{"amount":%b,"requestId":"row"}' % value for value in values))


def texts(*values: str) -> list[Row]:
    return amounts(*(f'"{value}"'.encode() for value in values))


def paths(*values: str, expected: tuple[int, ...]) -> list[Row]:
    return [Row(path=value, expected=expected) for value in values]


def reads(*values: str, expected: tuple[int, ...] = (400,)) -> list[Row]:
    return [Row(method="GET", path=value, body=b"", expected=expected) for value in values]


def media(*values: dict[str, str]) -> list[Row]:
    return [Row(headers=value, expected=(415,)) for value in values]


def keys(*values: bytes) -> list[Row]:
    return [Row(headers=[*JSON.items(), (b"Idempotency-Key", value)]) for value in values]


def fields(*values: bytes) -> list[Row]:
    return bodies(*(b'{"amount":"1",%b}' % value for value in values))


def transfers(*values: bytes, expected: tuple[int, ...]) -> list[Row]:
    path = "/v1/wallets/w1/transfer"
    return [Row(b'{"amount":"1",%b}' % value, path, expected=expected) for value in values]


CATALOGUE: dict[str, list[Row]] = {
    "amounts: numbers that no double may touch": amounts(
        *(b"1.0000000000000000001", b"9007199254740993.0001", b"18446744073709551616"),
        *(b"9223372036854775808", b"0.001", b"1.001", b"1e2", b"1E2", b"1e400", b"1e-400"),
        *(b"-1", b"-0", b"0", b"0.0", b"-0.01", b"9" * 5_000, b"0." + b"0" * 5_000 + b"1"),
    ),
    "amounts: no JSON numbers": amounts(
        *(b"NaN", b"Infinity", b"-Infinity", b"nan", b"+1", b".5", b"5.", b"010", b"0x10"),
        *(b"1_000", b"1,000", "١٢".encode(), b"'1'", b"--1", b"1e", b"- 1"),
    ),
    "amounts: amounts of another type": amounts(
        *(b"true", b"false", b"null", b"[]", b"{}", b'["1"]', b'{"":1}'),
    ),
    "amounts: text that Decimal would take": texts(
        *("NaN", "sNaN", "Infinity", "-Infinity", "inf", "1e400", "1e999999", "1e2", "1E+2"),
        *("١٢", "１２", "५", "1٫5", "−5", "1_000", " 10 ", "10 ", " 10", "+10", "0b1", "½", "¹"),
    ),
    "amounts: text that is no amount": texts(
        *("", " ", "10\\n", "10\\u0000", "10\\ud800", "\\ud83d", "1,000", "0x10", "010", "00"),
        *(".5", "5.", ".", "-", "1.", "1..0", "1.0.0", "$1", "1 USD", "-10.00", "-0.00", "0"),
        *("0.00", "0.001", "10.000", "1.005", "0." + "0" * 5_000 + "1", "9" * 5_000),
        *("9223372036854775808", "1" + "0" * 18, "null", "true", "\\u0031e2"),
    ),
    "bodies: no JSON": bodies(
        *(b"", b" ", b"{", b"}", b"{}{}", b'{"amount":"1"}x', b'{"amount":"1",}', b"undefined"),
        *(b'\xef\xbb\xbf{"amount":"1"}', '{"amount":"1"}'.encode("utf-16"), b'{"amount":"1"}//'),
        *(b'{"amount":"1"/*1*/}', b"{'amount':'1'}", b'{amount:"1"}', b'{"amount":"1"\x00}'),
        *(b'{"amount":"1\n"}', b'{"amount":"1","reference":"\t"}', b'{"amount":"\\x31"}', b"\xff"),
        *(b'{"amount":"1","requestId":"\xff"}', b'{"amount":"1","reference":"\xed\xa0\x80"}'),
        *(b'{"amount":"1","reference":"\xc0\xaf"}', b'{"amount":"1","metadata":{"a":"\xff"}}'),
    ),
    "bodies: no object": bodies(b"null", b"[]", b"1", b'"x"', b"true", b'[{"amount":"1"}]', b"{}"),
    "bodies: deep": bodies(
        *(b"[" * 20_000, b'{"a":' * 13_000, b'{"amount":"1","x":' + b"[" * 20_000),
        b'{"amount":"1","metadata":{"a":%b%b}}' % (b"[" * 20_000, b"]" * 20_000),
        b'{"amount":"1","metadata":%b1%b}' % (b'{"a":' * 9_000, b"}" * 9_000),
        b'{"amount":%b%b}' % (b"[" * 20_000, b"]" * 20_000),
    ),
    "bodies: a key twice": bodies(
        *(b'{"amount":"1","amount":"999"}', b'{"amount":"1","\\u0061mount":"999"}'),
        *(b'{"amount":"1","amount":"1"}', b'{"amount":"1","requestId":"a","requestId":"b"}'),
        *(b'{"amount":"1","metadata":{"a":1,"a":2}}', b'{"amount":1,"metadata":{},"metadata":{}}'),
        b'{"amount":"1","metadata":{"a":{"b":1,"b":1}}}',
    ),
    "bodies: they only look simple": bodies(
        *(b'{"amount":"1","amo\\u0075nt":"2"}', b'{"amo\\u0075nt":"1","amo\\u0075nt":"1"}'),
        *(b'{"\\u0061mount":"1","amount" :"1"}', b'{"amount":"1","amount":NaN}'),
        *(b'{"amount":"1\xff"}', b'{"amount":"\xed\xa0\x80"}', b'{"amount":1\xff}'),
        *(b'{"amount":\xc0\xb1}', b'{"amount":"1","reference":"\xff"}'),
        *(b'{"amount":"1","reference":"\\ud800"}', b'{"amount":"1","reference":"a\\u0000"}'),
        *(b'{"amount":"1","metadata":[{"a":1,"a":1}]}', b'{"amount":"1","metadata":{"a":[NaN]}}'),
        *(b'{"amount":"1","metadata":NaN}', b'{"amount":"1","metadata":[-Infinity]}'),
        *(b'{"amount":"1","metadata":{"\\u0061":1,"a":1}}', b'{"amount":"1","metadata":"\xff"}'),
        *(b'{"amount":"1","metadata":%b}' % each for each in (b"\\", b"nul", b"1e", b"[" * 9_000)),
        *(b'{"amount":%b}' % each for each in (b"tru", b'"1"}', b'"1",', b"", b'"1', b"[" * 9_000)),
        *(b'{"amount":"1"}%b' % each for each in (b"}", b",", b"1", b"\xff", b"\x00", b"\x1a")),
    ),
    "bodies: unknown members": fields(
        *(b'"balance":"1000000"', b'"status":"completed"', b'"owner_id":"x"', b'"version":0'),
        *(b'"Amount":"1"', b'"request_id":"x"', b'"role":"admin"', b'"toWalletId":"w2"', b'"":1'),
        *(b'"held":"0"', b'"__proto__":{}', b'"currency":"USD"'),
    ),
    "bodies: members of another type": fields(
        *(b'"requestId":1', b'"requestId":""', b'"requestId":" "', b'"requestId":"a b"'),
        *(b'"requestId":"k\\n"', b'"requestId":"\\u0000"', '"requestId":"é"'.encode()),
        *(b'"requestId":"%b"' % (b"k" * 129), b'"requestId":[]', b'"requestId":"\\ud800"'),
        *(b'"reference":1', b'"reference":""', b'"reference":"%b"' % (b"r" * 257)),
        *(b'"reference":"a\\r\\nSet-Cookie: a=b"', b'"reference":"\\u0000"', b'"reference":"\\n"'),
        *(b'"metadata":[]', b'"metadata":"x"', b'"metadata":1', b'"metadata":{"a":NaN}'),
        *(b'"metadata":{"a":"\\u0000"}', b'"metadata":{"\\u0000":1}'),
        b'"metadata":{"a":"\\ud800"}',
        b'"metadata":{"a":"%b"}' % (b"x" * 5_000),
        b'"metadata":{%b}' % b",".join(b'"%d":1' % n for n in range(3_000)),
    ),
    "headers: media types": media(
        *({}, JSON | {"Content-Encoding": "gzip"}, JSON | {"Content-Encoding": "br"}),
        *(JSON | {"Content-Encoding": "gzip, gzip"}, JSON | {"Content-Encoding": "deflate"}),
        *({"Content-Type": each} for each in ("", ";", "json", "text/plain", "text/json")),
        *({"Content-Type": each} for each in ("application/json5", "application/xml")),
        *({"Content-Type": each} for each in ("application/msgpack", "application/x-msgpack")),
        *({"Content-Type": f"application/{each}"} for each in ("x-www-form-urlencoded", "ld+json")),
        *({"Content-Type": f"multipart/form-data{each}"} for each in ("", ";boundary=x")),
        *({"Content-Type": f"application/json{each}"} for each in (", a/b", "; charset=utf-16")),
    ),
    "addresses: ids that are elsewhere": paths(
        *("/wallet/..%2f..%2fetc%2fpasswd/deposit", "/wallet/%2e%2e/deposit", "/wallet//deposit"),
        *("/wallet/a%2Fb/deposit", "/v1/wallets//deposit", "/v1/wallets/%2e/deposit"),
        expected=(400, 404),
    ),
    "addresses: ids of other letters": paths(
        *(f"/wallet/{each}/deposit" for each in ("💰", "%ff%fe", "%e2%80%ae", "a%e2%80%8d")),
        *(f"/wallet/{each}/deposit" for each in ("%00", "%20", "a%00b", "a%0A", "%0Aa", "а")),
        *(f"/wallet/{each}/deposit" for each in ("%C3%A9", "-a", "_a", ".a", "@a", "a'", "*")),
        *(f"/wallet/{each}/deposit" for each in ("%25", "a;b", "a,b", "a%3Fb", "${a}", "a%20OR")),
        *(f"/wallet/{each}/deposit" for each in ("a';%20DROP%20TABLE%20wallets;--", "a" * 129)),
        f"/v1/wallets/{'a' * 10_000}/deposit",
        expected=(400,),
    ),
    "addresses: addresses": paths(
        *("/v1/wallets/w1/deposits", "/v1/wallets/w1/DEPOSIT", "/V1/wallets/w1/deposit"),
        *("/v2/wallets", "/wallet", "/wallet/", "/v1/wallets/", "/v1/wallets/w1/deposit/"),
        *("//v1/wallets/w1/deposit", "/wallet/w1/ledger", "/wallet/w1/operations/k"),
        expected=(404,),
    ),
    "addresses: methods": [
        Row(method=each, expected=(405,)) for each in ("PUT", "PATCH", "DELETE", "TRACE", "X")
    ],
    "addresses: query parameters of a write": paths(
        *(f"{DEPOSIT}?{each}" for each in ("x=1", "x", "=", "amount=5", "a=5&a=6", "%00=1")),
        expected=(400,),
    ),
    "reads: limits": reads(
        *(f"{LIST}?limit={each}" for each in ("-1", "0", "201", "1e9", "9" * 20, "abc", "", "5.0")),
        *(f"{LIST}?limit={each}" for each in ("%205", "+5", "٣", "1&limit=2", "5%00", "0x5")),
        *(f"{PAST}?limit=0", "/v1/wallets/w1/ledger?limit=1000", f"{LIST}?Limit=1"),
    ),
    "reads: filters": reads(
        *(f"{LIST}?{each}" for each in ("status=open", "status=", "currency=usd", "x")),
        *(f"{LIST}?currency=US%00", f"{LIST}?ownerId=%00", f"{LIST}?ownerId=a%20b"),
        *(f"{LIST}?ownerId=", f"{LIST}?ownerId=%ff", f"{LIST}?ownerId={'a' * 129}"),
        *("/v1/wallets/w1/ledger?type=hold", "/v1/wallets/w1/ledger?type=DEPOSIT"),
        *("/v1/wallets/w1/ledger?type=null", "/v1/wallets/w1/holds?status=null"),
        *(f"{LIST}?status=null", f"{LIST}?ownerId=null", "/v1/events?type=null"),
        *("/v1/wallets/w1/stats?at=1", "/v1/wallets/w1/operations/k?x=1"),
    ),
    "reads: times": reads(
        *(f"/v1/wallets/w1?at={each}" for each in ("", "abc", "9999-99-99", "-infinity", "now")),
        *(f"/v1/wallets/w1?at={each}" for each in ("2026-01-31", "2026-01-31T12:00:00", "176")),
        *(f"{PAST}?before={each}" for each in ("10000-01-01T00:00:00Z", "2026-02-30T12:00:00Z")),
        *(f"{PAST}?before={each}" for each in ("0001-01-01T00:00:00%2B14:00", "infinity", "NULL")),
        *(f"{PAST}?before={each}" for each in ("9999-12-31T23:59:59-14:00", "٢026-01-31T12:00Z")),
        *("/v1/wallets/w1/ledger?from=a", "/v1/wallets/w1/ledger?to="),
    ),
    "reads: cursors": reads(
        *(f"{PAST}?cursor={each}" for each in ("", "A", "AAAA", "%00", "%ff", "💰", "=", "..")),
        *(f"{LIST}?cursor={each}" for each in ("A" * 10_000, "1", "null", "' OR 1=1 --")),
    ),
    "transfers: recipients": transfers(
        *(b'"toWalletId":""', b'"toWalletId":null', b'"toWalletId":1', b'"toWalletId":"a b"'),
        *(b'"toWalletId":"@external"', b'"toWalletId":"w2\\n"', b'"toWalletId":[]'),
        b'"requestId":"k"',
        expected=(400,),
    ),
    "transfers: transfers that cannot be": transfers(
        *(b'"toWalletId":"w1"', b'"toWalletId":"nobody"', b'"toWalletId":"euro"'),
        expected=(422,),
    ),
    "headers: idempotency keys": keys(
        *(b"", b" ", b"k" * 129, b"k" * 1_000, b"a b", b"\xff", b"a\tb", "é".encode(), b"\x7f"),
    ),
    "headers: two idempotency keys": [
        Row(headers=[*JSON.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]),
        Row(b'{"amount":"1","requestId":"a"}', headers=JSON | {"Idempotency-Key": "b"}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("topic", sorted({kind.partition(":")[0] for kind in CATALOGUE}))
async def test_bad_input_is_refused_without_effect(
    api: httpx.AsyncClient,
    books: Callable[[], Awaitable[tuple[int, ...]]],
    audited: Callable[[httpx.Response], Awaitable[list[int]]],
    topic: str,
) -> None:
    """A problem with an expected status, one audit row for a write, no effect, and life goes on."""
    for wallet in ({"id": "w1"}, {"id": "w2"}, {"id": "euro", "currency": "EUR"}):
        await api.post("/v1/wallets", json=wallet)
    await api.post(DEPOSIT, json={"amount": "100"})
    looked_before = await books()
    rows = [row for kind, rows in CATALOGUE.items() if kind.startswith(topic) for row in rows]

    for row in rows:
        answered = await api.request(row.method, row.path, content=row.body, headers=row.headers)
        why = f"{row.method} {row.path[:80]} {str(row.headers)[:80]} {row.body[:80]!r}"
        assert answered.status_code in row.expected, why
        check_problem(answered, why)
        is_write = row.method in {"POST", "PUT", "PATCH", "DELETE"}
        assert await audited(answered) == [answered.status_code] * is_write, why

    # A refusal that is an outcome is remembered under its key; nothing else may be there.
    looked = await books()
    assert looked[0] == looked_before[0]
    assert looked[2:] == looked_before[2:]
    assert looked[1] == looked_before[1] + sum(row.expected == (422,) for row in rows)
    good = await api.post(DEPOSIT, json={"amount": "1", "requestId": "row"})
    assert (good.status_code, good.json()["balance"]) == (201, "101.00")


def check_problem(answered: httpx.Response, why: str) -> None:
    assert answered.headers["Content-Type"] == "application/problem+json", why
    problem = answered.json()
    assert problem.keys() >= MEMBERS, why
    assert problem["status"] == answered.status_code, why
    assert problem["traceId"] == answered.headers["X-Trace-Id"], why
    assert len(answered.content) < 2_000, why
    assert not any(word in answered.text for word in INNER), why
    if answered.status_code == 405:
        assert answered.headers["Allow"], why
