"""This module is where the tests of who may do what get an application that asks for tokens."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from wallet_api.settings import ApiSettings

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"


@pytest.fixture
def secured() -> dict[str, str]:
    """Return the settings of an API that asks for the tokens that `bearer` makes."""
    return {"WALLET_AUTH": "jwt", "WALLET_JWT_SECRET": SECRET}


@pytest.fixture
async def guarded(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    secured: dict[str, str],
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that asks for tokens."""
    async with client_of(configured(**secured)) as client:
        yield client


@pytest.fixture
def bearer(token: Callable[..., str]) -> Callable[..., dict[str, str]]:
    """Return a maker of headers with a token: for whom, and with which one role."""
    return lambda sub, role="user", **claims: {
        "Authorization": f"Bearer {token(sub=sub, roles=[role], **claims)}"
    }


@pytest.fixture
def owned(
    guarded: httpx.AsyncClient, bearer: Callable[..., dict[str, str]]
) -> Callable[..., Awaitable[str]]:
    """Return a builder of wallets of an owner, opened by the owner and filled by a cashier."""

    async def build(owner: str, wallet_id: str, balance: str = "100.00", **body: object) -> str:
        asked = {"id": wallet_id, **body}
        opened = await guarded.post("/v1/wallets", json=asked, headers=bearer(owner))
        assert opened.status_code == 201, opened.text
        assert opened.json()["ownerId"] == owner
        filled = await guarded.post(
            f"/v1/wallets/{wallet_id}/deposit",
            json={"amount": balance, "requestId": "first"},
            headers=bearer("till", "payments"),
        )
        assert filled.status_code == 201, filled.text
        return wallet_id

    return build
