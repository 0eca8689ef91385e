"""This module is where very many commands are sent as lines, each with an outcome of its own."""

import json
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
ADDRESS = "/v1/batches/stream"
LINES = {"Content-Type": "application/x-ndjson"}
OTHER = "unsupported_media_type"


def deposit(number: int, **more: object) -> dict[str, Any]:
    """Return a command that succeeds."""
    asked = {"type": "deposit", "walletId": f"w{number % 7}", "amount": "1.00"}
    return {**asked, "requestId": f"k{number}", **more}


def lines(*commands: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in commands)


async def sent(
    api: httpx.AsyncClient, body: bytes, **headers: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the outcomes and the lines of progress."""
    answer = await api.post(ADDRESS, content=body, headers=LINES | headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    told = [json.loads(line) for line in answer.content.splitlines()]
    return [each for each in told if "index" in each], [each for each in told if "done" in each]


async def test_each_line_is_answered_in_its_place_with_progress_on_the_way(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Two and a half thousand deposits: all are there, once, and progress is told each thousand."""
    outcomes, progress = await sent(api, lines(*map(deposit, range(2_500))))

    assert [each["index"] for each in outcomes] == list(range(2_500))
    assert {each["status"] for each in outcomes} == {201}
    assert [(each["done"], each["of"], each["refused"]) for each in progress] == [
        *((1_000, 2_500, 0), (2_000, 2_500, 0), (2_500, 2_500, 0)),
    ]
    assert await sql.fetchval("SELECT sum(balance_minor) FROM wallets") == 250_000
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 2_500


async def test_a_byte_order_mark_is_no_part_of_the_first_line(api: httpx.AsyncClient) -> None:
    """What some editors put before a text is passed over."""
    outcomes, _ = await sent(api, BOM_UTF8 + lines(deposit(1), deposit(2)))

    assert [each["status"] for each in outcomes] == [201, 201]


async def test_a_line_that_is_no_command_harms_no_other(api: httpx.AsyncClient) -> None:
    """It is refused where it stands, as a single request would be; the last may have no end."""
    body = b"".join(
        (
            lines(deposit(1), deposit(2, amount="-1"), deposit(3, walletId="no wallet")),
            b"{\n\n",
            lines(deposit(4, type="withdraw", walletId="w9", amount="1.00")),
            lines(deposit(1, amount="2.00"), deposit(5)).removesuffix(b"\n"),
        )
    )

    outcomes, progress = await sent(api, body)

    told = [(each["status"], each["body"].get("code")) for each in outcomes]
    assert told == [
        (201, None),
        (400, "invalid_amount"),
        (400, "invalid_request"),
        (400, "malformed_json"),
        (400, "malformed_json"),
        (404, "wallet_not_found"),
        (422, "idempotency_key_reused"),
        (201, None),
    ]
    assert (progress[-1]["done"], progress[-1]["refused"]) == (8, 6)


async def test_lines_are_carried_out_as_if_one_after_the_other(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """What a transfer brings is there for the next line; so is a wallet that a line has opened."""
    chain: list[dict[str, Any]] = [deposit(0, walletId="w0", amount="5.00")]
    for number in range(40):
        asked = {"walletId": f"w{number}", "amount": "5.00", "requestId": f"t{number}"}
        chain += [
            deposit(number + 1, walletId=f"w{number + 1}", amount="0.01"),
            {"type": "transfer", "toWalletId": f"w{number + 1}", **asked},
        ]
    chain.append({"type": "withdraw", "walletId": "w40", "amount": "5.00", "requestId": "last"})

    outcomes, _ = await sent(api, lines(*chain))

    assert {each["status"] for each in outcomes} == {201}
    balances = await sql.fetch("SELECT balance_minor FROM wallets")
    assert sorted(row["balance_minor"] for row in balances) == [0] + [1] * 40


async def test_what_comes_back_is_there_for_the_next_line(api: httpx.AsyncClient) -> None:
    """A transfer that its recipient cannot take is over before its sender is asked again."""
    await sent(api, lines(deposit(0, walletId="src", amount="10.00"), deposit(1, walletId="full")))
    await api.put("/v1/wallets/full/limits", json={"maxBalance": "1.00"})
    transfer = {"type": "transfer", "walletId": "src", "toWalletId": "full", "amount": "10.00"}
    withdrawal = {"type": "withdraw", "walletId": "src", "amount": "10.00"}

    outcomes, _ = await sent(api, lines(transfer, withdrawal))

    assert [each["status"] for each in outcomes] == [422, 201]


async def test_what_broke_off_is_sent_again_as_a_whole(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """By the stream's key and a line's place: what was done is found done, the rest is done."""
    commands = [deposit(number) for number in range(30)]
    for each in commands:
        del each["requestId"]
    part, _ = await sent(api, lines(*commands[:20]), **{"Idempotency-Key": "night-17"})

    whole, progress = await sent(api, lines(*commands), **{"Idempotency-Key": "night-17"})
    other, _ = await sent(api, lines(*commands[:1]))

    assert whole[:20] == part
    assert progress[-1]["refused"] == 0
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 31
    assert other[0]["body"]["requestId"] != part[0]["body"]["requestId"]


async def test_the_audit_keeps_one_row_with_the_digest_of_what_was_sent(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Every operation points to it, and the proof agrees."""
    await sent(api, lines(*map(deposit, range(10))), **{"Idempotency-Key": "night-17"})

    rows = await sql.fetch("SELECT * FROM api_audit")
    operations = await sql.fetch("SELECT DISTINCT audit_id FROM operations")

    assert [(row["status"], row["request_id"]) for row in rows] == [(201, "night-17")]
    assert json.loads(rows[0]["body"])["lines"] == 10
    assert [row["audit_id"] for row in operations] == [rows[0]["id"]]
    assert (await api.post("/v1/admin/verify")).json()["ok"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", LINES, 400, "invalid_request"),
        (b"\n" * 100_001, LINES, 400, "invalid_request"),
        (lines(deposit(1)), {"Content-Type": "application/json"}, 415, OTHER),
        (lines(deposit(1)), {"Content-Type": "application/x-ndjson; charset=latin-1"}, 415, OTHER),
        (lines(deposit(1)), LINES | {"Content-Encoding": "gzip"}, 415, OTHER),
        (b"x" * 33_554_433, LINES, 413, "body_too_large"),
        (lines(deposit(1)), LINES | {"Idempotency-Key": "a b"}, 400, "invalid_request"),
    ],
)
async def test_what_is_no_stream_of_commands_is_refused_as_a_whole(
    api: httpx.AsyncClient,
    audited: Audited,
    books: Look,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    """Nothing of it happens, and it leaves its audit row."""
    before = await books()

    answer = await api.post(ADDRESS, content=body, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await books() == before
    assert await audited(answer) == [status]


async def test_a_stream_is_rehearsed_as_it_would_come(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """
    What a thousand lines would leave is there for the next thousand, also their keys, and nothing
    happens. Then all comes as it was foretold.
    """
    paid = {"type": "transfer", "walletId": "w0", "toWalletId": "w1", "amount": "0.05"}
    kept = deposit(0, requestId="once"), paid | {"requestId": "paid"}
    lacking = {"type": "withdraw", "walletId": "w0", "amount": "50.95"}
    body = lines(
        *(deposit(number, amount="100.00") for number in range(3)),
        *kept,
        *[paid] * 999,
        *(deposit(2, requestId=f"more{number}") for number in range(1_000)),
        *kept,
        *(lacking, lacking | {"amount": "50.96"}, lacking | {"amount": "0.01"}),
    )

    rehearsed = await api.post(f"{ADDRESS}?dryRun=true", content=body, headers=LINES)
    entries = await sql.fetchval("SELECT count(*) FROM ledger_entries")
    came = await api.post(ADDRESS, content=body, headers=LINES)

    assert (rehearsed.status_code, entries, came.status_code) == (200, 0, 201)
    foretold, done = (
        [json.loads(each) for each in answer.content.splitlines()] for answer in (rehearsed, came)
    )
    assert [each["dryRun"] for each in foretold if "done" in each] == [True] * 3
    assert _told(foretold) == _told(done)
    assert _told(done)[-3:] == [(201, "0.05"), (422, None), (201, "0.04")]


def _told(answered: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """Return each line's status and the balance that it leaves."""
    results = [(each["status"], each["body"]) for each in answered if "index" in each]
    return [(status, body.get("balance", body.get("fromBalance"))) for status, body in results]
