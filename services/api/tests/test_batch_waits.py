"""This module is where a stranger holds wallets that a batch asks for."""

import asyncio
from time import monotonic

import asyncpg
import httpx
import msgspec

from services.api.tests.test_batch_limits import BUSY_WITHIN_S, GOOD, a_batch, statuses
from wallet_api.batch_schemas import BatchAnswer


async def test_a_held_wallet_holds_up_only_its_own_commands(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """
    While a stranger has one wallet its commands are 503, with those that a transfer ties to them;
    the others are done; again, all once.
    """
    for name in ("held", "free", "payer"):
        await api.post("/v1/wallets", json={"id": name})
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "100"})
    held, free = (
        {"type": "withdraw", "walletId": each, "amount": "1"} for each in ("held", "free")
    )
    to_held = free | {"type": "transfer", "walletId": "payer", "toWalletId": "held"}
    batch = a_batch(*[held, free] * 10, to_held, held, GOOD, requestId="k")

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        started_s = monotonic()
        first = await api.post("/v1/batches", json=batch)
        taken_s = monotonic() - started_s
    again = await api.post("/v1/batches", json=batch)

    assert taken_s < BUSY_WITHIN_S
    assert statuses(first) == [503, 201] * 10 + [503, 503, 201]
    told, told_again = (
        msgspec.json.decode(each.content, type=BatchAnswer).results for each in (first, again)
    )
    problem = msgspec.json.decode(told[0].body)
    assert (problem["code"], problem["status"], problem["retryable"]) == ("busy", 503, True)
    assert statuses(again) == [201] * 23
    for one, same in zip(told, told_again, strict=True):
        assert one.status == 503 or bytes(one.body) == bytes(same.body), one.index
    balances = [
        (await api.get(f"/v1/wallets/{each}")).json()["balance"]
        for each in ("held", "free", "payer")
    ]
    assert balances == ["90.00", "90.00", "99.00"]


async def test_what_transfers_tie_to_a_held_wallet_is_busy_in_time(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """However many transactions they would have been: nobody waits for one lock after the other."""
    for name in ("held", "payer"):
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "900"})
    paid = {"type": "transfer", "walletId": "payer", "toWalletId": "held", "amount": "1"}

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        started_s = monotonic()
        answer = await api.post("/v1/batches", json=a_batch(*[paid] * 500))
        taken_s = monotonic() - started_s

    assert taken_s < BUSY_WITHIN_S
    assert statuses(answer) == [503] * 500
    assert (await api.get("/v1/wallets/payer")).json()["balance"] == "900.00"


async def test_commands_that_waited_for_a_stranger_keep_their_order(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """More commands for one wallet than one transaction takes stay in order, whoever held it."""
    await api.post("/v1/wallets", json={"id": "w"})
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

    async with asyncio.timeout(BUSY_WITHIN_S):
        async with sql.transaction():
            await sql.fetch("SELECT FROM wallets WHERE id = 'w' FOR UPDATE")
            answering = asyncio.create_task(api.post("/v1/batches", json=a_batch(*[GOOD] * 600)))
            while not await sql.fetchval(waiting):
                pass
            # Until the first of them has given up waiting in the common lane.
            while await sql.fetchval(waiting):
                pass
        answered = await answering

    assert statuses(answered) == [201] * 600
    versions = [each["body"]["version"] for each in answered.json()["results"]]
    assert versions == sorted(versions)


async def test_a_group_waits_for_its_own_wallets_alone(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """What other transfers of the batch tie together is done meanwhile."""
    for name in ("held", "payer", "one", "two"):
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "9"})
    to_held, to_two, back = (
        {"type": "transfer", "walletId": sender, "toWalletId": recipient, "amount": "1"}
        for sender, recipient in (("payer", "held"), ("one", "two"), ("two", "one"))
    )

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        answer = await api.post("/v1/batches", json=a_batch(to_held, to_two, to_held, back))

    assert statuses(answer) == [503, 201, 503, 201]
