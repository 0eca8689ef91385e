"""This module is where a stranger holds wallets that a batch asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import asyncpg
import httpx
import msgspec

from services.api.tests.test_batch_limits import BUSY_WITHIN_S, GOOD, a_batch, statuses
from services.api.tests.test_batch_streams import ADDRESS, LINES, deposit, lines, sent
from wallet_api.batch_schemas import BatchAnswer

Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]


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


async def test_whoever_leaves_takes_no_command_out_of_the_middle(
    api: httpx.AsyncClient, sql: asyncpg.Connection, eventually: Eventually
) -> None:
    """A stream is dropped while a stranger has its wallet; sent again, all is done as it came."""
    await api.post("/v1/wallets", json={"id": "held"})
    body = lines(
        {"type": "deposit", "walletId": "held", "amount": "10"},
        {"type": "withdraw", "walletId": "held", "amount": "10"},
        {"type": "deposit", "walletId": "held", "amount": "1"},
    )
    key = {"Idempotency-Key": "night-18"}
    waits = "SELECT max(waitstart) FROM pg_locks WHERE NOT granted"

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        dropped = asyncio.create_task(api.post(ADDRESS, content=body, headers=LINES | key))
        await eventually(lambda: sql.fetchval(waits))
        dropped.cancel()
        await asyncio.wait([dropped])
        left_at = await sql.fetchval("SELECT clock_timestamp()")
        # The wallet has got a lane of its own by then.
        await eventually(lambda: sql.fetchval(f"SELECT ({waits}) > $1", left_at))
    outcomes, _ = await sent(api, body, **key)

    assert [each["status"] for each in outcomes] == [201, 201, 201]
    assert [each["body"]["version"] for each in outcomes] == [2, 3, 4]


async def test_a_repetition_that_is_busy_is_no_replay(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """A transfer was begun before, and cannot end now either: no outcome is repeated."""
    for name in ("held", "payer"):
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "9"})
    paid = {"amount": "1", "toWalletId": "held", "requestId": "k"}
    batch = a_batch({"type": "transfer", "walletId": "payer", **paid})

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        first = await api.post("/v1/wallets/payer/transfer", json=paid)
        again = await api.post("/v1/batches", json=batch)
    at_last = await api.post("/v1/batches", json=batch)

    assert (first.status_code, statuses(again), statuses(at_last)) == (503, [503], [201])
    assert "Idempotent-Replay" not in again.headers
    assert at_last.headers["Idempotent-Replay"] == "true"


async def test_a_held_wallet_is_waited_for_once_in_a_stream(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Later lines of its wallet are busy too, thousands later, and what transfers tie to these."""
    for name in ("held", "payer"):
        await api.post(f"/v1/wallets/{name}/deposit", json={"amount": "9"})
    held, paid = (
        {"type": "withdraw", "walletId": each, "amount": "1"} for each in ("held", "payer")
    )
    to_held = paid | {"type": "transfer", "toWalletId": "held"}
    free = [[deposit(number + 1_000 * part) for number in range(999)] for part in range(4)]
    commands = [each for part in free for each in (held, *part)] + [paid, to_held, paid]

    async with sql.transaction():
        await sql.fetch("SELECT FROM wallets WHERE id = 'held' FOR UPDATE")
        started_s = monotonic()
        outcomes, _ = await sent(api, lines(*commands))
        taken_s = monotonic() - started_s

    assert taken_s < BUSY_WITHIN_S
    told = [each["status"] for each in outcomes]
    assert told == [503, *[201] * 999] * 4 + [201, 503, 503]
