"""This module is where rows 145 and 197 to 210 of the catalogue are: who may not do that."""

from typing import Any, Final

from services.api.tests.inputs.rows import DEPOSIT, HISTORY, TRANSFER, Row, body, field, get

_W9: Final = ("w9", "w0")
_LETTERS: Final = "/v1/admin/dead-letters"
_TO_W1: Final = b'{"amount":"1","toWalletId":"w1"}'
_SECRET: Final = b'{"amount":"1","toWalletId":"w2","requestId":"secret"}'
_NOBODYS: Final = "01a214ec-8c7d-7496-999c-0f4fc26cfac5"
# What takes as long of another's wallet as of none: the method, and what follows the wallet's id.
TIMED: Final = (
    *(("GET", ""), ("GET", "/history"), ("GET", "/ledger"), ("GET", "/stats")),
    ("POST", "/transfer"),
)
SAMPLES: Final = 200
# By how much the medians of so many samples of both may differ.
TOLERANCE: Final = 1.2


def foreign(number: int, path: str, what: str = "", **more: Any) -> Row:  # noqa: ANN401  # a row's members
    """Return alice's read of what is mallory's."""
    return get(number, path, 404, what=what, token="<alice>", twin=more.pop("twin", _W9), **more)


def foreign_write(number: int, what: str, path: str, asked: bytes, status: int) -> Row:
    """Return alice's write to what is mallory's."""
    return body(number, what, asked, status, path=path, token="<alice>", twin=_W9)


ROWS: Final = (
    Row(
        *(145, "another's key on another's wallet", (404,)),
        body=b'{"amount":"1","toWalletId":"w2","requestId":"to-w2"}',
        path=TRANSFER,
        token="<mallory>",
        twin=("w1", "w0"),
    ),
    Row(
        *(145, "another's key on one's own wallet", (201,)),
        body=b'{"amount":"1","toWalletId":"w2","requestId":"to-w2"}',
        path="/v1/wallets/w9/transfer",
        token="<mallory>",
        moves=0,
    ),
    Row(190, "an expiry in 30 billion years", (401,), token="<expiry-far>"),
    Row(197, "an auditor deposits", (403,), token="<auditor>"),
    Row(197, "an auditor transfers", (403,), _TO_W1, TRANSFER, token="<auditor>"),
    get(198, _LETTERS, 403, what="a user reads dead letters", token="<alice>"),
    get(198, _LETTERS, 403, what="a teller reads dead letters"),
    Row(198, "a user replays", (403,), b"{}", f"{_LETTERS}/replay", token="<alice>"),
    get(198, "/v1/events", 403, what="a user reads everybody's events", token="<alice>"),
    get(199, "/v1/wallets/w1", 403, what="an unknown role reads", token="<support>"),
    get(199, HISTORY, 403, what="an unknown role reads a history", token="<support>"),
    Row(200, "a role added to one's token", (401,), token="<promoted>"),
    field(201, b'"role":"admin"', 400, note="an unknown field, whoever asks"),
    field(201, b'"roles":["admin"]', 403, token="<alice>"),
    foreign(202, "/v1/wallets/w9"),
    foreign(202, "/v1/wallets/w9?at=2036-01-01T00:00:00Z"),
    foreign(203, "/v1/wallets/w9/history"),
    foreign(203, "/v1/wallets/w9/ledger"),
    foreign(204, "/v1/wallets/w9/stats"),
    foreign_write(205, "withdraws", "/v1/wallets/w9/withdraw", b'{"amount":"1"}', 403),
    foreign_write(206, "transfers to herself", "/v1/wallets/w9/transfer", _TO_W1, 404),
    foreign_write(207, "repeats", "/v1/wallets/w9/transfer", _SECRET, 404),
    foreign_write(207, "repeats a deposit", DEPOSIT.replace("w1", "w9"), _SECRET, 403),
    foreign(208, "/v1/wallets/w9/operations/secret"),
    foreign(208, "/v1/transfers/<transfer-of-w9>", twin=("<transfer-of-w9>", _NOBODYS)),
    foreign(209, "/v1/wallets/w9/events/stream"),
    Row(210, "a user deposits", (403,), token="<alice>"),
    Row(210, "a user withdraws", (403,), path="/v1/wallets/w1/withdraw", token="<alice>"),
)
