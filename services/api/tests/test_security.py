"""Promises about tokens: who is let in, who is told to show one, and who may do what."""

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from wallet_api import token as minting
from wallet_api.settings import ApiSettings

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
DEPOSIT = "/v1/wallets/w/deposit"
Look = Callable[[], Awaitable[tuple[int, ...]]]
Mint = Callable[..., str]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


@pytest.fixture
async def guarded(
    configured: Callable[..., ApiSettings], client_of: Callable[[ApiSettings], Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that asks for tokens."""
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def strangers(mint: Mint) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return headers that prove nothing, by what is wrong with them."""
    good, now = mint(), int(time.time())
    head, body, signature = good.split(".")
    claims = {"iss": "wallet", "aud": "wallet", "sub": "mallory", "roles": ["admin"]}
    claims["exp"] = str(now + 600)

    def one(value: str | bytes) -> list[tuple[bytes, bytes]]:
        return [(b"Authorization", value if isinstance(value, bytes) else value.encode())]

    return {
        "nothing": [],
        "an empty header": one(""),
        "no scheme": one(good),
        "Basic with a good token": one(f"Basic {good}"),
        "no token": one("Bearer "),
        "garbage": one("Bearer garbage"),
        "much garbage": one("Bearer " + "A" * 10_000),
        "deep garbage": one(f"Bearer {base64.urlsafe_b64encode(b'[' * 9_000).decode()}.e30.x"),
        "raw bytes": one(b"Bearer \xff\xfe"),
        "two headers": [*one(f"Bearer {good}"), *one(f"Bearer {good}")],
        "another secret": one(f"Bearer {mint(secret='x' * 40)}"),
        "another algorithm": one(f"Bearer {mint(algorithm='HS512')}"),
        "alg none": one(f"Bearer {part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."),
        "alg nOnE": one(f"Bearer {part({'alg': 'nOnE', 'typ': 'JWT'})}.{part(claims)}."),
        "no signature": one(f"Bearer {head}.{body}."),
        "another body": one(f"Bearer {head}.{part(claims)}.{signature}"),
        "expired": one(f"Bearer {mint(exp=now - 61)}"),
        "not yet valid": one(f"Bearer {mint(nbf=now + 600)}"),
        "no expiry": one(f"Bearer {mint(exp=None)}"),
        "expiry in words": one(f"Bearer {mint(exp='tomorrow')}"),
        "expiry as digits": one(f"Bearer {mint(exp=str(now + 600))}"),
        "expiry without end": one(f"Bearer {mint(exp=10**18)}"),
        "expiry before time": one(f"Bearer {mint(exp=-1)}"),
        "expiry that is true": one(f"Bearer {mint(exp=True)}"),
        "made in the future": one(f"Bearer {mint(iat=now + 600)}"),
        "a time in words": one(f"Bearer {mint(nbf='today')}"),
        "a refresh token": one(f"Bearer {mint(typ='Refresh')}"),
        "an identity token": one(f"Bearer {mint(token_use='id')}"),
        "an identity token by its claims": one(f"Bearer {mint(nonce='n', at_hash='h')}"),
        "no subject": one(f"Bearer {mint(sub=None)}"),
        "a subject that cannot be stored": one(f"Bearer {mint(sub='a' + chr(0) + 'b')}"),
        "an endless subject": one(f"Bearer {mint(sub='a' * 257)}"),
        "an empty subject": one(f"Bearer {mint(sub='')}"),
        "another audience": one(f"Bearer {mint(aud='shop')}"),
        "no audience": one(f"Bearer {mint(aud=None)}"),
        "another issuer": one(f"Bearer {mint(iss='shop')}"),
        "no issuer": one(f"Bearer {mint(iss=None)}"),
    }


async def test_who_proves_nothing_is_asked_for_a_token(
    guarded: httpx.AsyncClient, token: Mint, audited: Audited, books: Look
) -> None:
    """Every way to come without a valid bearer token is a 401 that says what is wanted."""
    before = await books()

    for why, headers in strangers(token).items():
        wrote = await guarded.post(DEPOSIT, json={"amount": "1"}, headers=headers)
        read = await guarded.get("/v1/wallets", headers=headers)
        for answered in (wrote, read):
            assert (answered.status_code, answered.json()["code"]) == (401, "unauthorized"), why
            challenge = answered.headers["WWW-Authenticate"]
            assert challenge.startswith("Bearer"), why
            has_token = len(headers) == 1 and headers[0][1][7:] and headers[0][1][:6] == b"Bearer"
            assert ('error="invalid_token"' in challenge) == bool(has_token), why
            assert answered.headers["X-Trace-Id"], why
        assert await audited(wrote) == [401], why
    assert await books() == before


async def test_a_token_in_the_query_is_none(guarded: httpx.AsyncClient, token: Mint) -> None:
    """A token counts in its header alone."""
    answered = await guarded.get("/v1/wallets", params={"access_token": token()})

    assert answered.status_code == 401


async def test_roles_say_what_one_may_do(
    guarded: httpx.AsyncClient, token: Mint, audited: Audited
) -> None:
    """Payments and admin move all, an auditor reads, a user reads its own, others get a 403."""
    rights: list[tuple[object, bool, bool]] = [
        (["payments"], True, True),
        (["admin"], True, True),
        (["auditor"], True, False),
        (["auditor", "payments"], True, True),
        (["user"], True, False),
        (["user", "auditor"], True, False),
        (["emperor"], False, False),
        (["payments", "emperor"], False, False),
        (["Payments"], False, False),
        ([], False, False),
        (None, False, False),
        ("payments", False, False),
        ([["payments"]], False, False),
        ({"payments": True}, False, False),
    ]

    for roles, may_read, may_write in rights:
        headers = bearer(token(roles=roles))
        wrote = await guarded.post(DEPOSIT, json={"amount": "1"}, headers=headers)
        read = await guarded.get("/v1/wallets", headers=headers)
        assert wrote.status_code == (201 if may_write else 403), roles
        assert read.status_code == (200 if may_read else 403), roles
        assert await audited(wrote) == [wrote.status_code]
        assert may_write or wrote.json()["code"] == "forbidden"


async def test_the_token_is_looked_at_before_the_body(
    guarded: httpx.AsyncClient, token: Mint
) -> None:
    """A stranger learns nothing about what a body or a query should look like."""
    asked: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "text/plain"}}

    assert (await guarded.post(f"{DEPOSIT}?x=1", **asked)).status_code == 401
    asked["headers"] |= bearer(token(roles=["auditor"]))
    assert (await guarded.post(f"{DEPOSIT}?x=1", **asked)).status_code == 403


async def test_probes_and_documents_are_open(guarded: httpx.AsyncClient) -> None:
    """Health and the documentation need no token."""
    for path in ("/healthz", "/readyz", "/docs", "/docs/openapi.json"):
        assert (await guarded.get(path)).status_code == 200


async def test_the_leeway_is_what_is_set(guarded: httpx.AsyncClient, token: Mint) -> None:
    """A token that expired a moment ago still passes, within WALLET_JWT_LEEWAY_SECONDS."""
    headers = bearer(token(exp=int(time.time()) - 5))

    assert (await guarded.get("/v1/wallets", headers=headers)).status_code == 200


async def test_minted_tokens_are_accepted(guarded: httpx.AsyncClient) -> None:
    """What the minter of the same environment gives out opens the door, for its role."""
    headers = bearer(minting.mint("carol", ["auditor"], 60))

    assert (await guarded.get("/v1/wallets", headers=headers)).status_code == 200
    assert (await guarded.post("/v1/wallets", json={}, headers=headers)).status_code == 403
