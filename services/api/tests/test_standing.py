"""This module is where wallets are frozen, opened again and closed over HTTP."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
FREEZE = {"direction": "out", "reason": "a court says so"}


async def test_what_is_asked_twice_is_answered_twice_and_done_once(
    api: httpx.AsyncClient, a_wallet: AWallet, audited: Audited
) -> None:
    """The wallet as it stands is the answer; each request leaves its audit row."""
    address = f"/v1/wallets/{await a_wallet()}"

    first = await api.post(f"{address}/freeze", json=FREEZE)
    again = await api.post(f"{address}/freeze", json=FREEZE | {"requestId": "k1"})
    now = await api.get(address)

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() == now.json()
    assert (now.json()["status"], now.json()["version"]) == ("frozen", 3)
    assert [await audited(each) for each in (first, again)] == [[201], [201]]


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("freeze", {"direction": "up", "reason": "x"}, "direction"),
        ("freeze", {"direction": "in"}, "reason"),
        ("freeze", {"direction": "in", "reason": ""}, "reason"),
        ("freeze", {"reason": "x"}, "direction"),
        ("unfreeze", {"status": "active"}, "status"),
        ("close", {"requestId": "two words"}, "requestId"),
    ],
)
async def test_bad_bodies_are_told_by_their_field(
    api: httpx.AsyncClient,
    a_wallet: AWallet,
    books: Look,
    verb: str,
    body: dict[str, str],
    field: str,
) -> None:
    """400, and nothing changes."""
    wallet_id = await a_wallet()
    before = await books()

    answer = await api.post(f"/v1/wallets/{wallet_id}/{verb}", json=body)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await books() == before


@pytest.mark.parametrize(("verb", "body"), [("freeze", FREEZE), ("unfreeze", {}), ("close", {})])
async def test_an_unknown_wallet_is_a_404(
    api: httpx.AsyncClient, audited: Audited, verb: str, body: dict[str, str]
) -> None:
    """There is nothing to freeze, to open or to close; the audit has the request."""
    answer = await api.post(f"/v1/wallets/nobody/{verb}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (404, "wallet_not_found")
    assert await audited(answer) == [404]
