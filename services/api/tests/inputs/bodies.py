"""This module is where rows 1 to 87 of the catalogue are: amounts, JSON bodies, media types."""

import gzip
from typing import Final

from services.api.tests.inputs.rows import DEPOSIT, GOOD, JSON, Row, amount, body, field

_NUMBERS: Final = "our contract takes JSON numbers whose text is exact"
_DECIMALS: Final = "two decimals: the wallet is kept in USD"
_DEEP: Final = b"[" * 20_000
_BOMB: Final = gzip.compress(bytes(50_000_000))

AMOUNTS: Final = (
    amount(1, "10.5", 201, moves=1_050, note=_NUMBERS),
    amount(2, "9007199254740993.0001"),
    amount(3, "1.0000000000000000001"),
    *(amount(n, text) for n, text in [(4, "NaN"), (5, "Infinity"), (6, "-Infinity")]),
    *(amount(n, text) for n, text in [(7, '"NaN"'), (8, '"sNaN"'), (9, '"Infinity"')]),
    amount(10, '"-Infinity"'),
    *(amount(n, text) for n, text in [(11, "1e400"), (12, '"1e400"'), (13, '"1e999999"')]),
    amount(14, "1e-400"),
    *(amount(n, text) for n, text in [(15, '"-10.0000"'), (15, '"-10.00"'), (16, '"-0.0000"')]),
    *(amount(n, text) for n, text in [(17, '"0"'), (18, '"0.0000"'), (18, '"0.00"')]),
    *(amount(n, text) for n, text in [(19, '"0.00001"'), (19, '"0.001"'), (20, '"10.00000"')]),
    amount(21, '"922337203685477.5808"', note=_DECIMALS),
    amount(21, '"92233720368547758.08"', 400, 422, what="2^63 minor units", is_remembered=True),
    amount(22, '"9223372036854775808"'),
    amount(23, "18446744073709551616"),
    amount(
        *(24, '"92233720368547758.07"', 422),
        what="the most onto a full wallet",
        path="/v1/wallets/full/deposit",
        is_remembered=True,
    ),
    amount(25, "9" * 5_000, what="5,000 digits"),
    amount(25, f'"{"9" * 5_000}"', what="5,000 digits in a string"),
    amount(26, "9" * 1_000_000, 413, what="1 MB of digits"),
    field(27, b'"requestId":"ten"', 422, what="another amount under the key of ten"),
    body(
        *(27, '"10.00" where "10" was', b'{"amount":"10.00","requestId":"ten"}', 201),
        note="the same meaning: a repetition",
    ),
    amount(27, '"10.0000"', note=_DECIMALS),
    *(amount(n, text) for n, text in [(28, '" 10 "'), (29, '"10\\n"'), (29, '"10\n"')]),
    *(amount(n, text) for n, text in [(30, '"+10"'), (30, "+10"), (31, '"1_000"'), (31, "1_000")]),
    *(amount(n, text) for n, text in [(32, '"1,000"'), (33, '"0x10"'), (34, '"1e2"')]),
    *(amount(n, text) for n, text in [(35, '"010"'), (35, "010"), (36, '".5"'), (37, '"5."')]),
    *(amount(n, text) for n, text in [(38, '"١٢"'), (39, '"１２"'), (40, '"1٫5"'), (41, '"−5"')]),
    amount(42, '"५"'),
    *(amount(n, text) for n, text in [(43, "true"), (44, "null"), (45, "[]"), (46, "{}")]),
    amount(47, '""'),
    body(48, "no amount", b'{"requestId":"no-amount"}'),
    *(amount(n, text) for n, text in [(49, '"10\\u0000"'), (49, '"10\0"'), (50, '"10\\ud800"')]),
    amount(
        *(51, '"100.01"', 422),
        what="one cent more than there is",
        path="/v1/wallets/hundred/withdraw",
        is_remembered=True,
    ),
    amount(
        *(51, '"100.00"', 201),
        what="exactly what there is",
        path="/v1/wallets/another-hundred/withdraw",
        moves=-10_000,
    ),
    amount(
        *(51, '"0.01"', 422),
        what="a cent of nothing",
        path="/v1/wallets/empty/withdraw",
        is_remembered=True,
    ),
)  # fmt: skip


def media(number: int, *types: str, allowed: tuple[int, ...] = (415,)) -> list[Row]:
    return [Row(number, f"as {each}", allowed, headers=(("Content-Type", each),)) for each in types]


def encoded(number: int, encoding: str, value: bytes) -> Row:
    headers = (*JSON, ("Content-Encoding", encoding))
    return Row(number, f"{encoding}, {len(value)} bytes", (415,), value, headers=headers)


def _chunks(total: int) -> bytes:
    piece = b"1000\r\n%b\r\n" % (b" " * 4096)
    whole, rest = divmod(total - len(GOOD), 4096)
    head = (
        f"POST {DEPOSIT} HTTP/1.1\r\nHost: wallet\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer <teller>\r\nX-Trace-Id: <trace>\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n"
    )
    last = b"%x\r\n%b\r\n" % (rest, b" " * rest)
    return b"%be\r\n%b\r\n%b%b0\r\n\r\n" % (head.encode(), GOOD, piece * whole, last)


def _nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


BODIES: Final = (
    body(52, "a key twice", b'{"amount":"1","amount":"999","requestId":"twice"}'),
    body(53, "a key twice, once escaped", b'{"amount":"1","\\u0061mount":"999"}'),
    *(field(n, text) for n, text in [(54, b'"balance":"1000000"'), (55, b'"status":"Completed"')]),
    *(field(n, text) for n, text in [(56, b'"owner_id":"me"'), (56, b'"ownerId":"me"')]),
    *(field(n, text) for n, text in [(57, b'"version":0'), (57, b'"held":"1"')]),
    field(58, b'"requestId":"\xff"', what="a key that is no UTF-8"),
    body(59, "20,000 lists deep", _DEEP),
    field(60, b'"x":' + _nested(10_000), what="10,000 objects deep, in an unknown field"),
    field(60, b'"x":' + _DEEP, what="20,000 lists deep, in an unknown field"),
    field(61, b'"metadata":' + _nested(9_000), what="9,000 objects deep, in metadata"),
    field(61, b'"metadata":{"a":%b%b}' % (_DEEP, b"]" * 20_000), what="20,000 lists, in metadata"),
    body(62, "nothing", b""),
    body(63, "null", b"null"),
    body(64, "a list", b"[]"),
    body(65, "a string", b'"x"'),
    body(66, "half an object", b"{"),
    body(67, "two objects", b"{}{}"),
    body(67, "two objects that were good", GOOD * 2),
    body(68, "a byte order mark", b"\xef\xbb\xbf" + GOOD),
    Row(
        *(69, "UTF-16 and its charset", (400, 415), GOOD.decode().encode("utf-16")),
        headers=(("Content-Type", "application/json; charset=utf-16"),),
        note="a charset that is not UTF-8 is another media type",
    ),
    body(69, "UTF-16", GOOD.decode().encode("utf-16")),
    body(70, "a comma too many", b'{"amount":"1",}'),
    body(71, "a comment", b'{"amount":"1"/* one */}'),
    body(71, "a comment at the end", GOOD + b"// one"),
    body(72, "64 KiB and one", GOOD.ljust(65_537), 413),
    Row(73, "64 KiB and one, in chunks", (413,), raw=_chunks(65_537)),
    *media(74, "text/plain"),
    Row(75, "no media type", (415,), headers=()),
    *media(76, "application/xml"),
    *media(77, "application/x-www-form-urlencoded"),
    *media(78, "multipart/form-data; boundary=x"),
    *media(79, "application/msgpack", "application/x-msgpack"),
    encoded(80, "gzip", gzip.compress(GOOD)),
    encoded(81, "gzip", _BOMB),
    encoded(82, "br", GOOD),
    encoded(83, "gzip, gzip", gzip.compress(gzip.compress(GOOD))),
    *(
        Row(
            *(84, f"wants {wanted}", (400, 406), b"{"),
            headers=(*JSON, ("Accept", wanted)),
            note="there is one form of answer, whatever is wanted",
        )
        for wanted in ("text/html", "image/png")
    ),
    field(
        *(85, b'"metadata":{%b}' % b",".join(b'"%d":1' % n for n in range(10_000)), 400, 413),
        what="metadata of 10,000 keys",
    ),
    field(
        *(85, b'"metadata":{%b}' % b",".join(b'"%d":1' % n for n in range(5_000)), 400),
        what="metadata of 5,000 keys",
    ),
    field(86, b'"metadata":{"%b":1}' % (b"k" * 65_000), what="a key of 64 KiB"),
    *(
        field(
            *(87, b'"metadata":' + text.encode(), 201),
            moves=100,
            kept=text,
        )
        for text in ('{"__proto__":{"a":1}}', '{"constructor":"x","prototype":[]}')
    ),
)  # fmt: skip

ROWS: Final = AMOUNTS + BODIES
