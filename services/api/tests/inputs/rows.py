"""This module is where a row of the catalogue of bad input is described, and made into bytes."""

from typing import Any, Final, NamedTuple

Headers = tuple[tuple[str | bytes, str | bytes], ...]

DEPOSIT: Final = "/v1/wallets/w1/deposit"
WITHDRAW: Final = "/v1/wallets/w1/withdraw"
TRANSFER: Final = "/v1/wallets/w1/transfer"
HISTORY: Final = "/v1/wallets/w1/history"
LIST: Final = "/v1/wallets"
GOOD: Final = b'{"amount":"1"}'
JSON: Final[Headers] = (("Content-Type", "application/json"),)
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Row(NamedTuple):
    """
    One request of the catalogue, and what may come of it.

    `number` is the catalogue's; a row of several spellings is there once for each. `<name>` in
    path, headers and body stands for something that was prepared (see conftest.py).
    """

    number: int
    what: str
    allowed: tuple[int, ...]
    body: bytes = GOOD
    path: str = DEPOSIT
    method: str = "POST"
    headers: Headers = JSON
    # Whose token goes along; none: "".
    token: str = "<teller>"
    # The whole request as it goes over the wire, where its framing is the point.
    raw: bytes | None = None
    # By how many minor units all wallets together change; None: nothing changes at all.
    moves: int | None = None
    # Understood and refused, and remembered under its key.
    is_remembered: bool = False
    # Whether there is an audit row; None: as the method says.
    is_audited: bool | None = None
    # Metadata that has to be in the ledger, exactly so.
    kept: str | None = None
    # What is somebody else's, and what is not there at all: for both the same answer.
    twin: tuple[str, str] | None = None
    # Why our answer is not the catalogue's first choice.
    note: str = ""

    def request(self, trace_id: str) -> bytes:
        """Return the request's bytes; a whole one has `<trace>` where its trace id belongs."""
        if self.raw is not None:
            return self.raw.replace(b"<trace>", trace_id.encode())
        headers: list[tuple[str | bytes, str | bytes]] = [
            *(("Host", "wallet"), ("Connection", "close"), ("X-Trace-Id", trace_id)),
            *((("Authorization", f"Bearer {self.token}"),) if self.token else ()),
            *self.headers,
        ]
        if self.body or self.method == "POST":
            headers.append(("Content-Length", str(len(self.body))))
        lines = [_bytes(name) + b": " + _bytes(value) for name, value in headers]
        target = self.path.encode()
        start = self.method.encode() + b" " + target + b" HTTP/1.1"
        return b"\r\n".join([start, *lines, b"", self.body])

    @property
    def audits(self) -> bool:
        return self.method in WRITES if self.is_audited is None else self.is_audited

    @property
    def name(self) -> str:
        """Return what a report calls this row."""
        return f"{self.number:03} {self.what}"


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def amount(number: int, value: str | bytes, *allowed: int, what: str = "", **more: Any) -> Row:  # noqa: ANN401  # a row's members
    """Return a deposit of the JSON `value`."""
    raw = value if isinstance(value, bytes) else value.encode()
    told = what or f"amount {raw[:40].decode(errors='replace')}"
    return Row(number, told, allowed or (400,), body=b'{"amount":%b}' % raw, **more)


def body(number: int, what: str, value: bytes, *allowed: int, **more: Any) -> Row:  # noqa: ANN401  # as above
    """Return a deposit with this body."""
    return Row(number, what, allowed or (400,), body=value, **more)


def field(number: int, value: bytes, *allowed: int, what: str = "", **more: Any) -> Row:  # noqa: ANN401  # as above
    """Return a deposit with one more member in its body."""
    told = what or f"with {value[:50].decode(errors='replace')}"
    return Row(number, told, allowed or (400,), body=b'{"amount":"1",%b}' % value, **more)


def get(number: int, path: str, *allowed: int, what: str = "", **more: Any) -> Row:  # noqa: ANN401  # as above
    """Return a read."""
    told = what or f"GET {path[:60]}"
    return Row(number, told, allowed or (400,), b"", path, "GET", more.pop("headers", ()), **more)


def wallet(number: int, wallet_id: str, *allowed: int, what: str = "") -> Row:
    """Return a deposit to what `wallet_id` names in the path."""
    told, path = what or f"id {wallet_id[:50]}", f"/wallet/{wallet_id}/deposit"
    if wallet_id.isascii():
        return Row(number, told, allowed or (400, 404), path=path)
    note = "bytes that no address has: refused by the server before it is a request"
    return Row(number, told, (400,), path=path, is_audited=False, note=note)


def transfer(number: int, what: str, value: bytes, *allowed: int, **more: Any) -> Row:  # noqa: ANN401  # as above
    """Return a transfer out of w1 with these members beside the amount."""
    told = b'{"amount":"1",%b}' % value
    return Row(number, what, allowed, body=told, path=TRANSFER, **more)


def raw(number: int, what: str, value: bytes, *allowed: int, **more: Any) -> Row:  # noqa: ANN401  # as above
    """Return a request that is sent as it stands."""
    is_audited = more.pop("audited", False)
    return Row(number, what, allowed or (400,), raw=value, is_audited=is_audited, **more)
