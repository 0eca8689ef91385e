"""Promises about the audit: one row for every POST, with the status that was really answered."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx

from wallet_api.settings import ApiSettings

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
JSON = {"Content-Type": "application/json"}
BRIM = "92233720368547758.07"
GOOD = b'{"amount":"1","requestId":"k"}'
Look = Callable[[], Awaitable[tuple[int, ...]]]
Builder = Callable[..., Awaitable[str]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
Trace = Callable[[], dict[str, str]]

# Each: method, path, body, headers, status.
REFUSALS = {
    "malformed JSON": ("POST", "/v1/wallets/w/deposit", b"{", JSON, 400),
    "a bad amount": ("POST", "/v1/wallets/w/deposit", b'{"amount":"1.001"}', JSON, 400),
    "a bad wallet id": ("POST", "/v1/wallets/-/deposit", GOOD, JSON, 400),
    "a bad query": ("POST", "/v1/wallets/w/deposit?dry=1", GOOD, JSON, 400),
    "a bad currency": ("POST", "/v1/wallets", b'{"currency":"ABC"}', JSON, 400),
    "no such route": ("POST", "/v1/nothing", GOOD, JSON, 404),
    "a trailing slash": ("POST", "/v1/wallets/w/deposit/", GOOD, JSON, 404),
    "no such wallet": ("POST", "/v1/wallets/nobody/withdraw", GOOD, JSON, 404),
    "a wrong method": ("POST", "/v1/wallets/w/history", GOOD, JSON, 405),
    "PUT": ("PUT", "/v1/wallets/w", GOOD, JSON, 405),
    "PATCH": ("PATCH", "/v1/wallets/w", GOOD, JSON, 405),
    "DELETE": ("DELETE", "/v1/wallets/w", b"", {}, 405),
    "a taken id": ("POST", "/v1/wallets", b'{"id":"w","currency":"EUR"}', JSON, 409),
    "a large body": ("POST", "/v1/wallets/w/deposit", b" " * 65_537, JSON, 413),
    "no media type": ("POST", "/v1/wallets/w/deposit", GOOD, {}, 415),
    "too much": ("POST", "/v1/wallets/w/withdraw", b'{"amount":"999"}', JSON, 422),
    "a key reused": ("POST", "/v1/wallets/w/withdraw", GOOD, JSON, 422),
}


async def test_a_refusal_leaves_one_row(
    api: httpx.AsyncClient, audited: Audited, trace: Trace
) -> None:
    """Whatever is refused, and wherever, is in the audit once, with the status of the answer."""
    await api.post("/v1/wallets/w/deposit", content=GOOD, headers=JSON)

    for why, (method, path, body, headers, status) in REFUSALS.items():
        refused = await api.request(method, path, content=body, headers=headers | trace())
        assert (refused.status_code, await audited(refused)) == (status, [status]), why


async def test_every_outcome_and_repetition_leaves_one_row(
    api: httpx.AsyncClient, a_wallet: Builder, audited: Audited, trace: Trace
) -> None:
    """Done, refused and failed requests and each of their repetitions have a row of their own."""
    wallet_id, other, full = await a_wallet(), await a_wallet("0"), await a_wallet(BRIM)
    path = f"/v1/wallets/{wallet_id}"
    for verb, body, status in [
        ("deposit", {"amount": "1", "requestId": "d"}, 201),
        ("withdraw", {"amount": "1", "requestId": "w"}, 201),
        ("withdraw", {"amount": "999", "requestId": "x"}, 422),
        ("transfer", {"amount": "1", "requestId": "t", "toWalletId": other}, 201),
        ("transfer", {"amount": "1", "requestId": "f", "toWalletId": full}, 422),
        ("transfer", {"amount": "1", "requestId": "n", "toWalletId": "nobody"}, 422),
    ]:
        for _ in range(3):
            answered = await api.post(f"{path}/{verb}", json=body, headers=trace())
            assert answered.status_code == status
            assert await audited(answered) == [status]


async def test_opening_a_wallet_leaves_one_row_each_time(
    api: httpx.AsyncClient, audited: Audited, trace: Trace
) -> None:
    """A wallet that is opened again is audited again."""
    for _ in range(2):
        opened = await api.post("/v1/wallets", json={"id": "w"}, headers=trace())
        assert await audited(opened) == [201]


async def test_reading_leaves_no_row(
    api: httpx.AsyncClient, a_wallet: Builder, audited: Audited, trace: Trace
) -> None:
    """GET is not audited, found or not."""
    wallet_id = await a_wallet()

    for path in (f"/v1/wallets/{wallet_id}", "/v1/wallets", "/v1/wallets/nobody", "/nothing"):
        assert await audited(await api.get(path, headers=trace())) == []


async def test_a_row_tells_the_request(api: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    """A row holds method, url, exact body, headers, address, ids and the time that it took."""
    headers = JSON | {"X-Trace-Id": "one", "User-Agent": "probe", "Idempotency-Key": "k"}
    body = b'{ "amount": 1.50, "metadata": {"b": 1, "a": "\xc3\xa9"} }'

    await api.post("/wallet/w/deposit", content=body, headers=headers)

    row = await sql.fetchrow("SELECT * FROM api_audit")
    kept = json.loads(row["headers"])
    assert (row["method"], row["url"], bytes(row["body"])) == ("POST", "/wallet/w/deposit", body)
    assert (row["wallet_id"], row["request_id"], row["trace_id"]) == ("w", "k", "one")
    assert (row["client_ip"], row["status"], row["principal"]) == ("127.0.0.1", 201, None)
    assert row["duration_us"] > 0
    assert (kept["user-agent"], kept["idempotency-key"]) == ("probe", "k")


async def test_the_row_of_money_commits_with_the_money(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Operation, entry, event and audit row of a deposit come from one transaction, linked."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    transactions = await sql.fetch(
        "SELECT a.xmin::text AS a, o.xmin::text AS o, l.xmin::text AS l, e.xmin::text AS e,"
        " b.xmin::text AS b FROM api_audit a JOIN operations o ON o.audit_id = a.id"
        " JOIN ledger_entries l ON l.audit_id = a.id JOIN events e ON e.audit_id = a.id"
        " JOIN outbox b ON b.event_id = e.id"
    )
    assert len(transactions) == 2  # the wallet's opening and the deposit
    assert len({transaction for row in transactions for transaction in row.values()}) == 1


async def test_no_audit_row_no_money(
    api: httpx.AsyncClient, sql: asyncpg.Connection, books: Look
) -> None:
    """When the audit cannot be written, nothing is: the answer is a fault and no 201."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    before = await books()
    await sql.execute("ALTER TABLE api_audit ADD CONSTRAINT no_more CHECK (false) NOT VALID")

    refused = await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    assert (refused.status_code, refused.json()["code"]) == (500, "internal_error")
    assert await books() == before


async def test_secrets_are_not_kept(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    token: Callable[..., str],
    sql: asyncpg.Connection,
    trace: Trace,
) -> None:
    """Authorization, cookies and unknown headers are named in the audit, their values nowhere."""
    auditor, payments = token(roles=["auditor"]), token(roles=["payments"])
    secrets = {"Cookie": "session=CANARY-1", "X-Api-Key": "CANARY-2"}
    secrets |= {"Proxy-Authorization": "Basic CANARY-3", "X-Forwarded-For": "CANARY-4"}
    path = "/v1/wallets/w"
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)
    async with client_of(settings) as api:
        for bearer, url, body, status, principal in [
            (payments, f"{path}/deposit", GOOD, 201, "alice"),
            (payments, f"{path}/deposit", b"{", 400, "alice"),
            (f"CANARY-{payments}", f"{path}/deposit", GOOD, 401, None),
            (auditor, f"{path}/deposit", GOOD, 403, "alice"),
            (payments, "/v1/wallets/nobody/withdraw", GOOD, 404, "alice"),
            # Refused for its length before anybody asks who sends it.
            (payments, f"{path}/deposit", b" " * 70_000, 413, None),
        ]:
            headers = JSON | secrets | trace() | {"Authorization": f"Bearer {bearer}"}
            answered = await api.post(url, content=body, headers=headers)
            row = await sql.fetchrow(
                "SELECT * FROM api_audit WHERE trace_id = $1", answered.headers["X-Trace-Id"]
            )
            assert (row["status"], row["principal"]) == (status, principal)
            assert answered.status_code == status
            kept = json.loads(row["headers"])
            assert {kept[name.lower()] for name in [*secrets, "Authorization"]} == {"[redacted]"}

    everything = "".join(await sql.fetchval("SELECT array_agg(api_audit::text) FROM api_audit"))
    assert "CANARY" not in everything
    assert not any(part in everything for part in [*auditor.split("."), *payments.split(".")])
