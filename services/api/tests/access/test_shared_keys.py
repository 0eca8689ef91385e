"""Promises about keys that several callers share: the wallet has them, whoever sends them."""

from collections.abc import Awaitable, Callable

import httpx

Bearer = Callable[..., dict[str, str]]
Owned = Callable[..., Awaitable[str]]


async def test_a_key_is_the_wallets_whoever_sends_it(
    guarded: httpx.AsyncClient, bearer: Bearer, owned: Owned
) -> None:
    """Two cashiers with one key mean one deposit; a user meets the keys of its own wallets only."""
    mine = await owned("ada", "a1")
    asked = {"amount": "5", "requestId": "k"}
    tills = [bearer(name, "payments") for name in ("till-a", "till-b")]
    first, second = [
        await guarded.post(f"/v1/wallets/{mine}/deposit", json=asked, headers=till)
        for till in tills
    ]
    stranger = await guarded.get(f"/v1/wallets/{mine}/operations/k", headers=bearer("bob"))

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    now = await guarded.get(f"/v1/wallets/{mine}", headers=tills[0])
    assert now.json()["balance"] == "105.00"
    assert stranger.status_code == 404
