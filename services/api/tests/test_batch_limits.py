"""Promises about batches that are refused, too large, too many, or held up by somebody else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from wallet_db_orm import group_commit

JSON = {"Content-Type": "application/json"}
# The limit for a caller whose wallet somebody else holds.
BUSY_WITHIN_S = 6.0
BATCH_BYTES_MAX = 4_194_304
WALLET_FORM = "letters, digits or _.:-"
GOOD: dict[str, Any] = {"type": "deposit", "walletId": "w", "amount": "1"}
Look = Callable[[], Awaitable[tuple[int, ...]]]
Audited = Callable[[httpx.Response], Awaitable[list[int]]]
Trace = Callable[[], dict[str, str]]

# What one command of a good batch has instead, by the member that is told; `...` leaves it out.
BAD_COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("amount", {"amount": "1e2"}),
    ("amount", {"amount": "-1"}),
    ("amount", {"amount": True}),
    ("amount", {"amount": ...}),
    ("type", {"type": "steal"}),
    ("type", {"type": "Deposit"}),
    ("type", {"type": None}),
    ("type", {"type": ...}),
    ("balance", {"balance": "1"}),
    ("wallet_id", {"wallet_id": "w"}),
    ("walletId", {"walletId": "-w"}),
    ("walletId", {"walletId": "w\n"}),
    ("walletId", {"walletId": "w" * 129}),
    ("walletId", {"walletId": 1}),
    ("walletId", {"walletId": ...}),
    ("toWalletId", {"toWalletId": "v"}),
    ("toWalletId", {"type": "withdraw", "toWalletId": "v"}),
    ("toWalletId", {"type": "transfer"}),
    ("toWalletId", {"type": "transfer", "toWalletId": "a b"}),
    ("requestId", {"requestId": "a b"}),
    ("requestId", {"requestId": "k" * 129}),
    ("requestId", {"requestId": 1}),
    ("reference", {"reference": ""}),
    ("reference", {"reference": "\n"}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": {"a": "x" * 5_000}}),
    ("metadata", {"metadata": {str(number): 1 for number in range(65)}}),
]
# What no JSON object of ours may hold, instead of a good batch's second command.
BAD_JSON = [
    *(b'{"type":"deposit","walletId":"w","amount":%b}' % each for each in (b"NaN", b"01", b"+1")),
    b'{"type":"deposit","walletId":"w","amount":"1","amount":"1"}',
    b'{"type":"deposit","walletId":"w","amount":"1","\\u0061mount":"2"}',
    b'{"type":"deposit","walletId":"w","amount":"1","metadata":{"a":1,"a":2}}',
    b'{"type":"deposit","walletId":"w","amount":"1","metadata":{"a":NaN}}',
    b'{"type":"deposit","walletId":"w","amount":"1","metadata":{"a":"\\u0000"}}',
    b'{"type":"deposit","walletId":"w","amount":"1","metadata":{"a":"\\ud800"}}',
    b'{"type":"deposit","walletId":"w","amount":"1","reference":"\xff"}',
    b'{"type":"deposit","walletId":"w","amount":"1","metadata":%b%b}'
    % (b'{"a":' * 20_000, b"}" * 20_000),
    *(b"[" * 20_000, b"[" * 20_000 + b"]" * 20_000, b"", b"{"),
]


def a_batch(*commands: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    return {"commands": list(commands)} | more


def statuses(answered: httpx.Response) -> list[int]:
    assert answered.status_code == 201, answered.text
    return [each["status"] for each in answered.json()["results"]]


async def check_refused(api: httpx.AsyncClient, audited: Audited, body: bytes) -> dict[str, Any]:
    """Send a batch that must be a 400 with one audit row; return the problem."""
    refused = await api.post("/v1/batches", content=body, headers=JSON)
    assert refused.status_code == 400, (body[:200], refused.text[:200])
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert await audited(refused) == [400], body[:200]
    assert len(refused.content) < 2_000, body[:200]
    problem: dict[str, Any] = refused.json()
    return problem


async def test_a_malformed_command_is_named(
    api: httpx.AsyncClient, audited: Audited, books: Look
) -> None:
    """One bad command refuses the whole batch, names its place and says what is wrong there."""
    before, wrong = await books(), []

    for field, change in BAD_COMMANDS:
        bad = {name: value for name, value in (GOOD | change).items() if value is not ...}
        body = msgspec.json.encode(a_batch(GOOD, bad, GOOD))
        problem = await check_refused(api, audited, body)
        place = f"commands[1].{field}"
        named = [each["field"] for each in problem.get("errors", [])]
        is_told = problem["detail"].startswith(place)
        # The words must be about this member.
        is_of_a_wallet = WALLET_FORM in problem["detail"]
        if named != [place] or not is_told or (is_of_a_wallet and "allet" not in field):
            wrong.append((field, change, problem["detail"]))

    assert wrong == []
    assert await books() == before


async def test_what_is_no_json_is_no_batch(
    api: httpx.AsyncClient, audited: Audited, books: Look
) -> None:
    """Repeated keys, numbers that are none, bad text and endless nesting refuse the batch."""
    good = msgspec.json.encode(GOOD)
    before = await books()

    for bad in BAD_JSON:
        body = b'{"commands":[%b,%b]}' % (good, bad)
        assert (await check_refused(api, audited, body))["code"] == "malformed_json", bad[:100]
    for body in (b"", b"[]", b"null", b"{}", good, b'{"commands":{}}', b'{"commands":null}'):
        await check_refused(api, audited, body)
    assert await books() == before


@pytest.mark.parametrize(
    ("field", "batch"),
    [
        ("commands", a_batch()),
        ("commands", a_batch(*[GOOD] * 1_001)),
        ("atomic", a_batch(GOOD, atomic="false")),
        ("requestId", a_batch(GOOD, requestId="a b")),
        ("dryRun", a_batch(GOOD, dryRun=True)),
    ],
)
async def test_a_malformed_batch_is_named(
    api: httpx.AsyncClient, audited: Audited, books: Look, field: str, batch: dict[str, Any]
) -> None:
    """No commands, too many, half atomic, a bad key: a 400 that says so, and no effect."""
    before = await books()

    problem = await check_refused(api, audited, msgspec.json.encode(batch))

    assert await books() == before
    assert [each["field"] for each in problem["errors"]] == [field]
    assert WALLET_FORM not in problem["detail"]


async def test_two_keys_of_one_batch_must_agree(
    api: httpx.AsyncClient, audited: Audited, books: Look
) -> None:
    """Body and header that name different keys are a 400, without effect."""
    before = await books()

    header = {"Idempotency-Key": "b"}
    refused = await api.post("/v1/batches", json=a_batch(GOOD, requestId="a"), headers=header)

    assert (refused.status_code, await audited(refused)) == (400, [400])
    assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await books() == before


async def test_a_thousand_commands_pass(api: httpx.AsyncClient) -> None:
    """The largest batch is carried out, every command of it."""
    commands = [GOOD | {"walletId": f"w{number % 100}"} for number in range(1_000)]

    answered = await api.post("/v1/batches", json=a_batch(*commands))

    assert statuses(answered) == [201] * 1_000
    balances = [each["body"]["balance"] for each in answered.json()["results"]]
    assert balances == [f"{number // 100 + 1}.00" for number in range(1_000)]


async def test_the_body_limit_of_batches(
    api: httpx.AsyncClient, audited: Audited, books: Look
) -> None:
    """4 MiB pass and one byte more does not; elsewhere the usual limit stays."""
    body = msgspec.json.encode(a_batch(GOOD | {"metadata": {"a": "x" * 4_000}}))

    for size in (65_537, BATCH_BYTES_MAX):
        passed = await api.post("/v1/batches", content=body.ljust(size), headers=JSON)
        assert statuses(passed) == [201]
    before = await books()
    for path, size in [("/v1/batches", BATCH_BYTES_MAX + 1), ("/v1/wallets/w/deposit", 65_537)]:
        refused = await api.post(path, content=body.ljust(size), headers=JSON)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
        assert await audited(refused) == [413]
    assert await books() == before


async def test_a_batch_for_which_there_is_no_room_is_busy(
    api: httpx.AsyncClient, audited: Audited, books: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More commands than may wait are a 503 that asks to come back, and nothing happened."""
    monkeypatch.setattr(group_commit, "PENDING_MAX", 10)
    before = await books()

    refused = await api.post("/v1/batches", json=a_batch(*[GOOD] * 11))
    looked = await books()
    passed = await api.post("/v1/batches", json=a_batch(*[GOOD] * 10))

    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["retryable"]) == (503, "busy", True)
    assert int(refused.headers["Retry-After"]) >= 1
    assert await audited(refused) == [503]
    assert looked == before
    assert statuses(passed) == [201] * 10


async def test_batches_race_for_the_last_room(
    api: httpx.AsyncClient, audited: Audited, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of batches that together are too many each is told the truth: what is 503 has no effect."""
    monkeypatch.setattr(group_commit, "PENDING_MAX", 100)
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    answers = await asyncio.gather(
        *(api.post("/v1/batches", json=a_batch(*[GOOD] * 60), headers=trace()) for _ in range(5))
    )

    assert {each.status_code for each in answers} <= {201, 503}
    done = [statuses(each).count(201) for each in answers if each.status_code == 201]
    # It comes after whatever of them is still queued.
    last = await api.post("/v1/wallets/w/deposit", json={"amount": "1"})
    assert last.json()["balance"] == f"{2 + sum(done)}.00"
    assert [await audited(each) for each in answers] == [[each.status_code] for each in answers]
