"""x"""

import base64, json
import pytest
import asyncio


async def test_x(api, sql):
    """x"""

    async def show(label, r):
        n = await sql.fetch(
            "SELECT status,url,body FROM api_audit WHERE trace_id=$1", r.headers.get("x-trace-id")
        )
        print(
            f"{label:40} {r.status_code} {r.headers.get('content-type')} {r.headers.get('allow')} {r.text[:150]!r} audit={[x['status'] for x in n]}"
        )

    J = {"content-type": "application/json"}

    async def post(label, body, path="/v1/wallets/w1/deposit", headers=J, method="POST"):
        await show(label, await api.request(method, path, content=body, headers=headers))

    await post("ok", b'{"amount":"10"}')
    for b in [
        rb'{"amount":"10\ud800"}',
        rb'{"amount":1,"metadata":{"a":"\ud800"}}',
        rb'{"amount":"10\u0000"}',
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"{}{}",
        b'\xef\xbb\xbf{"amount":1}',
        '{"amount":1}'.encode("utf-16"),
        b'{"amount":"1",}',
        b'{"amount":1/*x*/}',
        b'{"amount":1,"requestId":"\xff"}',
        b"[" * 20000,
        b'{"a":' * 20000,
        b'{"amount":1,"metadata":' + b'{"a":' * 10000 + b"1" + b"}" * 10000 + b"}",
        b'{"amount":1,"amount":2}',
        rb'{"amount":1,"\u0061mount":2}',
        b'{"amount":1,"metadata":{"a":1,"a":2}}',
        b'{"amount":NaN}',
        b'{"amount":-Infinity}',
        b'{"amount":"' + b"9" * 5000 + b'"}',
        b'{"amount":' + b"9" * 5000 + b"}",
        b'{"amount":1e400}',
        b'{"amount":1,"metadata":{"n":' + b"9" * 4000 + b"}}",
        b'{"amount":1,"metadata":{"__proto__":1}}',
        b'{"amount":1,"requestId":"' + b"k" * 1000 + b'"}',
        b'{"amount":1,"reference":"a\\nb"}',
        b'{"amount":1,"metadata":{"a":1e400}}',
        b'{"amount":9223372036854775808}',
        b'{"amount":"92233720368547758.07"}',
        b'{"amount":"92233720368547758.08"}',
        b'{"amount":true}',
        b'{"amount":[]}',
        b'{"amount":{}}',
        b'{"amount":null}',
        rb'{"amount":1,"reference":"\ud800"}',
        rb'{"amount":1,"requestId":"\ud800"}',
        '{"amount":1,"reference":"\u202e"}'.encode(),
        b'{"amount":1,"metadata":[]}',
        b'{"amount":1,"metadata":1}',
        b'{"amount":1,"metadata":null}',
        b' {"amount": 1 }\n',
    ]:
        await post(repr(b[:60]), b)
    for h in [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": 'application/json; charset="utf-8"'},
        {"content-type": "application/json;charset=UTF-8"},
        {"content-type": "application/JSON"},
        {"content-type": "application/json, text/plain"},
        {"content-type": ""},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data"},
        {"content-type": "application/msgpack"},
        {**J, "content-encoding": "gzip"},
        {**J, "content-encoding": ""},
        {**J, "accept": "image/png"},
    ]:
        await post(str(h), b'{"amount":1}', headers=h)
        await post("EMPTY" + str(h), b"", headers=h)
    for p in [
        "/wallet/..%2f..%2fetc%2fpasswd/deposit",
        "/wallet/%2e%2e/deposit",
        "/wallet/a%2Fb/deposit",
        "/wallet/a%00b/deposit",
        "/wallet/" + "a" * 10000 + "/deposit",
        "/wallet/💰/deposit",
        "/wallet/%ff%fe/deposit",
        "/wallet/%20/deposit",
        "/wallet//deposit",
        "/wallet/a'/deposit",
        "/wallet/w1/deposit/",
        "/wallet/w1/deposit?x=1",
        "/wallet/w1/DEPOSIT",
        "/v1/wallets/w1",
        "/healthz",
        "/docs",
        "/docs/openapi.json",
        "/docs/assets/swagger-ui.css",
        "/nope",
        "/wallet/@external/deposit",
        "/v1/wallets/w1/deposit?%00=1",
        "/v1/wallets/w1/deposit?=",
        "/v1/wallets/w1/deposit?",
    ]:
        await post("P " + p[:50], b'{"amount":1}', path=p)
    for m in ["PUT", "PATCH", "DELETE", "TRACE", "FOO", "OPTIONS", "HEAD", "post", "GET"]:
        for p in ["/v1/wallets/w1/deposit", "/v1/wallets/w1", "/nope"]:
            await post(f"M {m} {p}", b'{"amount":1}', path=p, method=m)
    for p in [
        "/v1/wallets?limit=",
        "/v1/wallets?limit=5.0",
        "/v1/wallets?limit=0",
        "/v1/wallets?limit=201",
        "/v1/wallets?limit=1&limit=2",
        "/v1/wallets?limit=007",
        "/v1/wallets?cursor=",
        "/v1/wallets?cursor=AAAA",
        "/v1/wallets?cursor=" + "A" * 10000,
        "/v1/wallets?status=foo",
        "/v1/wallets?status=",
        "/v1/wallets?currency=usd",
        "/v1/wallets?ownerId=%00",
        "/v1/wallets?ownerId=",
        "/v1/wallets/w1?at=",
        "/v1/wallets/w1?at=abc",
        "/v1/wallets/w1?at=0001-01-01T00:00:00Z",
        "/v1/wallets/w1?at=9999-12-31T23:59:59Z",
        "/v1/wallets/w1?at=9999-12-31T23:59:59-14:00",
        "/v1/wallets/w1?at=10000-01-01T00:00:00Z",
        "/v1/wallets/w1/history?before=-infinity",
        "/v1/wallets/w1/history?before=9999-99-99",
        "/v1/wallets/w1/ledger?type=foo",
        "/v1/wallets/w1/ledger?from=2026-01-01T00:00:00+00:00",
        "/v1/wallets/w1/ledger?since=2026-01-01T00:00:00Z",
        "/v1/wallets/w1/history?cursor=%ff",
        "/v1/wallets/w1/history?cursor=💰",
        "/v1/wallets/w1/operations/a%2Fb",
        "/v1/wallets/w1/operations/a%20b",
        "/v1/transfers/xyz",
        "/v1/transfers/00000000-0000-0000-0000-000000000000",
        "/v1/wallets/w1/stats?x",
        "/v1/wallets?LIMIT=1",
        "/docs",
        "/docs/",
        "/docs/openapi.json",
        "/docs/nope",
        "/docs/assets/",
        "/docs/assets/nope.css",
        "/docs/assets/%2e%2e/%2e%2e/app.py",
        "/healthz?x=1",
        "/v1/wallets?limit=1;limit=2",
        "/v1/wallets?foo",
    ]:
        r = await api.get(p)
        await show("G " + p[:60], r)
