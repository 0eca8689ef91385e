"""Promises about what is read of the past: history, ledger, statistics, operations, transfers."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest

EVENT = (
    *("id", "type", "schemaVersion", "occurredAt", "walletId", "walletVersion", "transferId"),
    *("auditId", "traceId", "payload"),
)
ENTRY = (
    *("walletId", "walletVersion", "type", "amount", "balanceAfter", "currency", "counterAccount"),
    *("operationId", "transferId", "requestId", "occurredAt", "auditId", "traceId", "reference"),
    *("metadata", "status"),
)
OPERATION = (
    *("walletId", "requestId", "operationId", "type", "status", "transferId", "occurredAt"),
    "response",
)
Builder = Callable[..., Awaitable[str]]


async def items(api: httpx.AsyncClient, path: str, members: tuple[str, ...]) -> list[Any]:
    page = (await api.get(path)).json()
    assert sorted(page) == ["items", "nextCursor"]
    assert all(sorted(item) == sorted(members) for item in page["items"])
    found: list[Any] = page["items"]
    return found


async def test_history_is_the_events_newest_first(
    api: httpx.AsyncClient, a_wallet: Builder, sql: asyncpg.Connection
) -> None:
    """A history holds every event of the wallet by version without a gap, each with its origin."""
    wallet_id = await a_wallet("10.00")
    other = await a_wallet("0")
    trace = {"X-Trace-Id": "the-transfer"}
    asked = {"toWalletId": other, "amount": "4"}
    await api.post(f"/v1/wallets/{wallet_id}/transfer", json=asked, headers=trace)

    events = await items(api, f"/v1/wallets/{wallet_id}/history", EVENT)

    assert [(event["walletVersion"], event["type"]) for event in events] == [
        (5, "TransferCompleted"),
        (4, "TransferDebited"),
        (3, "TransferInitiated"),
        (2, "FundsDeposited"),
        (1, "WalletCreated"),
    ]
    audit_id = await sql.fetchval("SELECT id::text FROM api_audit WHERE trace_id = 'the-transfer'")
    assert {(e["traceId"], e["auditId"]) for e in events[:3]} == {("the-transfer", audit_id)}
    assert events[1]["payload"]["newBalance"] == "6.00"


async def test_the_ledger_is_signed_and_names_the_other_side(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """An entry is negative when money leaves, names its counter account, and keeps the words."""
    sender, recipient = await a_wallet("10.00"), await a_wallet("0")
    words = {"reference": "rent / May", "metadata": {"b": 1.10, "a": [True]}}
    asked = {"toWalletId": recipient, "amount": "4", "requestId": "k", **words}
    transfer_id = (await api.post(f"/v1/wallets/{sender}/transfer", json=asked)).json()[
        "transferId"
    ]

    debit, deposit = await items(api, f"/v1/wallets/{sender}/ledger", ENTRY)
    (credit,) = await items(api, f"/v1/wallets/{recipient}/ledger", ENTRY)

    assert [(e["type"], e["amount"], e["balanceAfter"]) for e in (deposit, debit, credit)] == [
        ("deposit", "10.00", "10.00"),
        ("transfer_debit", "-4.00", "6.00"),
        ("transfer_credit", "4.00", "4.00"),
    ]
    assert [e["counterAccount"] for e in (deposit, debit, credit)] == [
        *("@external", "@transit", "@transit")
    ]
    assert {e["transferId"] for e in (debit, credit)} == {transfer_id}
    assert {e["requestId"] for e in (debit, credit)} == {"k"}
    assert (debit["reference"], debit["metadata"]) == (words["reference"], words["metadata"])


async def test_statistics_are_there_before_the_worker(
    api: httpx.AsyncClient, a_wallet: Builder, sql: asyncpg.Connection
) -> None:
    """Statistics of a wallet whose events nobody has applied yet are zero, not absent."""
    wallet_id = await a_wallet("10.00")

    stats = (await api.get(f"/v1/wallets/{wallet_id}/stats")).json()

    assert stats == {
        "walletId": wallet_id,
        "currency": "USD",
        "totalDeposited": "0.00",
        "totalWithdrawn": "0.00",
        "totalTransferredIn": "0.00",
        "totalTransferredOut": "0.00",
        "lastActivityAt": None,
        "suspicious": False,
        "suspiciousReason": None,
        "flags": [],
    }


async def test_an_unknown_wallet_is_not_found(api: httpx.AsyncClient) -> None:
    """Every read of a wallet that does not exist is a 404, none is an empty page."""
    for what in ("", "/history", "/ledger", "/stats"):
        answer = await api.get(f"/v1/wallets/nobody{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "wallet_not_found")

    answer = await api.get("/v1/wallets/nobody/operations/k")
    assert (answer.status_code, answer.json()["code"]) == (404, "operation_not_found")


async def test_an_operation_is_what_its_request_was_answered(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """The look-up of a key tells the status and the very body, for every kind of outcome."""
    wallet_id, other = await a_wallet("10.00"), await a_wallet("0")
    path = f"/v1/wallets/{wallet_id}"
    sent = {
        "d/1": await api.post(f"{path}/deposit", json={"amount": "1", "requestId": "d/1"}),
        "w": await api.post(f"{path}/withdraw", json={"amount": "99", "requestId": "w"}),
        "t?": await api.post(
            f"{path}/transfer", json={"toWalletId": other, "amount": "1", "requestId": "t?"}
        ),
    }

    for key, status, kind in [
        ("d/1", "posted", "deposit"),
        ("w", "rejected", "withdraw"),
        ("t?", "posted", "transfer"),
    ]:
        found = (await api.get(f"{path}/operations/{key.replace('?', '%3F')}")).json()
        assert sorted(found) == sorted(OPERATION)
        assert (found["requestId"], found["status"], found["type"]) == (key, status, kind)
        assert found["response"] == sent[key].json()
        assert found["transferId"] == sent[key].json().get("transferId")


async def test_a_transfer_shows_every_step_with_its_time(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """The look-up of a transfer is its answer, and the steps it took, in order, timed."""
    sender, recipient = await a_wallet("10.00"), await a_wallet("0")
    asked = {"toWalletId": recipient, "amount": "4", "reference": "rent"}
    done = (await api.post(f"/v1/wallets/{sender}/transfer", json=asked)).json()

    view = (await api.get(f"/v1/transfers/{done['transferId']}")).json()

    steps = view.pop("steps")
    assert view == done | {"reason": None, "reference": "rent"}
    assert [step["state"] for step in steps] == ["initiated", "debited", "credited", "completed"]
    times = [datetime.fromisoformat(step["at"]) for step in steps]
    assert times == sorted(times)


async def test_an_unknown_transfer_is_not_found(api: httpx.AsyncClient) -> None:
    """What names no transfer is a 404, whatever it looks like."""
    for transfer_id in ("nonsense", "00000000-0000-7000-8000-000000000000"):
        assert (await api.get(f"/v1/transfers/{transfer_id}")).status_code == 404


async def test_a_wallet_is_read_as_it_was(api: httpx.AsyncClient, a_wallet: Builder) -> None:
    """`at` answers with the balance of that instant, and 404 before the wallet existed."""
    before = datetime.now(UTC).isoformat()
    wallet_id = await a_wallet("10.00")
    between = datetime.now(UTC).isoformat()
    await api.post(f"/v1/wallets/{wallet_id}/withdraw", json={"amount": "4"})
    after = datetime.now(UTC).isoformat()

    async def at(instant: str) -> httpx.Response:
        return await api.get(f"/v1/wallets/{wallet_id}", params={"at": instant})

    assert (await at(before)).status_code == 404
    assert [(await at(each)).json()["balance"] for each in (between, after)] == ["10.00", "6.00"]
    assert [(await at(each)).json()["version"] for each in (between, after)] == [2, 3]


async def test_the_unversioned_routes_answer_the_same_bytes(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """Each of the six wallet routes without version gives the bytes of its twin under /v1."""
    wallet_id, other = await a_wallet("10.00"), await a_wallet("0")

    for verb, body in [
        ("deposit", {"amount": "1", "requestId": "d"}),
        ("withdraw", {"amount": "1", "requestId": "w"}),
        ("withdraw", {"amount": "1000", "requestId": "refused"}),
        ("transfer", {"amount": "1", "requestId": "t", "toWalletId": other}),
    ]:
        first = await api.post(f"/wallet/{wallet_id}/{verb}", json=body)
        twin = await api.post(f"/v1/wallets/{wallet_id}/{verb}", json=body)
        assert (first.status_code, first.content) == (twin.status_code, twin.content)
    for what in ("", "/history", "/stats"):
        first = await api.get(f"/wallet/{wallet_id}{what}")
        twin = await api.get(f"/v1/wallets/{wallet_id}{what}")
        assert (first.status_code, first.content) == (200, twin.content)


@pytest.mark.parametrize("key", ["a/b", "a/", "/a", "a//b", "?", "%2F", "#"])
async def test_whatever_the_key_its_outcome_is_found(api: httpx.AsyncClient, key: str) -> None:
    """Every key that can be used can be looked up, percent-encoded."""
    done = await api.post("/v1/wallets/w/deposit", json={"amount": "1", "requestId": key})

    found = await api.get(f"/v1/wallets/w/operations/{quote(key, safe='')}")

    assert (found.status_code, found.json()["requestId"]) == (200, key)
    assert found.json()["response"] == done.json()
