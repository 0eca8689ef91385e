"""This module is where a batch's own key stands for the commands that were first sent under it."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest

from services.api.tests.test_batches import Command, command

Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
FIVE, ONE = command("deposit", "w", "5"), command("deposit", "w", "1")


async def asked(
    api: httpx.AsyncClient, *commands: Command, query: str = "", atomic: bool = False
) -> httpx.Response:
    """Send the commands under the key k."""
    body = {"requestId": "k", "commands": commands, "atomic": atomic}
    return await api.post(f"/v1/batches{query}", json=body)


@pytest.mark.parametrize("query", ["", "?dryRun=true"])
@pytest.mark.parametrize("was_atomic", [False, True])
async def test_a_key_does_not_take_other_commands(
    api: httpx.AsyncClient, books: Look, audited: Audited, query: str, *, was_atomic: bool
) -> None:
    """One more, one less, another amount, another order, another way: 422, and nothing happens."""
    first = await asked(api, FIVE, ONE, atomic=was_atomic)
    before = await books()

    refused = [
        await asked(api, FIVE, ONE, ONE, atomic=was_atomic, query=query),
        await asked(api, FIVE, atomic=was_atomic, query=query),
        await asked(api, FIVE, command("deposit", "w", "2"), atomic=was_atomic, query=query),
        await asked(api, ONE, FIVE, atomic=was_atomic, query=query),
        await asked(api, FIVE, ONE, atomic=not was_atomic, query=query),
    ]
    spelled = command("deposit", "w", "5.00")
    again = await asked(api, spelled, ONE, atomic=was_atomic)

    assert [(each.status_code, each.json()["code"]) for each in refused] == [
        (422, "idempotency_key_reused")
    ] * 5
    fields = [[error["field"] for error in each.json()["errors"]] for each in refused]
    assert fields == [["commands"]] * 4 + [["atomic"]]
    assert [await audited(each) for each in refused] == [[422]] * 5
    assert (again.content, again.headers["Idempotent-Replay"]) == (first.content, "true")
    assert await books() == before


async def test_a_refused_batch_takes_no_key(api: httpx.AsyncClient) -> None:
    """All or none: where it was none the mended batch may come under the same key."""
    refused = await asked(api, FIVE, command("withdraw", "w", "9"), atomic=True)
    mended = await asked(api, FIVE, command("withdraw", "w", "4"), atomic=True)

    assert (refused.status_code, mended.status_code) == (422, 201)


async def test_of_two_batches_under_one_key_at_once_one_comes_about(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Twenty times each of two, of other wallets even: all of one are answered, all others 422."""
    one, other = command("deposit", "a", "5"), command("deposit", "b", "7")
    answers = await asyncio.gather(
        *(asked(api, (one, other)[turn % 2], atomic=turn % 4 > 1) for turn in range(40))
    )

    codes = [each.json().get("code", each.status_code) for each in answers]
    assert sorted({*map(str, codes)}) == ["201", "idempotency_key_reused"]
    assert len({each.content for each in answers if each.status_code == 201}) == 1
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 1
    assert await sql.fetchval("SELECT count(*) FROM batches") == 1


async def test_only_a_batch_of_repetitions_is_one(api: httpx.AsyncClient) -> None:
    """Also where it is rehearsed: whichever comes last, and not one whose key means more."""
    old = command("deposit", "w", "5", requestId="old")
    await api.post("/v1/batches", json={"commands": [old]})
    new, other = command("deposit", "w", "1"), command("deposit", "w", "2", requestId="old")

    for query in ("?dryRun=true", ""):
        for commands in ([new, old], [old, new], [old, other], [other, old], [old, old]):
            answer = await api.post(f"/v1/batches{query}", json={"commands": commands})
            is_replay = answer.headers.get("Idempotent-Replay") == "true"
            assert is_replay == (commands == [old, old]), (query, commands)
