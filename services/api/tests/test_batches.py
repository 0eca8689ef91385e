"""Promises about batches: each command has its single request's outcome, once, in order."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg
import httpx
import msgspec

from wallet_api.batch_schemas import BatchAnswer
from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.verify import verify

SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
# The most that a wallet can hold: 2^63 - 1 cents.
BRIM = "92233720368547758.07"
UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Command = dict[str, Any]
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
Trace = Callable[[], dict[str, str]]


class Answer(NamedTuple):
    status: int
    body: bytes


def command(kind: str, wallet_id: str, amount: str, **more: Any) -> Command:  # noqa: ANN401  # JSON
    return {"type": kind, "walletId": wallet_id, "amount": amount} | more


def results(answered: httpx.Response) -> list[Answer]:
    """Return what the commands of a batch got, with the exact bytes of each body."""
    assert answered.status_code == 201, answered.text
    assert answered.headers["Content-Type"] == "application/json"
    batch = msgspec.json.decode(answered.content, type=BatchAnswer)
    assert batch.atomic is False
    assert [each.index for each in batch.results] == list(range(len(batch.results)))
    return [Answer(each.status, bytes(each.body)) for each in batch.results]


async def send(api: httpx.AsyncClient, commands: list[Command], **more: Any) -> list[Answer]:  # noqa: ANN401  # JSON
    body = {"atomic": False, "commands": commands} | more
    return results(await api.post("/v1/batches", json=body))


async def single(
    api: httpx.AsyncClient, asked: Command, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send one command by its own route."""
    body = {name: value for name, value in asked.items() if name not in {"type", "walletId"}}
    path = f"/v1/wallets/{asked['walletId']}/{asked['type']}"
    return await api.post(path, json=body, headers=headers)


async def every_outcome(api: httpx.AsyncClient, twin: str) -> list[Command]:
    """Return commands with each kind of outcome, after opening the wallets that they need."""
    for name in ("other", "full", "pays"):
        await api.post("/v1/wallets", json={"id": f"{twin}-{name}"})
    await single(api, command("deposit", f"{twin}-full", BRIM))
    await single(api, command("deposit", f"{twin}-pays", "50"))
    words = {"reference": "rent", "metadata": {"b": 1, "a": [1.50, "é"]}}
    new, pays, other = f"{twin}-new", f"{twin}-pays", f"{twin}-other"
    return [
        command("deposit", new, "100", requestId="d", **words),
        command("withdraw", new, "30.5", requestId="w", **words),
        command("withdraw", new, "999", requestId="too-much"),
        command("withdraw", new, "30.50", requestId="w", **words),
        command("withdraw", new, "31", requestId="w"),
        command("deposit", new, "1.001", requestId="too-fine"),
        command("withdraw", f"{twin}-nobody", "1", requestId="none"),
        command("transfer", pays, "7", toWalletId=other, requestId="t", **words),
        command("transfer", pays, "7", toWalletId=other, requestId="t", **words),
        command("transfer", pays, "3", toWalletId=f"{twin}-full", requestId="back"),
        command("transfer", pays, "3", toWalletId=f"{twin}-nobody", requestId="nobody"),
        command("transfer", pays, "3", toWalletId=pays, requestId="myself"),
        command("transfer", new, "99999", toWalletId=other, requestId="poor"),
    ]


STATUSES = [201, 201, 422, 201, 422, 400, 404, 201, 201, 422, 422, 422, 422]


async def test_a_command_gets_what_its_single_request_gets(api: httpx.AsyncClient) -> None:
    """Status and bytes are those of the single route, but for generated ids."""
    commands = await every_outcome(api, "left")
    body = {"commands": commands}
    batch = await api.post("/v1/batches", json=body, headers={"X-Trace-Id": "left-1"})
    singles = [
        await single(api, each, {"X-Trace-Id": "rite-1"})
        for each in await every_outcome(api, "rite")
    ]

    def alike(status: int, body: bytes) -> Answer:
        return Answer(status, UUID.sub(b"<id>", body.replace(b"rite", b"left")))

    assert [each.status_code for each in singles] == STATUSES
    for asked, answer, alone in zip(commands, results(batch), singles, strict=True):
        assert alike(*answer) == alike(alone.status_code, alone.content), asked


async def test_a_batch_is_replayed_by_single_requests(
    api: httpx.AsyncClient, books: Look, trace: Trace
) -> None:
    """A command of a batch that is sent again alone is a replay: same bytes, marked, no effect."""
    commands = await every_outcome(api, "left")
    headers = trace()
    answered = results(await api.post("/v1/batches", json={"commands": commands}, headers=headers))
    before = await books()

    for asked, answer in zip(commands, answered, strict=True):
        again = await single(api, asked, headers)
        problem = again.json().get("code")
        is_forgotten = problem in {"wallet_not_found", "invalid_amount", "idempotency_key_reused"}
        assert Answer(again.status_code, again.content) == answer, asked
        assert again.headers.get("Idempotent-Replay") == (None if is_forgotten else "true"), asked
    assert await books() == before


async def test_single_requests_are_replayed_by_a_batch(
    api: httpx.AsyncClient, books: Look, trace: Trace
) -> None:
    """A batch of what single requests have done answers their bytes and does nothing."""
    commands, headers = await every_outcome(api, "left"), trace()
    singles = [await single(api, each, headers) for each in commands]
    before = await books()

    again = await api.post("/v1/batches", json={"commands": commands}, headers=headers)

    assert results(again) == [Answer(each.status_code, each.content) for each in singles]
    assert await books() == before


async def test_commands_of_one_wallet_are_carried_out_in_their_order(
    api: httpx.AsyncClient,
) -> None:
    """What one command leaves in a wallet is what its next command finds, on every wallet."""
    story: list[tuple[str, str, int, str | None]] = [
        *(("deposit", "5", 201, "5.00"), ("withdraw", "3", 201, "2.00")),
        *(("withdraw", "3", 422, None), ("deposit", "1", 201, "3.00")),
        *(("withdraw", "3", 201, "0.00"), ("withdraw", "0.01", 422, None)),
    ]
    steps = [(f"w{number}", *step) for step in story for number in range(40)]

    answers = await send(api, [command(kind, wallet, sum_) for wallet, kind, sum_, *_ in steps])

    for (wallet, kind, _, status, balance), answer in zip(steps, answers, strict=True):
        assert answer.status == status, (wallet, kind)
        body = msgspec.json.decode(answer.body)
        assert body.get("balance") == balance, (wallet, kind)


async def test_a_key_twice_in_one_batch_is_one_effect(api: httpx.AsyncClient) -> None:
    """Commands that share a key happen once and answer the same; another meaning is refused."""
    await single(api, command("deposit", "other", "1"))
    twice = [command("deposit", "w", "50", requestId="d")] * 5
    twice += [command("transfer", "w", "7", toWalletId="other", requestId="t")] * 5

    *answers, refused = await send(api, [*twice, command("withdraw", "w", "1", requestId="d")])

    assert [each.status for each in answers] == [201] * 10
    assert (len(set(answers[:5])), len(set(answers[5:]))) == (1, 1)
    assert msgspec.json.decode(refused.body)["code"] == "idempotency_key_reused"
    balances = [(await api.get(f"/v1/wallets/{each}")).json()["balance"] for each in ("w", "other")]
    assert balances == ["43.00", "8.00"]


def a_story(wallet_id: str) -> list[Command]:
    """Return commands without keys of their own, one of which is refused."""
    return [
        command("deposit", wallet_id, "5"),
        command("withdraw", wallet_id, "3"),
        command("withdraw", wallet_id, "3"),
        command("transfer", wallet_id, "1", toWalletId="other"),
        command("deposit", wallet_id, "1", requestId="own"),
    ]


async def test_a_batch_with_a_key_may_be_sent_again(api: httpx.AsyncClient, books: Look) -> None:
    """The whole batch again, its key in body or header, answers the same bytes, without effect."""
    await api.post("/v1/wallets", json={"id": "other"})
    asked, header = {"commands": a_story("w")}, {"Idempotency-Key": "payday/1"}
    first = await api.post("/v1/batches", json=asked, headers=header)
    before = await books()

    keyed = asked | {"requestId": "payday/1"}
    again = [
        await api.post("/v1/batches", json=asked, headers=header),
        await api.post("/v1/batches", json=keyed),
        await api.post("/v1/batches", json=keyed, headers=header),
    ]

    assert [each.status for each in results(first)] == [201, 201, 422, 201, 201]
    assert [(each.status_code, each.content) for each in again] == [(201, first.content)] * 3
    assert "Idempotent-Replay" not in first.headers
    assert [each.headers["Idempotent-Replay"] for each in again] == ["true"] * 3
    assert await books() == before
    keys = [msgspec.json.decode(each.body)["requestId"] for each in results(first)]
    assert (len(set(keys)), keys[4]) == (5, "own")


async def test_batches_without_a_key_are_apart(api: httpx.AsyncClient) -> None:
    """Without any key the same batch again is another intent, with another id."""
    asked = {"commands": [command("deposit", "w", "5")]}

    first, second = [await api.post("/v1/batches", json=asked) for _ in range(2)]

    assert msgspec.json.decode(results(second)[0].body)["balance"] == "10.00"
    assert first.json()["batchId"] != second.json()["batchId"]


async def test_one_batch_sent_many_times_at_once_happens_once(
    api: httpx.AsyncClient, audited: Audited, trace: Trace
) -> None:
    """Twenty of one key race: all answer the same bytes, the money moves once, each is audited."""
    await api.post("/v1/wallets", json={"id": "other"})
    asked = {"requestId": "k", "commands": a_story("w")}

    answers = await asyncio.gather(
        *(api.post("/v1/batches", json=asked, headers=trace()) for _ in range(20))
    )

    assert [each.status for each in results(answers[0])] == [201, 201, 422, 201, 201]
    assert {each.content for each in answers} == {answers[0].content}
    assert [await audited(each) for each in answers] == [[201]] * 20
    assert (await api.get("/v1/wallets/w")).json()["balance"] == "2.00"
    assert (await api.get("/v1/wallets/other")).json()["balance"] == "1.00"


async def test_every_event_of_a_batch_names_its_one_audit_row(
    api: httpx.AsyncClient, sql: asyncpg.Connection, database_url: str
) -> None:
    """A mixed batch leaves one row whose id and trace every event has, and books that prove."""
    commands = await every_outcome(api, "w")
    header = {"X-Trace-Id": "batch-1", "Idempotency-Key": "k"}
    await api.post("/v1/batches", json={"commands": commands}, headers=header)

    rows = await sql.fetch("SELECT * FROM api_audit WHERE trace_id = 'batch-1'")
    assert [(row["status"], row["url"]) for row in rows] == [(201, "/v1/batches")]
    assert msgspec.json.decode(bytes(rows[0]["body"])) == {"commands": commands}
    for table, least in [("events", 9), ("ledger_entries", 6), ("operations", 9)]:
        found = await sql.fetch(f"SELECT audit_id FROM {table} WHERE trace_id = 'batch-1'")
        assert len(found) >= least, table
        assert {row["audit_id"] for row in found} == {rows[0]["id"]}, table
    assert rows[0]["request_id"] == "k"
    database = Database(database_url, application_name="wallet-test")
    assert (await verify(database.primary)).ok
    await database.dispose()


async def test_who_may_write_may_send_batches(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    token: Callable[..., str],
    books: Look,
) -> None:
    """Payments and admin may; an auditor gets a 403 and a stranger a 401, without effect."""
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)) as api:
        before = await books()
        for role, status in [("auditor", 403), ("emperor", 403), (None, 401)]:
            headers = {"Authorization": f"Bearer {token(roles=[role])}"} if role else {}
            for body in ({"commands": [command("deposit", "w", "5")]}, {}):
                refused = await api.post("/v1/batches", json=body, headers=headers)
                assert refused.status_code == status, role
        assert await books() == before

        for role in ("payments", "admin"):
            headers = {"Authorization": f"Bearer {token(roles=[role])}"}
            body = {"commands": [command("deposit", "w", "5")]}
            assert (await api.post("/v1/batches", json=body, headers=headers)).status_code == 201
