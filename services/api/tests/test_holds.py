"""This module is where holds are placed, captured, released and read over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

Place = Callable[..., Awaitable[dict[str, Any]]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
AWallet = Callable[..., Awaitable[str]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


@pytest.fixture
async def wallet_id(a_wallet: AWallet) -> str:
    """Return the id of a wallet with 100.00."""
    return await a_wallet()


@pytest.fixture
def place(api: httpx.AsyncClient, wallet_id: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return how to place a hold that must succeed."""

    async def placed(amount: str = "30.00", **more: str) -> dict[str, Any]:
        answer = await api.post(f"/v1/wallets/{wallet_id}/holds", json={"amount": amount} | more)
        assert answer.status_code == 201, answer.text
        hold: dict[str, Any] = answer.json()
        return hold

    return placed


async def test_a_hold_from_its_beginning_to_its_end(
    api: httpx.AsyncClient, wallet_id: str, place: Place
) -> None:
    """Placed, captured in parts, released: each answer has the hold and its wallet's money."""
    end = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)
    hold = await place(requestId="order-17", reference="order 17", expiresAt=end.isoformat())
    address = f"/v1/holds/{hold['holdId']}"

    part = await api.post(f"{address}/capture", json={"amount": "12.50", "requestId": "c1"})
    rest = await api.post(f"{address}/release", json={})
    read = await api.get(address)
    ledger = await api.get(f"/v1/wallets/{wallet_id}/ledger", params={"type": "hold_capture"})
    wallet = await api.get(f"/v1/wallets/{wallet_id}")

    of_the_hold = {"amount": "30.00", "captured": "0.00", "released": "0.00", "remaining": "30.00"}
    of_its_wallet = {"balance": "100.00", "held": "30.00", "available": "70.00"}
    assert hold == {
        "holdId": hold["holdId"],
        "operationId": hold["holdId"],
        "walletId": wallet_id,
        "currency": "USD",
        "status": "open",
        "expiresAt": end.isoformat().replace("+00:00", "Z"),
        "requestId": "order-17",
        "transferId": None,
        **(of_the_hold | of_its_wallet),
    }
    assert part.status_code == 201
    assert part.json() == hold | {
        "captured": "12.50",
        "remaining": "17.50",
        "requestId": "c1",
        "operationId": part.json()["operationId"],
        "balance": "87.50",
        "held": "17.50",
    }
    assert rest.json()["status"] == "released"
    assert read.json() == rest.json() | {"requestId": "order-17", "operationId": hold["holdId"]}
    (entry,) = ledger.json()["items"]
    assert (entry["amount"], entry["counterAccount"], entry["reference"]) == (
        *("-12.50", "@external"),
        "order 17",
    )
    assert {name: wallet.json()[name] for name in ("balance", "held", "available")} == {
        "balance": "87.50",
        "held": "0.00",
        "available": "87.50",
    }


async def test_a_capture_to_another_wallet_answers_when_it_has_arrived(
    api: httpx.AsyncClient, wallet_id: str, a_wallet: AWallet, place: Place
) -> None:
    """The answer is the hold, with the id of the transfer that it paid for."""
    shop = await a_wallet("0")
    hold = await place()

    body = {"toWalletId": shop, "requestId": "c1"}
    first = await api.post(f"/v1/holds/{hold['holdId']}/capture", json=body)
    again = await api.post(f"/v1/holds/{hold['holdId']}/capture", json=body)
    transfer = await api.get(f"/v1/transfers/{first.json()['transferId']}")
    recorded = await api.get(f"/v1/wallets/{wallet_id}/operations/c1")

    assert (first.status_code, first.json()["status"]) == (201, "captured")
    assert (again.content, again.headers["Idempotent-Replay"]) == (first.content, "true")
    assert (transfer.json()["status"], transfer.json()["toWalletId"]) == ("completed", shop)
    assert (await api.get(f"/v1/wallets/{shop}")).json()["balance"] == "30.00"
    assert recorded.json()["type"] == "hold_capture"
    assert recorded.json()["response"] == first.json()


async def test_refusals_say_what_there_is(api: httpx.AsyncClient, place: Place) -> None:
    """More than remains, more than is available, what is over and what never was."""
    hold = await place()
    address = f"/v1/holds/{hold['holdId']}"

    more = await api.post(f"{address}/capture", json={"amount": "30.01", "requestId": "c1"})
    again = await api.post(f"{address}/capture", json={"amount": "30.01", "requestId": "c1"})
    other = await api.post(f"{address}/release", json={"amount": "30.01", "requestId": "c1"})
    poor = await api.post(f"/v1/wallets/{hold['walletId']}/holds", json={"amount": "70.01"})
    done = await api.post(f"{address}/capture", json={})
    over = await api.post(f"{address}/release", json={"amount": "0.01"})
    unknown = await api.post(f"/v1/holds/{uuid4()}/capture", json={})

    assert (more.status_code, more.json()["code"]) == (422, "hold_exceeded")
    assert (more.json()["required"], more.json()["remaining"]) == ("30.01", "30.00")
    assert more.json()["instance"] == f"{address}/capture"
    assert (again.content, again.headers["Idempotent-Replay"]) == (more.content, "true")
    assert other.json()["code"] == "idempotency_key_reused"
    assert (poor.json()["code"], poor.json()["available"]) == ("insufficient_funds", "70.00")
    assert done.status_code == 201
    assert (over.status_code, over.json()["code"]) == (422, "hold_closed")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "hold_not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "1.00", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"amount": "1.00", "expiresAt": "tomorrow"}, "expiresAt"),
        ({"amount": "1.00", "held": "1.00"}, "held"),
        ({"amount": "0"}, "amount"),
        ({}, "amount"),
    ],
)
async def test_bad_holds_are_told_by_their_field(
    api: httpx.AsyncClient,
    wallet_id: str,
    books: Look,
    audited: Audited,
    body: dict[str, str],
    field: str,
) -> None:
    """400, the field, one audit row, and nothing else."""
    before = await books()

    answer = await api.post(f"/v1/wallets/{wallet_id}/holds", json=body)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await books() == before
    assert await audited(answer) == [400]


async def test_a_hold_that_is_over_is_expired_on_every_page(
    api: httpx.AsyncClient, sql: asyncpg.Connection, wallet_id: str, place: Place
) -> None:
    """Though no worker runs: the hold, the lists and the wallet know it at the very second."""
    over, stays = await place("30.00"), await place("5.00")
    await sql.execute(
        "UPDATE holds SET expires_at = statement_timestamp() WHERE id = $1", over["holdId"]
    )

    hold = await api.get(f"/v1/holds/{over['holdId']}")
    wallet = await api.get(f"/v1/wallets/{wallet_id}")
    listed = await api.get("/v1/wallets", params={"currency": "USD"})
    pages = {
        status: (await api.get(f"/v1/wallets/{wallet_id}/holds", params={"status": status})).json()[
            "items"
        ]
        for status in ("open", "expired", "captured")
    }

    assert (hold.json()["status"], hold.json()["released"]) == ("expired", "30.00")
    assert (wallet.json()["held"], wallet.json()["available"]) == ("5.00", "95.00")
    assert listed.json()["items"] == [wallet.json()]
    assert [each["holdId"] for each in pages["open"]] == [stays["holdId"]]
    assert pages["expired"] == [hold.json()]
    assert pages["captured"] == []


async def test_the_list_of_holds_goes_page_by_page(
    api: httpx.AsyncClient, wallet_id: str, place: Place
) -> None:
    """Newest first, each once; a cursor belongs to its list alone."""
    placed = [(await place("1.00"))["holdId"] for _ in range(5)]
    address, seen, cursor = f"/v1/wallets/{wallet_id}/holds", [], None
    while True:
        asked = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(address, params=asked)).json()
        seen += [each["holdId"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = page["nextCursor"]
    foreign = await api.get(address, params={"cursor": cursor, "status": "open"})

    assert seen == placed[::-1]
    assert foreign.status_code == 400
    assert (await api.get("/v1/wallets/nobody/holds")).json()["code"] == "wallet_not_found"


async def test_a_capture_leaves_its_audit_row(
    api: httpx.AsyncClient, sql: asyncpg.Connection, audited: Audited, place: Place
) -> None:
    """One row for each request about a hold, which names the hold's wallet and the key."""
    hold = await place()

    captured = await api.post(
        f"/v1/holds/{hold['holdId']}/capture", json={"amount": "1.00", "requestId": "c1"}
    )

    assert await audited(captured) == [201]
    row = await sql.fetchrow(
        "SELECT wallet_id, request_id, url FROM api_audit WHERE trace_id = $1",
        captured.headers["X-Trace-Id"],
    )
    assert dict(row) == {
        "wallet_id": hold["walletId"],
        "request_id": "c1",
        "url": f"/v1/holds/{hold['holdId']}/capture",
    }


async def test_captures_at_once_over_http_take_what_was_held_and_no_more(
    api: httpx.AsyncClient, wallet_id: str, place: Place
) -> None:
    """50 requests for 3.00 of 30.00: ten are paid, the others are told what is left."""
    hold = await place()

    answers: Sequence[httpx.Response] = await asyncio.gather(
        *(
            api.post(f"/v1/holds/{hold['holdId']}/capture", json={"amount": "3.00"})
            for _ in range(50)
        )
    )

    statuses = [each.status_code for each in answers]
    assert (statuses.count(201), statuses.count(422)) == (10, 40)
    assert (await api.get(f"/v1/wallets/{wallet_id}")).json()["balance"] == "70.00"
