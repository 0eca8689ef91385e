"""This module is where operations are taken back over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


async def done(api: httpx.AsyncClient, address: str, **body: str) -> dict[str, Any]:
    """Return the answer of a write that must succeed."""
    answer = await api.post(address, json=body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_repetition_has_the_same_bytes(
    api: httpx.AsyncClient, a_wallet: AWallet, audited: Audited
) -> None:
    """Success and refusal alike; another amount under the key is told by its field."""
    wallet_id = await a_wallet("0")
    path = f"/v1/wallets/{wallet_id}/deposit"
    deposit = await done(api, path, amount="10.00", reference="order 17")
    address = f"/v1/operations/{deposit['operationId']}/reverse"

    first = await api.post(address, json={"amount": "4.00", "requestId": "k1"})
    again = await api.post(address, json={"amount": "4", "requestId": "k1"})
    other = await api.post(address, json={"amount": "5.00", "requestId": "k1"})
    more = await api.post(address, json={"amount": "6.01", "requestId": "k2"})
    more_again = await api.post(address, json={"amount": "6.01", "requestId": "k2"})
    recorded = await api.get(f"/v1/wallets/{wallet_id}/operations/k1")
    ledger = await api.get(f"/v1/wallets/{wallet_id}/ledger")

    assert {each["reference"] for each in ledger.json()["items"]} == {"order 17"}
    assert (first.status_code, first.json()["balance"]) == (201, "6.00")
    assert (again.content, again.headers["Idempotent-Replay"]) == (first.content, "true")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (more.status_code, more.json()["code"]) == (422, "reversal_exceeds_original")
    assert more.json()["instance"] == address
    assert (more_again.content, more_again.headers["Idempotent-Replay"]) == (more.content, "true")
    assert (recorded.json()["type"], recorded.json()["response"]) == (
        "deposit_reversal",
        first.json(),
    )
    assert [await audited(each) for each in (first, more)] == [[201], [422]]


async def test_fifty_reversals_of_a_transfer_over_http_are_one(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """One has moved it, 49 are told that nothing is left."""
    one, two = await a_wallet(), await a_wallet("0")
    moved = await done(api, f"/v1/wallets/{one}/transfer", toWalletId=two, amount="60.00")

    answers = await asyncio.gather(
        *(api.post(f"/v1/operations/{moved['operationId']}/reverse", json={}) for _ in range(50))
    )

    codes = [each.json().get("code", each.status_code) for each in answers]
    assert (codes.count(201), codes.count("already_reversed")) == (1, 49)
    balances = [(await api.get(f"/v1/wallets/{each}")).json()["balance"] for each in (one, two)]
    assert balances == ["100.00", "0.00"]


@pytest.mark.parametrize("kind", ["hold", "reversal", "refused", "settled", "credit"])
async def test_what_moved_nothing_that_can_go_back_is_refused(
    api: httpx.AsyncClient,
    sql: asyncpg.Connection,
    a_wallet: AWallet,
    books: Look,
    kind: str,
) -> None:
    """422, and nothing changes."""
    one, two = await a_wallet(), await a_wallet("0")
    if kind == "hold":
        done_id = (await done(api, f"/v1/wallets/{one}/holds", amount="1.00"))["operationId"]
    elif kind == "reversal":
        first = await done(api, f"/v1/wallets/{one}/withdraw", amount="1.00")
        back = await done(api, f"/v1/operations/{first['operationId']}/reverse")
        done_id = back["operationId"]
    elif kind == "refused":
        await api.post(f"/v1/wallets/{one}/withdraw", json={"amount": "200", "requestId": "k1"})
        recorded = await api.get(f"/v1/wallets/{one}/operations/k1")
        done_id = recorded.json()["operationId"]
    else:
        await done(api, f"/v1/wallets/{one}/transfer", toWalletId=two, amount="1.00")
        done_id = await sql.fetchval(
            "SELECT operation_id FROM operations WHERE wallet_id = $1 AND request_id LIKE $2",
            *(two, "credit %"),
        )
        if kind == "settled":
            await sql.execute("ALTER TABLE operations DISABLE TRIGGER ALL")
            foreign = "UPDATE operations SET request_id = 'transaction x' WHERE operation_id = $1"
            await sql.execute(foreign, done_id)
    before = await books()

    answer = await api.post(f"/v1/operations/{done_id}/reverse", json={})

    assert (answer.status_code, answer.json()["code"]) == (422, "not_reversible")
    assert await books() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.001"}, "amount"),
        ({"reason": "two\nlines"}, "reason"),
        ({"force": "true"}, "force"),
    ],
)
async def test_bad_bodies_are_told_by_their_field(
    api: httpx.AsyncClient, a_wallet: AWallet, books: Look, body: dict[str, str], field: str
) -> None:
    """400, the field, and nothing changes."""
    deposit = await done(api, f"/v1/wallets/{await a_wallet()}/deposit", amount="10.00")
    before = await books()

    answer = await api.post(f"/v1/operations/{deposit['operationId']}/reverse", json=body)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await books() == before


async def test_force_lets_a_wallet_owe_and_no_more_leave_it(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """A deposit that was spent is taken back; without a key of its own the retry repeats it."""
    wallet_id = await a_wallet("0")
    address = f"/v1/wallets/{wallet_id}"
    deposit = await done(api, f"{address}/deposit", amount="10.00")
    await done(api, f"{address}/withdraw", amount="9.00")
    reverse = f"/v1/operations/{deposit['operationId']}/reverse"

    refused = await api.post(reverse, json={})
    dry = await api.post(f"{reverse}?dryRun=true", json={"force": True})
    forced = await api.post(reverse, json={"force": True, "requestId": "k1"})
    again = await api.post(reverse, json={"force": True, "requestId": "k1"})
    gentle = await api.post(reverse, json={"requestId": "k1"})
    spent = await api.post(f"{address}/withdraw", json={"amount": "0.01"})
    paid = await done(api, f"{address}/deposit", amount="9.00")
    entries = (await api.get(f"{address}/ledger")).json()["items"]

    assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
    assert (dry.status_code, dry.json()["balance"]) == (200, "-9.00")
    assert (forced.status_code, forced.json()["balance"]) == (201, "-9.00")
    assert again.content == forced.content
    assert (gentle.status_code, gentle.json()["code"]) == (422, "idempotency_key_reused")
    assert [each["field"] for each in gentle.json()["errors"]] == ["force"]
    assert (spent.status_code, spent.json()["available"]) == (422, "-9.00")
    assert paid["balance"] == "0.00"
    assert [each["status"] for each in entries] == [
        "CONFIRMED",
        "CONFIRMED",
        "CONFIRMED",
        "REVERSED",
    ]


@pytest.mark.parametrize("kind", ["deposit", "withdraw", "transfer", "received"])
async def test_nothing_comes_back_on_a_closed_wallet(
    api: httpx.AsyncClient, a_wallet: AWallet, books: Look, kind: str
) -> None:
    """It could not leave any more; not even force moves it. Only the refusal is remembered."""
    wallet_id, other = await a_wallet("0"), await a_wallet("10")
    if kind == "received":
        body = {"toWalletId": wallet_id, "amount": "5.00"}
        moved = await done(api, f"/v1/wallets/{other}/transfer", **body)
        await done(api, f"/v1/wallets/{wallet_id}/withdraw", amount="5.00")
    else:
        moved = await done(api, f"/v1/wallets/{wallet_id}/deposit", amount="5.00")
        verb = "transfer" if kind == "transfer" else "withdraw"
        recipient = {"toWalletId": other} if kind == "transfer" else {}
        gone = await done(api, f"/v1/wallets/{wallet_id}/{verb}", amount="5.00", **recipient)
        moved = moved if kind == "deposit" else gone
    await done(api, f"/v1/wallets/{wallet_id}/close")
    entries, operations, *others = await books()

    answer = await api.post(f"/v1/operations/{moved['operationId']}/reverse", json={"force": True})

    assert (answer.status_code, answer.json()["code"]) == (422, "wallet_closed")
    assert await books() == (entries, operations + 1, *others)


async def test_a_reversal_and_a_closing_see_each_other(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """Forty times both at once: one of them is refused, or the money is there and gone again."""
    payer = await a_wallet("0")

    async def both() -> tuple[int, int, str, str]:
        closing = await a_wallet("5.00")
        body = {"toWalletId": payer, "amount": "5.00"}
        moved = await done(api, f"/v1/wallets/{closing}/transfer", **body)
        back, closed = await asyncio.gather(
            api.post(f"/v1/operations/{moved['operationId']}/reverse", json={}),
            api.post(f"/v1/wallets/{closing}/close", json={}),
        )
        told = (await api.get(f"/v1/wallets/{closing}")).json()
        return back.status_code, closed.status_code, told["status"], told["balance"]

    came = {await both() for _ in range(40)}

    assert came <= {(201, 422, "active", "5.00"), (422, 201, "closed", "0.00")}
