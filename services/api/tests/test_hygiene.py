"""Promises about the headers of every response, and about who may see pages and figures."""

import re
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from wallet_api.app import describe
from wallet_api.settings import ApiSettings

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
PREFLIGHT = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
Configured = Callable[..., ApiSettings]
ClientOf = Callable[[ApiSettings], Any]


def addresses() -> Iterator[str]:
    """Yield every address that there is, and some that are not."""
    for route in describe().routes:
        # A stream would not end.
        if not route.path.endswith("/stream"):
            yield re.sub(r"\{[^}]*\}", "some-id", route.path)
    yield from ("/", "//", "/nothing", "/v1/wallets/%00", "/docs/nothing", "/docs/assets/nothing")


async def test_every_response_has_its_headers(api: httpx.AsyncClient) -> None:
    """Each method at each address: not kept, not guessed at, open to no other site, no banner."""
    for address in addresses():
        for method in METHODS:
            answered = await api.request(method, address, headers={"Origin": PREFLIGHT["Origin"]})
            headers, where = answered.headers, f"{method} {address} {answered.status_code}"
            assert headers["X-Content-Type-Options"] == "nosniff", where
            is_asset = address.startswith("/docs/assets")
            assert (headers.get("Cache-Control") == "no-store") is not is_asset, where
            assert not [name for name in headers if name.startswith("access-control-")], where
            assert "server" not in headers, where
            assert "x-powered-by" not in headers, where
            if headers.get("Content-Type", "").startswith("text/html"):
                assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], where


async def test_no_other_site_may_send_requests(api: httpx.AsyncClient) -> None:
    """A browser's question whether it may is refused at every address."""
    for address in addresses():
        if address != "//":
            refused = await api.request("OPTIONS", address, headers=PREFLIGHT)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_origin_refused")
            assert not [each for each in refused.headers if each.startswith("access-control-")]


async def test_the_page_runs_only_the_scripts_that_it_came_with(api: httpx.AsyncClient) -> None:
    """Its policy names its own script by its digest, and nothing from anywhere else."""
    page = await api.get("/docs")

    policy = dict(
        part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";")
    )
    (script,) = re.findall(r"<script type='text/javascript'>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert page.text.count("<script") == 3
    assert not re.search(r"""\son[a-z]+\s*=\s*["']""", page.text.partition("spec:")[0])


def test_the_server_tells_nothing_of_itself(start_api: Callable[..., Any]) -> None:
    """Neither an answer of ours nor the server's own to a broken request names a program."""
    _, url = start_api()
    at = urlsplit(url)
    for request in (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"BROKEN\r\n\r\n"):
        with socket.create_connection((str(at.hostname), at.port or 0), 5) as connection:
            connection.sendall(request)
            answered = connection.recv(65_536).lower()
        assert answered.startswith(b"http/1.1 ")
        assert not re.search(rb"\r\nserver:|uvicorn|litestar|python", answered)


@pytest.mark.parametrize(
    ("policy", "roles", "more", "status"),
    [
        (None, None, {}, 200),
        (None, None, {"X-Forwarded-For": "127.0.0.1"}, 403),
        (None, None, {"Forwarded": "for=127.0.0.1"}, 403),
        ("open", None, {"X-Forwarded-For": "203.0.113.5"}, 200),
        ("admin", None, {}, 401),
        ("admin", ["payments"], {}, 403),
        ("admin", ["admin"], {}, 200),
        ("admin", ["admin"], {"X-Forwarded-For": "203.0.113.5"}, 200),
    ],
)
async def test_who_may_read_the_figures(
    configured: Configured,
    client_of: ClientOf,
    token: Callable[..., str],
    policy: str | None,
    roles: list[str] | None,
    more: dict[str, str],
    status: int,
) -> None:
    """WALLET_METRICS: this machine, but no proxy of it; whoever administrates; or everybody."""
    given = {} if policy is None else {"WALLET_METRICS": policy}
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET, **given)
    headers = {} if roles is None else {"Authorization": f"Bearer {token(roles=roles)}"}
    async with client_of(settings) as client:
        answered = await client.get("/metrics", headers=headers | more)

    assert answered.status_code == status, answered.text


async def test_strangers_do_not_read_the_figures(
    configured: Configured, client_of: ClientOf
) -> None:
    """Another machine is refused unless it is told otherwise."""
    async with client_of(configured()) as client:
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        transport.client = ("203.0.113.5", 40_000)
        refused = await client.get("/metrics")

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
