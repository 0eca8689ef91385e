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
    assert (first.json() | now.json(), again.json() | now.json()) == (first.json(), again.json())
    assert again.json()["requestId"] == "k1"
    assert (now.json()["status"], now.json()["version"]) == ("frozen", 3)
    assert [await audited(each) for each in (first, again)] == [[201], [201]]


@pytest.mark.parametrize(
    ("verb", "body", "after"),
    [
        ("freeze", FREEZE, "unfreeze"),
        ("unfreeze", {"reason": "settled"}, "freeze"),
        ("close", {}, "deposit"),
    ],
)
async def test_a_late_repetition_undoes_nothing(
    api: httpx.AsyncClient, a_wallet: AWallet, verb: str, body: dict[str, str], after: str
) -> None:
    """Whatever came since: the first answer, byte for byte, and the wallet stays as it is."""
    address = f"/v1/wallets/{await a_wallet()}"
    asked = body | {"requestId": "k1"}

    first = await api.post(f"{address}/{verb}", json=asked)
    await api.post(f"{address}/{after}", json=FREEZE if after == "freeze" else {})
    before = (await api.get(address)).json()
    again = await api.post(f"{address}/{verb}", json=asked)
    recorded = (await api.get(f"{address}/operations/k1")).json()

    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert (first.headers.get("Idempotent-Replay"), again.headers["Idempotent-Replay"]) == (
        *(None, "true"),
    )
    assert (await api.get(address)).json() == before
    assert (recorded["type"], recorded["response"]) == (verb, first.json())


async def test_a_key_means_one_standing(api: httpx.AsyncClient, a_wallet: AWallet) -> None:
    """Another direction, reason or verb under it is refused, and a refusal is for ever, too."""
    address = f"/v1/wallets/{await a_wallet()}"
    await api.post(f"{address}/deposit", json={"amount": "1.00"})
    key = {"Idempotency-Key": "k1"}
    full = await api.post(f"{address}/close", headers={"Idempotency-Key": "k2"}, json={})
    await api.post(f"{address}/freeze", headers=key, json=FREEZE)

    way = await api.post(f"{address}/freeze", headers=key, json=FREEZE | {"direction": "in"})
    why = await api.post(f"{address}/freeze", headers=key, json=FREEZE | {"reason": "else"})
    verb = await api.post(f"{address}/unfreeze", headers=key, json={})

    assert {each.json()["code"] for each in (way, why, verb)} == {"idempotency_key_reused"}
    told = [[error["field"] for error in each.json()["errors"]] for each in (way, why, verb)]
    assert told == [["direction"], ["reason"], ["direction", "reason", "type"]]
    await api.post(f"{address}/unfreeze", json={})
    await api.post(f"{address}/withdraw", json={"amount": "1.00"})
    again = await api.post(f"{address}/close", headers={"Idempotency-Key": "k2"}, json={})
    assert (full.status_code, full.content) == (again.status_code, again.content)
    assert full.json()["code"] == "wallet_not_empty"


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
