"""This module is where it is told why a wallet stands as it does, from entry to consumer."""

import json
from collections.abc import Awaitable, Callable

import asyncpg
import httpx

VERDICT = {
    "ruleId": "large_transaction",
    "ruleVersion": 1,
    "threshold": "10000.00",
    "observed": "15000.00",
    "evidence": ["e1"],
    "flaggedAt": "2026-11-26T12:00:00Z",
}
AWallet = Callable[..., Awaitable[str]]


async def test_every_entry_leads_to_its_request_and_what_came_of_it(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """A deposit, a withdrawal and both sides of a transfer, newest first."""
    one, two = await a_wallet("100.00"), await a_wallet("0")
    headers = {"X-Trace-Id": "trace-17"}
    await api.post(f"/v1/wallets/{one}/withdraw", json={"amount": "1.00"}, headers=headers)
    moved = await api.post(
        f"/v1/wallets/{one}/transfer", json={"toWalletId": two, "amount": "9.00"}
    )

    told = (await api.get(f"/v1/wallets/{one}/explain")).json()
    other = (await api.get(f"/v1/wallets/{two}/explain")).json()

    assert (told["balance"], told["available"], told["status"]) == ("90.00", "90.00", "active")
    assert [each["entry"]["type"] for each in told["entries"]] == [
        *("transfer_debit", "withdraw", "deposit"),
    ]
    assert [each["event"]["type"] for each in told["entries"]] == [
        *("TransferDebited", "FundsWithdrawn", "FundsDeposited"),
    ]
    assert told["entries"][1]["traceId"] == "trace-17"
    assert [each["request"]["url"].rpartition("/")[2] for each in told["entries"]] == [
        *("transfer", "withdraw", "deposit"),
    ]
    assert {each["request"]["status"] for each in told["entries"]} == {201}
    credit = other["entries"][0]
    assert credit["request"] == told["entries"][0]["request"]
    assert credit["entry"]["transferId"] == moved.json()["transferId"]
    assert {each["event"]["appliedAt"] for each in told["entries"]} == {None}


async def test_of_an_instant_nothing_later_is_told(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """Page by page, each entry once."""
    wallet_id = await a_wallet("10.00")
    for _ in range(3):
        await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "1.00"})
    address = f"/v1/wallets/{wallet_id}/explain"
    everything = (await api.get(address)).json()["entries"]
    at = everything[1]["entry"]["occurredAt"]

    told, cursor = [], None
    while True:
        asked = {"at": at, "limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(address, params=asked)).json()
        told += page["entries"]
        cursor = page["nextCursor"]
        if cursor is None:
            break

    assert told == everything[1:]
    assert page["balance"] == "8.00"
    before = await api.get(address, params={"at": "2020-01-01T00:00:00Z"})
    assert (before.status_code, before.json()["code"]) == (404, "wallet_not_found")


async def test_what_the_worker_made_of_an_event_is_told(
    api: httpx.AsyncClient, a_wallet: AWallet, sql: asyncpg.Connection
) -> None:
    """When it took effect, and the verdicts of the rules that it broke."""
    wallet_id = await a_wallet("20000.00")
    await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "15000.00"})
    await sql.execute(
        "INSERT INTO processed_events (wallet_id, event_id)"
        " SELECT wallet_id, id::text FROM events WHERE wallet_id = $1",
        wallet_id,
    )
    await sql.execute(
        "INSERT INTO fraud_flags (wallet_id, event_id, rule_id, rule_version, reason, verdict,"
        " occurred_at, flagged_at) SELECT wallet_id, id::text, 'large_transaction', 1, 'large',"
        " $2, now(), now() FROM events WHERE wallet_id = $1 AND type = 'FundsWithdrawn'",
        *(wallet_id, json.dumps(VERDICT)),
    )

    entries = (await api.get(f"/v1/wallets/{wallet_id}/explain")).json()["entries"]

    assert all(each["event"]["appliedAt"] for each in entries)
    assert [each["event"]["flags"] for each in entries] == [[VERDICT], []]
