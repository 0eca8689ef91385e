"""This module is where load generators are shown to send what they say, and say what came."""

import http.server
import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from wallet_tools.bench import wrk
from wallet_tools.bench.generator import Order, Tally, find_wrk, prepared
from wallet_tools.bench.plan import Load
from wallet_tools.bench.traffic import Requests, Traffic, traffic_of

REQUEST_ID = re.compile(r'"requestId":"([^"]+)"')
KINDS = [Load.COLD, Load.HOT, Load.MIXED, Load.REPLAYS, Load.HOLDS, Load.READS, Load.BULK]
_prefixes = (f"t{number}" for number in itertools.count())


class Town(http.server.ThreadingHTTPServer):
    """Answers every request with `status` and keeps its path and body."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Clerk)
        self.status = 201
        self.heard: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Clerk(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Town

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self.server.heard.append((self.path, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def town() -> Iterator[Town]:
    with Town() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(town: Town, load: Load, generator: str, **bounds: float) -> Tally:
    traffic = traffic_of(load, next(_prefixes), wallets=50, connections=4, seed=7)
    order = Order(url=town.url, traffic=traffic, connections=4, **(bounds or {"seconds": 1}))  # type: ignore[arg-type]  # seconds or rate
    with prepared(order, find_wrk(generator)) as ready:
        return ready.run()


def entries_of(heard: list[tuple[str, str]]) -> int:
    """Count the ledger entries that a real service would have made of it."""
    seen: set[str] = set()
    entries = 0
    for path, body in heard:
        for request_id in REQUEST_ID.findall(body):
            if request_id not in seen:
                seen.add(request_id)
                entries += 2 if path.endswith("/transfer") else 1
    return entries


@pytest.mark.parametrize("load", KINDS)
@pytest.mark.parametrize("generator", ["auto", "own"])
def test_what_is_sent_is_what_is_said(town: Town, load: Load, generator: str) -> None:
    """The entries that a load claims are those that arrive, within what was on its way."""
    tally = send(town, load, generator)

    assert tally.failure == ""
    assert 0 < tally.answered <= len(town.heard)
    assert tally.entries_min <= entries_of(town.heard) <= tally.entries_max
    assert 0 < tally.p50_ms <= tally.p95_ms <= tally.p99_ms


@pytest.mark.parametrize("generator", ["auto", "own"])
def test_request_ids_repeat_only_in_replays(town: Town, generator: str) -> None:
    """One in ten is a request of before, byte for byte; elsewhere no id occurs twice."""
    send(town, Load.REPLAYS, generator)
    replays, town.heard = town.heard, []
    send(town, Load.BULK, generator)

    times = Counter(replays)
    repeated = sum(count - 1 for count in times.values())
    assert 0.05 < repeated / len(replays) < 0.11
    ids = [found for _, body in town.heard for found in REQUEST_ID.findall(body)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("generator", ["auto", "own"])
def test_a_refusal_is_a_failure(town: Town, generator: str) -> None:
    """Any answer that is no 2xx is told."""
    town.status = 503

    assert "no 2xx" in send(town, Load.COLD, generator).failure


def test_an_open_loop_keeps_its_rate(town: Town) -> None:
    """It sends as many as are due, whatever the answers take, and tells how late it was itself."""
    tally = send(town, Load.COLD, "auto", seconds=1, rate=50.0)

    assert tally.failure == ""
    assert tally.answered == len(town.heard) == 50
    assert tally.lateness_p99_ms is not None
    assert tally.seconds >= 1


def test_every_wallet_is_funded_once() -> None:
    """The funding goes through the wallets in order, so that each can pay afterwards."""
    requests = Requests(Traffic("fund", "f", pool=3), "h")

    paths = [requests.next().split(b" ")[1] for _ in range(3)]

    assert paths == [f"/v1/wallets/bench-{number}/deposit".encode() for number in range(3)]
    assert requests.entries == 3


def test_a_load_may_show_a_token() -> None:
    """With an authorization every request bears it, as its own line; without one none does."""
    guarded = Requests(Traffic("deposit", "p", pool=3, authorization="Bearer t"), "h")
    open_to_all = Requests(Traffic("deposit", "p", pool=3), "h")

    assert guarded.next().count(b"\r\nAuthorization: Bearer t\r\n") == 1
    assert b"Authorization" not in open_to_all.next()
    traffic = Traffic("deposit", "p", pool=3, authorization="Bearer t")
    command = wrk.command("wrk", "u", traffic, connections=1, seconds=1, threads=1)
    assert command[command.index("-H") + 1] == "Authorization: Bearer t"
