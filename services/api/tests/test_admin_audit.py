"""This module is where an administrator finds in the audit what was asked, page by page."""

from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api.settings import ApiSettings
from wallet_db_orm import audit_log
from wallet_db_orm.models import api_audit

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
AUDIT = "/v1/admin/audit"


@pytest.fixture
async def asked(api: httpx.AsyncClient) -> list[str]:
    """Ask for six things, each with its own trace id; return these, the newest first."""
    traces = []
    for number, (path, body) in enumerate(
        [
            ("/v1/wallets/ada/deposit", {"amount": "5", "requestId": "d-1"}),
            ("/v1/wallets/ada/deposit", {"amount": "5", "requestId": "d-1"}),
            ("/v1/wallets/ada/withdraw", {"amount": "99", "requestId": "w-1"}),
            ("/v1/wallets/bob/deposit", {"amount": "5"}),
            ("/v1/wallets/bob/deposit", {"amount": "x"}),
            ("/v1/nothing", {}),
        ]
    ):
        traces.append(f"audit-{number}")
        await api.post(path, json=body, headers={"X-Trace-Id": traces[-1]})
    return traces[::-1]


async def found(api: httpx.AsyncClient, **filters: str | int) -> list[str]:
    """Return the trace ids of all pages."""
    traces: list[str] = []
    cursor: dict[str, str | int] = {}
    while True:
        answered = await api.get(AUDIT, params=filters | cursor)
        assert answered.status_code == 200, answered.text
        page = answered.json()
        traces += [item["traceId"] for item in page["items"]]
        if page["nextCursor"] is None:
            return traces
        cursor = {"cursor": page["nextCursor"]}


@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_pages_are_newest_first_without_gap(
    api: httpx.AsyncClient, asked: list[str], limit: int
) -> None:
    """Whatever the size of a page, all rows come once, the newest first."""
    assert await found(api, limit=limit) == asked


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"walletId": "ada"}, [2, 1, 0]),
        ({"walletId": "bob", "status": 201}, [3]),
        ({"status": 404}, [5]),
        ({"method": "POST", "requestId": "d-1"}, [1, 0]),
        ({"method": "PUT"}, []),
        ({"traceId": "audit-4"}, [4]),
        ({"principal": "alice"}, []),
        ({"to": "2026-01-01T00:00:00Z"}, []),
        ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T00:00:00Z"}, [5, 4, 3, 2, 1, 0]),
    ],
)
@pytest.mark.parametrize("walk", [2, 10_000])
async def test_filters_find_what_they_name(
    api: httpx.AsyncClient,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, str | int],
    numbers: list[int],
    walk: int,
) -> None:
    """Also when a page looks at fewer rows than there are: the next one goes on there."""
    monkeypatch.setattr(audit_log, "WALK_MAX", walk)

    assert await found(api, limit=2, **filters) == [f"audit-{number}" for number in numbers]


async def test_a_time_counts_by_the_arrival(api: httpx.AsyncClient, asked: list[str]) -> None:
    """From a row's time on, and before it, are two parts of the whole."""
    rows = (await api.get(AUDIT)).json()["items"]
    middle = rows[2]["recordedAt"]

    since, until = await found(api, **{"from": middle}), await found(api, to=middle)

    assert since + until == asked
    assert {rows[0]["traceId"], rows[1]["traceId"]} <= set(since)


async def test_an_item_tells_the_request(api: httpx.AsyncClient, asked: list[str]) -> None:
    """All that the audit keeps, and nothing that it does not."""
    (item,) = (await api.get(AUDIT, params={"traceId": "audit-2"})).json()["items"]

    assert item["url"] == "/v1/wallets/ada/withdraw"
    assert (item["status"], item["walletId"], item["requestId"]) == (422, "ada", "w-1")
    assert item["body"] == '{"amount":"99","requestId":"w-1"}'
    assert item["headers"]["x-trace-id"] == "audit-2"
    assert len(item) == len(api_audit.columns) + 2


async def test_a_body_that_is_no_text_is_packed(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """A row of before bodies were looked through may hold any bytes."""
    await sql.execute(
        "INSERT INTO api_audit VALUES (uuidv7(), now(), 'POST', '/', '\\xff', '{}', NULL, 201,"
        " NULL, NULL, NULL, 't', 1)"
    )

    (item,) = (await api.get(AUDIT)).json()["items"]

    assert (item["body"], item["bodyBase64"]) == (None, "/w==")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("repeat('x', 65536)", "x" * 65_536),
        ("repeat('x', 4000000)", "x" * 65_536),
        ("'x' || repeat('\u00e9', 40000)", "x" + "\u00e9" * 32_767),
    ],
)
async def test_a_big_body_is_shown_in_part(
    api: httpx.AsyncClient, sql: asyncpg.Connection, stored: str, shown: str
) -> None:
    """A page stays small whatever was sent, and says how much there is; no character is halved."""
    await sql.execute(
        f"INSERT INTO api_audit SELECT uuidv7(), now(), 'POST', '/', convert_to({stored}, 'UTF8'),"
        " '{}', NULL, 201, NULL, NULL, NULL, 't', 1"
    )

    (item,) = (await api.get(AUDIT)).json()["items"]

    assert (item["body"], item["bodyBase64"]) == (shown, None)
    assert item["bodyBytes"] == await sql.fetchval("SELECT octet_length(body) FROM api_audit")


@pytest.mark.parametrize(
    "query",
    [
        *(
            "status=99",
            "status=x",
            "status=600",
            "status=200.0",
            "method=post",
            "from=yesterday",
            "limit=0",
        ),
        *("limit=201", "principal=", "principal=%00", "walletId=-", "traceId=a%20b", "x=1"),
        *("requestId=a%20b", "cursor=abc", "status=201&status=404"),
    ],
)
async def test_a_bad_filter_is_refused(api: httpx.AsyncClient, query: str) -> None:
    """Nothing is guessed at."""
    refused = await api.get(f"{AUDIT}?{query}")

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("requestId=a%20b", "requestId: must be 1 to 128 printable ASCII"),
        ("principal=%00", "principal: must be 1 to 256 characters"),
        ("method=post", "method: must be 1 to 16 capital letters"),
        ("status=200.0", "status: must be a number from 100 to 599"),
    ],
)
async def test_a_bad_filter_is_told_by_its_name_and_rule(
    api: httpx.AsyncClient, query: str, detail: str
) -> None:
    """The caller reads its own spelling, and what that filter may be."""
    refused = await api.get(f"{AUDIT}?{query}")

    assert refused.json()["detail"].startswith(detail)


async def test_a_cursor_belongs_to_its_filters(api: httpx.AsyncClient, asked: list[str]) -> None:
    """Changed in any character, or with other filters, it is refused."""
    cursor = (await api.get(AUDIT, params={"limit": 1})).json()["nextCursor"]

    for other in (f"{AUDIT}?walletId=ada&cursor={cursor}", f"{AUDIT}?cursor={cursor[:-1]}"):
        assert (await api.get(other)).status_code == 400


async def test_only_administrators_read_the_audit(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    token: Callable[..., str],
) -> None:
    """Nobody else, whatever else they may."""
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)
    async with client_of(settings) as client:
        for roles, status in [(["admin"], 200), (["payments"], 403), (["auditor"], 403)]:
            headers = {"Authorization": f"Bearer {token(roles=roles)}"}
            assert (await client.get(AUDIT, headers=headers)).status_code == status
        assert (await client.get(AUDIT)).status_code == 401
