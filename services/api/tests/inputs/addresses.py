"""This module is where rows 88 to 148 of the catalogue are: addresses, cursors, and keys."""

from typing import Final

from services.api.tests.inputs.rows import (
    DEPOSIT,
    HISTORY,
    JSON,
    LIST,
    TRANSFER,
    WITHDRAW,
    Row,
    body,
    field,
    get,
    transfer,
    wallet,
)

_SQL: Final = ("W1';%20DROP%20TABLE%20wallets;--", "1%20OR%201=1", "W1%27%20UNION%20SELECT%201")
_PROSE: Final = ("W1'; DROP TABLE wallets;--", "1 OR 1=1", "W1' UNION SELECT 1")
_FREE: Final = "a key may be any printable ASCII without spaces: it is a value, never a pattern"
_INJECTED: Final = ("${jndi:ldap://x}", "{{7*7}}", "%n%s")

IDS: Final = (
    wallet(88, "..%2f..%2fetc%2fpasswd"),
    wallet(89, "%2e%2e"),
    wallet(90, "a%2Fb"),
    Row(90, "a slash that a proxy does not see", (404,), path="/wallet/w1%2Fdeposit"),
    get(90, "/v1/wallets/w1%2fhistory", 404),
    get(90, "/v1%2Fwallets%2Fw1", 404),
    wallet(91, "a%00b"),
    wallet(92, "a" * 10_000, 400, 404, 414, what="an id of 10,000 letters"),
    *(
        wallet(n, text)
        for n, text in [(93, "💰"), (93, "%F0%9F%92%B0"), (94, "%ff%fe"), (95, "%e2%80%ae")]
    ),
    *(wallet(n, text) for n, text in [(96, "a%e2%80%8d"), (97, "%C3%A9"), (97, "e%CC%81")]),
    *(wallet(n, text) for n, text in [(98, "а"), (98, "%D0%B0"), (99, "%20"), (100, "")]),
)

TEXTS: Final = (
    *(wallet(n, text) for n, text in zip((101, 102, 103), _SQL, strict=True)),
    *(
        field(n, b'"requestId":"%b"' % text.encode(), what=f"as a key: {text}")
        for n, text in zip((101, 102, 103), _PROSE, strict=True)
    ),
    *(
        get(n, f"{HISTORY}?cursor={text}", what="as a cursor")
        for n, text in zip((101, 102, 103), _SQL, strict=True)
    ),
    *(
        field(
            *(n, b'"metadata":{"a":"%b"}' % text.encode(), 201),
            what="in metadata",
            moves=100,
            kept=f'{{"a":"{text}"}}',
        )
        for n, text in zip((101, 102, 103), _PROSE, strict=True)
    ),
    *(
        field(
            *(104, b'"requestId":"%b","metadata":{"a":"%b"}' % ((text.encode(),) * 2), 201),
            what=f"key and metadata {text}",
            moves=100,
            kept=f'{{"a":"{text}"}}',
            note=_FREE,
        )
        for text in _INJECTED
    ),
    field(104, b'"requestId":"a\\r\\nSet-Cookie: a=b"'),
    field(
        *(104, b'"metadata":{"a":"\\r\\nSet-Cookie: a=b"}', 201),
        moves=100,
        kept='{"a":"\\r\\nSet-Cookie: a=b"}',
    ),
)

_LIMITS: Final = enumerate(("-1", "0", "1e9", "9" * 20, "abc", "", "5.0", "1&limit=2"), 105)

QUERIES: Final = (
    *(get(n, f"{LIST}?limit={text}") for n, text in _LIMITS),
    get(113, f"{HISTORY}?cursor=c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlcg", what="a cursor of bytes"),
    get(114, f"{HISTORY}?limit=1&cursor=<cursor-cut>", what="a cursor that was cut"),
    get(115, f"{HISTORY}?limit=1&cursor=<cursor-flipped>", what="a cursor with one bit flipped"),
    get(116, f"{HISTORY}?limit=1&cursor=<cursor-of-w2>", what="another wallet's cursor"),
    get(117, f"{HISTORY}?limit=1&cursor=<cursor-of-w9>", what="another owner's cursor"),
    get(
        *(118, f"{HISTORY}?limit=1&before=2030-01-01T00:00:00Z&cursor=<cursor>"),
        what="a cursor with other filters",
    ),
    get(119, f"{HISTORY}?cursor={'A' * 10_240}", what="a cursor of 10 KB"),
    *(
        get(n, f"{HISTORY}?before={text}")
        for n, text in [(120, "abc"), (121, "9999-99-99"), (122, "10000-01-01T00:00:00Z")]
    ),
    get(123, f"{HISTORY}?before=-infinity"),
    transfer(124, "to itself", b'"toWalletId":"w1"', 422, is_remembered=True),
    transfer(
        *(125, "to nobody", b'"toWalletId":"nobody"', 422),
        is_remembered=True,
        note="a transfer opens no wallet",
    ),
    transfer(126, "to a frozen wallet", b'"toWalletId":"frozen"', 422, is_remembered=True),
    transfer(126, "to a closed wallet", b'"toWalletId":"closed"', 422, is_remembered=True),
    transfer(127, "to another currency", b'"toWalletId":"euro"', 422, is_remembered=True),
    transfer(128, "to an empty name", b'"toWalletId":""', 400),
    transfer(129, "to null", b'"toWalletId":null', 400),
    get(130, f"{LIST}?colour=red"),
    get(130, "/v1/purses", 404),
    *(Row(130, f"method {method}", (405,), method=method) for method in ("PUT", "PATCH", "DELETE")),
    Row(130, "method TRACE", (405,), b"", method="TRACE", headers=()),
    Row(130, "method FOO", (400, 405), b"", method="FOO", headers=(), note="no method of HTTP's"),
    get(130, "/V1/Wallets/w1", 404),
    get(130, "/v1/wallets/w1/", 404),
    get(130, "//v1/wallets/w1", 404),
    Row(130, "a trailing slash", (404,), path=f"{DEPOSIT}/"),
)  # fmt: skip


def key(number: int, *values: str | bytes, what: str = "") -> Row:
    """Return a deposit with these Idempotency-Key headers."""
    headers = (*JSON, *(("Idempotency-Key", value) for value in values))
    return Row(number, what or f"header {str(values)[:40]}", (400,), headers=headers)


KEYS: Final = (
    Row(131, "no key", (201,), moves=100, note="no key is required: one is made and returned"),
    key(132, ""),
    field(132, b'"requestId":""'),
    key(133, "k" * 1_000, what="a header of 1,000"),
    field(133, b'"requestId":"%b"' % (b"k" * 1_000), what="a key of 1,000"),
    key(133, "k" * 129, what="a header of 129"),
    field(134, b'"requestId":"K\\n"'),
    key(135, "   "),
    field(135, b'"requestId":"   "'),
    field(136, b'"requestId":"K\\u0000"'),
    key(137, b"\xff"),
    key(138, "a", "b"),
    Row(
        *(139, "header and body disagree", (400,), b'{"amount":"1","requestId":"a"}'),
        headers=(*JSON, ("Idempotency-Key", "b")),
    ),
    transfer(
        140,
        "a key of 128 through a transfer",
        b'"toWalletId":"w2","requestId":"%b"' % (b"t" * 128),
        201,
        moves=0,
    ),
    transfer(
        140,
        "a key of 128 through a compensation",
        b'"toWalletId":"full","requestId":"%b"' % (b"c" * 128),
        422,
        moves=0,
    ),
    field(141, b'"requestId":"ten"', 422, what="a used key, another amount"),
    body(
        *(142, "a used key, another wallet", b'{"amount":"10","requestId":"ten"}', 201),
        path="/v1/wallets/w2/deposit",
        moves=1_000,
        note="a key belongs to its wallet",
    ),
    body(
        *(143, "a used key, another operation", b'{"amount":"10","requestId":"ten"}', 422),
        path=WITHDRAW,
    ),
    body(
        144,
        "a used key, another recipient",
        b'{"amount":"1","toWalletId":"hundred","requestId":"to-w2"}',
        422,
        path=TRANSFER,
    ),
    body(
        147,
        "a key used before",
        b'{"amount":"10","requestId":"ten"}',
        201,
        note="a key never expires: there is no day after which this is not a repetition",
    ),
    *(
        field(148, b'"requestId":"%b"' % text, 201, moves=100, note=_FREE)
        for text in (b"../../x", b"*", b"%", b"_", b"'")
    ),
    *(
        get(148, f"/v1/wallets/hundred/operations/{text}", 404, 400)
        for text in ("../../x", "*", "%25", "_", "te_", "t%25", "'")
    ),
)

ROWS: Final = IDS + TEXTS + QUERIES + KEYS
