"""This module is where it is asked what would happen, and nothing does."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

AWallet = Callable[..., Awaitable[str]]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z")
FREEZE = {"direction": "out", "reason": "asked"}
COMMANDS = [
    {"type": "deposit", "walletId": "ada", "amount": "5.00"},
    {"type": "transfer", "walletId": "ada", "toWalletId": "bob", "amount": "105.00"},
    {"type": "deposit", "walletId": "new", "amount": "1.00"},
]
# What is asked of ada, who has 100.00, a hold of 20.00 and a deposit; `<name>` is an id of hers.
WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "open": ("/v1/wallets", {"id": "cid", "ownerId": "cid", "metadata": {"tier": "gold"}}),
    "open again": ("/v1/wallets", {"id": "bob"}),
    "deposit": ("/v1/wallets/ada/deposit", {"amount": "10.00", "requestId": "k"}),
    "first deposit": ("/v1/wallets/new/deposit", {"amount": "10.00", "requestId": "k"}),
    "withdraw": ("/v1/wallets/ada/withdraw", {"amount": "10.00", "requestId": "k"}),
    "too much": ("/v1/wallets/ada/withdraw", {"amount": "500.00", "requestId": "k"}),
    "transfer": (
        "/v1/wallets/ada/transfer",
        {"amount": "10.00", "toWalletId": "bob", "requestId": "k"},
    ),
    "to nowhere": (
        "/v1/wallets/ada/transfer",
        {"amount": "10.00", "toWalletId": "nobody", "requestId": "k"},
    ),
    "hold": ("/v1/wallets/ada/holds", {"amount": "10.00", "requestId": "k"}),
    "capture": ("/v1/holds/<hold>/capture", {"amount": "5.00", "requestId": "k"}),
    "capture to": ("/v1/holds/<hold>/capture", {"toWalletId": "bob", "requestId": "k"}),
    "release": ("/v1/holds/<hold>/release", {"requestId": "k"}),
    "reverse": ("/v1/operations/<deposit>/reverse", {"amount": "7.00", "requestId": "k"}),
    "reverse more": ("/v1/operations/<deposit>/reverse", {"amount": "700", "requestId": "k"}),
    "freeze": ("/v1/wallets/ada/freeze", FREEZE),
    "unfreeze": ("/v1/wallets/ada/unfreeze", {}),
    "close": ("/v1/wallets/bob/close", {}),
    "close too early": ("/v1/wallets/ada/close", {}),
    "batch": ("/v1/batches", {"commands": COMMANDS, "requestId": "k"}),
    "whole batch": ("/v1/batches", {"commands": COMMANDS[::2], "atomic": True, "requestId": "k"}),
    "refused batch": ("/v1/batches", {"commands": COMMANDS, "atomic": True, "requestId": "k"}),
}


@pytest.fixture
async def ids(api: httpx.AsyncClient) -> dict[str, str]:
    """Return the ids of ada's deposit and hold."""
    await api.post("/v1/wallets", json={"id": "bob"})
    deposit = await api.post("/v1/wallets/ada/deposit", json={"amount": "100.00"})
    hold = await api.post("/v1/wallets/ada/holds", json={"amount": "20.00"})
    return {"<deposit>": deposit.json()["operationId"], "<hold>": hold.json()["holdId"]}


# What only a rehearsal says, and what is new each time.
_TOLD_BESIDE = {"dryRun", "flags", "traceId"}


def plain(answer: httpx.Response) -> Any:  # noqa: ANN401  # any JSON
    """Return an answer without what is new each time."""
    body = TIME.sub(b"then", ID.sub(b"id", answer.content))
    return _told_by_both(msgspec.json.decode(body))


def _told_by_both(told: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(told, list):
        return [_told_by_both(each) for each in told]
    if not isinstance(told, dict):
        return told
    return {name: _told_by_both(value) for name, value in told.items() if name not in _TOLD_BESIDE}


@pytest.mark.parametrize("write", WRITES)
async def test_a_rehearsal_is_answered_as_the_write_and_changes_nothing(
    api: httpx.AsyncClient, books: Look, audited: Audited, ids: dict[str, str], write: str
) -> None:
    """The same body and `dryRun`, no effect, no key, one audit row; then it really happens so."""
    address, body = WRITES[write]
    for name, value in ids.items():
        address = address.replace(name, value)
    before = await books()

    rehearsed = await api.post(address, params={"dryRun": "true"}, json=body)

    assert await books() == before
    assert await audited(rehearsed) == [rehearsed.status_code]
    real = await api.post(address, params={"dryRun": "false"}, json=body)
    assert plain(rehearsed) == plain(real)
    if real.status_code == 201:
        assert (rehearsed.status_code, rehearsed.json()["dryRun"]) == (200, True)
        assert "dryRun" not in real.json()
    else:
        assert rehearsed.status_code == real.status_code
    assert "Idempotent-Replay" not in real.headers


async def test_a_rehearsal_of_what_was_done_tells_what_was_done(
    api: httpx.AsyncClient, books: Look, ids: dict[str, str]
) -> None:
    """A used key answers as it did, or is refused as it would be."""
    asked = {"amount": "1.00", "requestId": "k"}
    done = await api.post("/v1/wallets/ada/deposit", json=asked)
    before = await books()

    again = await api.post("/v1/wallets/ada/deposit?dryRun=true", json=asked)
    other = await api.post("/v1/wallets/ada/deposit?dryRun=true", json=asked | {"amount": "2"})

    assert again.json() == done.json() | {"dryRun": True}
    assert (again.status_code, again.headers["Idempotent-Replay"]) == (200, "true")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await books() == before


async def test_a_transfer_that_comes_back_is_rehearsed_as_it_goes(
    api: httpx.AsyncClient, books: Look, ids: dict[str, str]
) -> None:
    """A recipient that is full refuses it; then the sender has it again, and may spend it."""
    await api.post("/v1/wallets/full/deposit", json={"amount": "92233720368547758.07"})
    before = await books()
    commands = [
        {"type": "transfer", "walletId": "ada", "toWalletId": "full", "amount": "80.00"},
        {"type": "withdraw", "walletId": "ada", "amount": "80.00"},
    ]

    rehearsed = await api.post("/v1/batches?dryRun=true", json={"commands": commands})
    assert await books() == before
    real = await api.post("/v1/batches", json={"commands": commands})

    told = [
        [(each["status"], each["body"].get("code")) for each in answer.json()["results"]]
        for answer in (rehearsed, real)
    ]
    assert told == [[(422, "balance_limit_exceeded"), (201, None)]] * 2


async def test_a_reversal_that_would_have_to_wait_is_told(
    api: httpx.AsyncClient, books: Look, ids: dict[str, str]
) -> None:
    """The sender was filled to the brim meanwhile: its money could not come back now."""
    asked = {"amount": "1.00", "toWalletId": "bob"}
    moved = await api.post("/v1/wallets/ada/transfer", json=asked)
    await api.post("/v1/wallets/ada/deposit", json={"amount": "92233720368547659.07"})
    before = await books()

    address = f"/v1/operations/{moved.json()['operationId']}/reverse"
    answer = await api.post(address, params={"dryRun": "true"}, json={})

    assert (answer.status_code, answer.json()["code"]) == (422, "balance_limit_exceeded")
    assert await books() == before


@pytest.mark.parametrize("value", ["1", "TRUE", "yes", "", "%74rue%00"])
async def test_only_true_is_a_rehearsal(
    api: httpx.AsyncClient, books: Look, ids: dict[str, str], value: str
) -> None:
    """What is neither true nor false is a 400, so that nobody pays for a typing error."""
    before = await books()

    answer = await api.post(f"/v1/wallets/ada/deposit?dryRun={value}", json={"amount": "1.00"})

    assert answer.status_code == 400
    assert await books() == before


async def test_a_rehearsal_holds_nobody_up(
    api: httpx.AsyncClient, sql: asyncpg.Connection, ids: dict[str, str]
) -> None:
    """Its locks are gone with its answer; a wallet that somebody else holds is a 503 in time."""
    await api.post("/v1/wallets/ada/withdraw?dryRun=true", json={"amount": "1.00"})
    async with sql.transaction():
        await sql.execute("SELECT FROM wallets WHERE id = 'ada' FOR UPDATE NOWAIT")
        busy = await api.post("/v1/wallets/ada/withdraw?dryRun=true", json={"amount": "1.00"})

    assert (busy.status_code, busy.json()["code"]) == (503, "busy")


async def test_who_may_do_nothing_rehearses_nothing(api: httpx.AsyncClient) -> None:
    """Where there is no rehearsal the parameter is unknown."""
    answer = await api.post("/v1/admin/verify?dryRun=true")

    assert answer.status_code == 400


async def test_a_withdrawal_is_told_the_fraud_rules_that_it_would_meet(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """By what the wallet did in the window; the real one's answer tells nothing."""
    wallet_id = await a_wallet("50000.00")
    address = f"/v1/wallets/{wallet_id}/withdraw"
    for _ in range(2):
        done = await api.post(address, json={"amount": "1.00"})
        assert "flags" not in done.json()

    first = await api.post(f"{address}?dryRun=true", json={"amount": "1.00"})
    both = await api.post(f"{address}?dryRun=true", json={"amount": "10000.00"})

    assert [each["ruleId"] for each in first.json()["flags"]] == ["rapid_withdrawals"]
    assert first.json()["flags"][0]["observed"] == 3
    assert [each["ruleId"] for each in both.json()["flags"]] == [
        *("rapid_withdrawals", "large_transaction"),
    ]


async def test_each_withdrawal_of_a_batch_is_told_its_verdict(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """On what the ones before it leave: the third is rapid; what is refused or done has none."""
    wallet_id, other = await a_wallet("50000.00"), await a_wallet("50000.00")
    done = {"amount": "1.00", "requestId": "done"}
    await api.post(f"/v1/wallets/{wallet_id}/withdraw", json=done)
    asked = [
        {"walletId": wallet_id, **done},
        {"walletId": wallet_id, "amount": "10000.00"},
        {"walletId": wallet_id, "amount": "90000.00"},
        {"walletId": other, "amount": "1.00"},
        {"walletId": wallet_id, "amount": "1.00"},
        {"walletId": wallet_id, "amount": "1.00"},
    ]
    batch = {"commands": [{"type": "withdraw", **each} for each in asked]}

    rehearsed = await api.post("/v1/batches?dryRun=true", json=batch)
    real = await api.post("/v1/batches", json=batch)

    verdicts = [
        None if "flags" not in told else [flag["ruleId"] for flag in told["flags"]]
        for told in (each["body"] for each in rehearsed.json()["results"])
    ]
    assert verdicts == [
        *([], ["large_transaction"], None, []),
        *(["rapid_withdrawals"], ["rapid_withdrawals"]),
    ]
    assert not any("flags" in each["body"] for each in real.json()["results"])
