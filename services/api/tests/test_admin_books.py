"""This module is where an administrator has the books proved over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api import admin_books
from wallet_api.settings import ApiSettings
from wallet_db_orm import proving
from wallet_db_orm.database import Database

VERIFY = "/v1/admin/verify"
SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
Mint = Callable[..., str]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


async def test_the_report_is_the_answer(
    api: httpx.AsyncClient, sql: asyncpg.Connection, audited: Audited
) -> None:
    """Every invariant with what it looked at; the proof is kept, and so is the request."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    answered = await api.post(VERIFY)
    report: dict[str, Any] = answered.json()
    again = (await api.post(VERIFY, json={"incremental": True})).json()

    assert (answered.status_code, report["ok"], report["mode"]) == (201, True, "whole")
    assert {each["id"]: each["checked"] for each in report["invariants"]}["M3"] == 1
    assert all(each["violations"] == [] for each in report["invariants"])
    assert (again["ok"], again["mode"]) == (True, "incremental")
    assert await audited(answered) == [201]
    kept = await sql.fetch("SELECT mode, ok FROM proofs ORDER BY id")
    assert [tuple(row) for row in kept] == [("whole", True), ("incremental", True)]


async def test_a_violation_is_reported_with_its_wallet(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """A proof that found something is an answer like any other, and the figures tell it."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    none = (await api.get("/metrics")).text
    await api.post(VERIFY)
    good = (await api.get("/metrics")).text
    await sql.execute("UPDATE wallets SET balance_minor = balance_minor + 1")
    report = (await api.post(VERIFY)).json()
    bad = (await api.get("/metrics")).text

    broken = {each["id"]: each["violations"] for each in report["invariants"] if each["violations"]}
    assert report["ok"] is False
    assert broken["M3"][0]["walletId"] == "w"
    assert "wallet_books_ok" not in none
    assert "wallet_books_ok 1.0" in good
    assert "wallet_books_ok 0.0" in bad
    assert "wallet_books_proved_timestamp_seconds 1" in bad


async def test_one_at_a_time(api: httpx.AsyncClient, database_url: str) -> None:
    """While somebody proves the books, another request is told so."""
    database = Database(database_url, application_name="wallet-test")
    async with proving.alone(database.primary):
        answered = await api.post(VERIFY)
    await database.dispose()

    assert (answered.status_code, answered.json()["code"]) == (409, "proof_running")


async def test_a_request_does_not_wait_for_ever(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes too long is given up, and the next request may prove them."""
    monkeypatch.setattr(admin_books, "PATIENCE_S", 0.0)
    late = await api.post(VERIFY)
    monkeypatch.undo()

    assert (late.status_code, late.json()["code"]) == (503, "proof_too_long")
    assert (await api.post(VERIFY)).status_code == 201


async def test_only_administrators_may_ask(
    configured: Callable[..., ApiSettings], client_of: Callable[[ApiSettings], Any], token: Mint
) -> None:
    """Payments and auditors get a 403, a stranger a 401."""
    statuses = {}
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)) as guarded:
        for role in ("user", "payments", "auditor", "admin"):
            bearer = {"Authorization": f"Bearer {token(roles=[role])}"}
            statuses[role] = (await guarded.post(VERIFY, headers=bearer)).status_code
        statuses["nobody"] = (await guarded.post(VERIFY)).status_code

    assert statuses == {
        "user": 403,
        "payments": 403,
        "auditor": 403,
        "admin": 201,
        "nobody": 401,
    }


@pytest.mark.parametrize(
    "body", [b"[]", b'{"all":true}', b'{"incremental":1}', b"{", b"x" * 70_000]
)
async def test_bad_bodies_prove_nothing(
    api: httpx.AsyncClient, sql: asyncpg.Connection, body: bytes
) -> None:
    """Unknown fields, other types and what is no JSON are refused before anything is read."""
    answered = await api.post(VERIFY, content=body, headers={"Content-Type": "application/json"})

    assert answered.status_code in {400, 413}
    assert await sql.fetchval("SELECT count(*) FROM proofs") == 0


@pytest.mark.parametrize(
    "said",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_what_is_said_to_be_no_json_proves_nothing(
    api: httpx.AsyncClient, sql: asyncpg.Connection, said: dict[str, str], body: bytes
) -> None:
    """A page of another site can send text, and nothing happens; no body needs no type."""
    refused = await api.post(VERIFY, content=body, headers=said)

    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    assert await sql.fetchval("SELECT count(*) FROM proofs") == 0
