"""This module is where a real process of the API is asked in bytes, and has what rows refer to."""

import asyncio
import contextlib
import http.client
import io
import itertools
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from services.api.tests.inputs.rows import GOOD, Row
from services.api.tests.inputs.tokens import tokens

_DEADLINE_S: Final = 30.0
_MARK: Final = re.compile(rb"<([a-z0-9-]+)>")
_PAGE_BYTES: Final = 4_096
_numbers = itertools.count(1)


class Answer(NamedTuple):
    """One response, and how long it took until the server hung up."""

    status: int
    headers: Message
    content: bytes
    seconds: float

    @property
    def problem(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.content)
        return told


class Scene:
    """Wallets behind an address where tokens are asked for, and what rows refer to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.names: dict[str, str] = tokens()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def post(self, path: str, token: str = "teller", **body: object) -> Any:  # noqa: ANN401  # JSON
        head = {"Authorization": f"Bearer {self.names[token]}"}
        answered = self.client.post(path, json=body, headers=head)
        assert answered.status_code == 201, answered.text
        return answered.json()

    def get(self, path: str, token: str = "teller") -> Any:  # noqa: ANN401  # as above
        head = {"Authorization": f"Bearer {self.names[token]}"}
        answered = self.client.get(path, headers=head)
        assert answered.status_code == 200, answered.text
        return answered.json()

    def furnish(self) -> None:
        """Make the wallets and the cursors that the rows name."""
        owners = {"w1": "alice", "w2": "bob", "w9": "mallory"}
        for wallet_id in ("w1", "w2", "w9", "good", "frozen", "closed", "full", "empty"):
            owner = {"ownerId": owners[wallet_id]} if wallet_id in owners else {}
            self.post("/v1/wallets", "admin", id=wallet_id, **owner)
        self.post("/v1/wallets", "admin", id="euro", currency="EUR")
        self.post("/v1/wallets/frozen/freeze", "admin", direction="both", reason="asked")
        self.post("/v1/wallets/closed/close", "admin")
        for wallet_id, amount in [("w1", "1000"), ("w2", "50"), ("w9", "50")]:
            self.post(f"/v1/wallets/{wallet_id}/deposit", amount=amount, requestId="first")
        for wallet_id in ("hundred", "another-hundred"):
            self.post(f"/v1/wallets/{wallet_id}/deposit", amount="100.00", requestId="ten")
        self.post("/v1/wallets/full/deposit", amount="92233720368547758.07")
        self.post("/v1/wallets/w1/deposit", amount="10", requestId="ten")
        moved = {"amount": "1", "requestId": "to-w2"}
        self.post("/v1/wallets/w1/transfer", toWalletId="w2", **moved)
        sent = self.post("/v1/wallets/w9/transfer", toWalletId="w2", amount="1", requestId="secret")
        self.names["transfer-of-w9"] = sent["transferId"]
        for wallet_id, name in [("w1", "cursor"), ("w2", "cursor-of-w2"), ("w9", "cursor-of-w9")]:
            page = self.get(f"/v1/wallets/{wallet_id}/history?limit=1")
            self.names[name] = page["nextCursor"]
        cursor = self.names["cursor"]
        self.names["cursor-cut"] = cursor[:-1]
        self.names["cursor-flipped"] = chr(ord(cursor[0]) ^ 1) + cursor[1:]

    def fill(self, request: bytes) -> bytes:
        """Return the request with what its marks stand for."""
        return _MARK.sub(lambda mark: self.names[mark[1].decode()].encode("latin-1"), request)

    def request(self, row: Row, trace_id: str) -> bytes:
        """Return the row's bytes; the length is told of the body as it goes out."""
        return self.fill(
            row._replace(body=self.fill(row.body)).request(trace_id)
            if row.raw is None
            else row.request(trace_id)
        )


class Place(Scene):
    """A process of the API, asked in bytes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        super().__init__(port)
        self.process = process
        self.log = log

    async def send(self, request: bytes) -> list[Answer]:
        """Send bytes as they are; return all answers once the server has closed."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        received = bytearray()
        # Who refuses a request may hang up on what else is sent.
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_DEADLINE_S):
                writer.write(request)
                while piece := await reader.read(65_536):
                    received += piece
        writer.close()
        return list(answers(bytes(received), time.monotonic() - began))

    async def send_good(self) -> None:
        """Send a request that is as it should be; it has to be answered so."""
        row = Row(0, "good", (201,), GOOD, "/v1/wallets/good/deposit")
        (answer,) = await self.send(self.request(row, new_trace()))
        assert answer.status == 201, answer.content

    def resident_bytes(self) -> int:
        """Return how much memory the process holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * _PAGE_BYTES


class Silence(threading.Thread):
    """A client that announces a byte more than it sends, and waits for what comes of it."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        row = Row(168, "silent", (408,), GOOD[:-1])
        request = place.request(row, "silent")
        self._request = request.replace(b"Content-Length: 13", b"Content-Length: 14")
        self._connection = socket.create_connection(("127.0.0.1", place.port), _DEADLINE_S)
        self._received = b""
        self._seconds = 0.0

    def run(self) -> None:
        began = time.monotonic()
        with self._connection:
            self._connection.sendall(self._request)
            while piece := self._connection.recv(65_536):
                self._received += piece
        self._seconds = time.monotonic() - began

    def answer(self) -> Answer:
        """Wait for the end and return the one answer."""
        self.join(_DEADLINE_S)
        (answer,) = answers(self._received, self._seconds)
        return answer


def answers(received: bytes, seconds: float) -> Iterator[Answer]:
    """Read every response that is there; what is left over is no response, and fails."""
    file = io.BytesIO(received)
    while line := file.readline():
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = http.client.parse_headers(file)
        if int(status) >= 200:
            content = file.read(int(headers["Content-Length"]))
            yield Answer(int(status), headers, content, seconds)


def new_trace() -> str:
    return f"row-{next(_numbers)}"
