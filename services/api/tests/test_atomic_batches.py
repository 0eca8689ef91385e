"""Promises about batches of which all commands are carried out or none."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx

from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.verify import verify

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
Command = dict[str, Any]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]


def deposit(wallet_id: str, amount: str, **more: str) -> Command:
    return {"type": "deposit", "walletId": wallet_id, "amount": amount} | more


def withdrawal(wallet_id: str, amount: str, **more: str) -> Command:
    return {"type": "withdraw", "walletId": wallet_id, "amount": amount} | more


def transfer(wallet_id: str, to: str, amount: str, **more: str) -> Command:
    asked = {"type": "transfer", "walletId": wallet_id, "toWalletId": to, "amount": amount}
    return asked | more


async def send(api: httpx.AsyncClient, *commands: Command, **more: str) -> httpx.Response:
    return await api.post("/v1/batches", json={"atomic": True, "commands": commands} | more)


async def proved(database_url: str) -> list[str]:
    """Return what the proof finds; nothing if the books are right."""
    database = Database(database_url, application_name="wallet-test")
    report = await verify(database.primary)
    await database.dispose()
    return [f"{each.id} {each.violations}" for each in report.invariants if each.violations]


async def test_all_commands_happen_in_one_transaction(
    api: httpx.AsyncClient, sql: asyncpg.Connection, audited: Audited, database_url: str
) -> None:
    """Wallets that are opened on the way, transfers to their end: one instant, one audit row."""
    answer = await send(
        api,
        *(deposit("ada", "100.00"), deposit("bob", "1.00")),
        *(transfer("ada", "bob", "30.00"), withdrawal("bob", "31.00")),
    )

    told = answer.json()
    assert (answer.status_code, told["atomic"]) == (201, True)
    assert [each["status"] for each in told["results"]] == [201] * 4
    moved, paid = (told["results"][number]["body"] for number in (2, 3))
    assert (moved["status"], moved["fromBalance"], moved["toBalance"]) == (
        *("completed", "70.00"),
        "31.00",
    )
    assert paid["balance"] == "0.00"
    assert await sql.fetchval("SELECT count(DISTINCT occurred_at) FROM events") == 1
    assert await audited(answer) == [201]
    row = await sql.fetchval("SELECT id FROM api_audit WHERE url = '/v1/batches'")
    assert await sql.fetch("SELECT DISTINCT audit_id FROM events") == [(row,)]
    assert await proved(database_url) == []


async def test_one_refusal_is_the_refusal_of_all(
    api: httpx.AsyncClient, books: Look, audited: Audited
) -> None:
    """Each command is told what was wrong with it, or that nothing was; no key is taken."""
    await api.post("/v1/wallets/ada/deposit", json={"amount": "10.00"})
    await api.post("/v1/wallets", json={"id": "bob"})
    before = await books()
    commands = [
        transfer("ada", "bob", "4.00", requestId="k1"),
        withdrawal("ada", "6.01", requestId="k2"),
        withdrawal("nobody", "1.00", requestId="k3"),
        deposit("new", "1.00", requestId="k4"),
    ]

    refused = await send(api, *commands)

    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, "batch_rejected")
    assert [(each["status"], each["body"]["code"]) for each in told["results"]] == [
        (424, "not_carried_out"),
        (422, "insufficient_funds"),
        (404, "wallet_not_found"),
        (424, "not_carried_out"),
    ]
    assert told["results"][1]["body"]["available"] == "6.00"
    assert await books() == before
    assert await audited(refused) == [422]

    commands[1]["amount"], commands[2]["walletId"] = "6.00", "bob"
    assert (await send(api, *commands)).status_code == 201


async def test_a_batch_that_is_sent_again_has_the_same_bytes(api: httpx.AsyncClient) -> None:
    """Twenty at once of one key: it happens once, and all are told the same."""
    asked = (deposit("ada", "5.00"), deposit("bob", "5.00"), transfer("ada", "bob", "1.00"))

    answers = await asyncio.gather(*(send(api, *asked, requestId="k") for _ in range(20)))

    assert {each.status_code for each in answers} == {201}
    assert {each.content for each in answers} == {answers[0].content}
    assert [each.headers.get("Idempotent-Replay") for each in answers].count("true") == 19
    assert (await api.get("/v1/wallets/bob")).json()["balance"] == "6.00"


async def test_a_key_that_means_something_else_refuses_the_batch(
    api: httpx.AsyncClient, books: Look
) -> None:
    """A used key is told by its fields; one that was used for just this counts as done."""
    await api.post("/v1/wallets/ada/deposit", json={"amount": "5.00", "requestId": "k1"})
    before = await books()

    other = await send(api, deposit("ada", "6.00", requestId="k1"), deposit("bob", "1.00"))
    assert await books() == before
    same = await send(api, deposit("ada", "5.00", requestId="k1"), deposit("bob", "1.00"))

    told = other.json()["results"]
    assert [each["body"]["code"] for each in told] == ["idempotency_key_reused", "not_carried_out"]
    assert (same.status_code, same.headers.get("Idempotent-Replay")) == (201, None)
    assert (await api.get("/v1/wallets/bob")).json()["balance"] == "1.00"
    assert (await api.get("/v1/wallets/ada")).json()["balance"] == "5.00"


async def test_batches_across_each_other_neither_deadlock_nor_lose_money(
    api: httpx.AsyncClient, database_url: str
) -> None:
    """Rings of transfers both ways, as batches and singly, all at once: the sum stays."""
    names = [f"w{number}" for number in range(8)]
    await send(api, *(deposit(name, "100.00") for name in names))
    rings = [list(itertools.pairwise([*order, order[0]])) for order in (names, names[::-1])]

    answers = await asyncio.gather(
        *(
            send(api, *(transfer(one, two, "1.00") for one, two in rings[number % 2]))
            for number in range(24)
        ),
        *(
            api.post(f"/v1/wallets/{one}/transfer", json={"toWalletId": two, "amount": "1.00"})
            for one, two in rings[0] * 10
        ),
    )

    assert {each.status_code for each in answers} == {201}
    balances = [(await api.get(f"/v1/wallets/{name}")).json()["balance"] for name in names]
    assert balances == ["100.00"] * 8
    assert await proved(database_url) == []


async def test_a_batch_leaves_the_ledger_that_single_requests_leave(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Entry by entry and event by event, but for ids, times and keys."""
    story = [
        *(("deposit", "a", "10.00", None), ("deposit", "b", "3.50", None)),
        *(("transfer", "a", "2.25", "b"), ("withdraw", "b", "5.00", None)),
        *(("transfer", "b", "0.75", "a"), ("deposit", "a", "1.00", None)),
    ]
    made = {"deposit": deposit, "withdraw": withdrawal}
    for kind in ("single", "batch"):
        commands = [
            transfer(f"{kind}-{name}", f"{kind}-{to}", amount)
            if to
            else made[verb](f"{kind}-{name}", amount)
            for verb, name, amount, to in story
        ]
        if kind == "batch":
            assert (await send(api, *commands)).status_code == 201
            continue
        for each in commands:
            body = {name: value for name, value in each.items() if name not in {"type", "walletId"}}
            path = f"/v1/wallets/{each['walletId']}/{each['type']}"
            assert (await api.post(path, json=body)).status_code == 201

    for table, columns in (
        ("ledger_entries", "type, amount_minor, balance_after_minor, counter_account"),
        ("events", "type, payload ->> 'amount', payload ->> 'newBalance'"),
    ):
        query = (
            f"SELECT wallet_version, {columns} FROM {table}"
            " WHERE wallet_id = $1 AND wallet_version IS NOT NULL ORDER BY wallet_version"
        )
        for name in ("a", "b"):
            single = await sql.fetch(query, f"single-{name}")
            assert single == await sql.fetch(query, f"batch-{name}"), table


async def test_a_wallet_that_a_stranger_holds_is_waited_for_a_while(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """503 in time, nothing happened, and others were not kept waiting."""
    await api.post("/v1/wallets/ada/deposit", json={"amount": "5.00"})
    async with sql.transaction():
        await sql.execute("SELECT FROM wallets WHERE id = 'ada' FOR UPDATE")
        begun = time.monotonic()
        waiting = asyncio.create_task(send(api, deposit("ada", "1.00"), deposit("cid", "1.00")))
        other = await api.post("/v1/wallets/bob/deposit", json={"amount": "1.00"})
        quick = time.monotonic() - begun
        answer = await waiting

    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert time.monotonic() - begun < 6
    assert (other.status_code, quick < 2) == (201, True)
    assert (await api.get("/v1/wallets/cid")).status_code == 404
    assert (await api.get("/v1/wallets/ada")).json()["version"] == 2


async def test_what_one_may_not_ask_singly_refuses_the_batch(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    token: Callable[..., str],
    books: Look,
) -> None:
    """A user deposits nothing, in no batch; another owner's wallet is as none."""
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)) as api:
        admin = {"Authorization": f"Bearer {token(roles=['admin'])}"}
        for wallet_id, owner in (("ada", "ada"), ("bob", "bob")):
            body = {"id": wallet_id, "ownerId": owner}
            await api.post("/v1/wallets", json=body, headers=admin)
            filled = {"atomic": True, "commands": [deposit(wallet_id, "5.00")]}
            await api.post("/v1/batches", json=filled, headers=admin)
        before = await books()
        user = {"Authorization": f"Bearer {token(roles=['user'], sub='ada')}"}
        for last, status in ((deposit("ada", "1.00"), 403), (transfer("bob", "ada", "1.00"), 404)):
            asked = {"atomic": True, "commands": [transfer("ada", "bob", "1.00"), last]}

            answer = await api.post("/v1/batches", json=asked, headers=user)

            assert answer.status_code == 422
            assert [each["status"] for each in answer.json()["results"]] == [424, status]
        assert await books() == before

        asked = {"atomic": True, "commands": [transfer("ada", "bob", "1.00")]}
        done = await api.post("/v1/batches", json=asked, headers=user)
        assert done.json()["results"][0]["body"]["toBalance"] is None
