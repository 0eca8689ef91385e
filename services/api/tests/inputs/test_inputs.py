"""
The catalogue of bad input: 212 rows, each sent to a real process, each with the same claim.

A row is refused with a status that it allows, in a problem document that tells nothing of the
inside, at once, without any effect, leaves one audit row if it was a complete write, and the
process as it was.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final

import asyncpg
import pytest

from services.api.tests.inputs import addresses, bodies, framing, owners, strangers
from services.api.tests.inputs.forms import check_form
from services.api.tests.inputs.place import Answer, Place, Silence, new_trace
from services.api.tests.inputs.rows import Row
from services.api.tests.inputs.tokens import mint, tokens

ROWS: Final = (*bodies.ROWS, *addresses.ROWS, *framing.ROWS, *strangers.ROWS, *owners.ROWS)

SECONDS_MAX: Final = 1.0
GROWTH_MAX: Final = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def settled(place: Place) -> int:
    """Return how much memory the process holds once it has answered a few."""
    for _ in range(20):
        place.post("/v1/wallets/good/deposit", amount="1")
    return place.resident_bytes()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row(
    place: Place, ledger: asyncpg.Connection, settled: int, silence: Silence, row: Row
) -> None:
    """A row gets an answer that it allows, and leaves nothing but what it may leave."""
    trace_id = new_trace()
    request = place.request(row, trace_id)
    before, audited_before = await look(ledger), await audited(ledger)

    (answer,) = await place.send(request)

    assert answer.status in row.allowed, answer.content[:1_000]
    check_form(answer, request)
    after, audited_after = await look(ledger), await audited(ledger)
    check_effect(row, answer, before, after)
    assert audited_after - audited_before == row.audits
    if row.audits:
        told = await ledger.fetchrow(
            "SELECT status, host(client_ip::inet) AS peer FROM api_audit WHERE trace_id = $1",
            answer.headers["X-Trace-Id"],
        )
        assert dict(told) == {"status": answer.status, "peer": "127.0.0.1"}
    if row.kept is not None:
        sql = "SELECT metadata FROM ledger_entries WHERE trace_id = $1"
        assert await ledger.fetchval(sql, trace_id) == row.kept
    if answer.seconds > SECONDS_MAX:  # Somebody else may have had the machine just then.
        (answer,) = await place.send(request)
    assert answer.seconds < SECONDS_MAX
    await place.send_good()
    assert place.process.poll() is None
    assert abs(place.resident_bytes() - settled) < GROWTH_MAX


@pytest.mark.parametrize("row", [row for row in ROWS if row.twin], ids=lambda row: row.name)
async def test_what_is_anothers_is_as_what_is_not_there(place: Place, row: Row) -> None:
    """Both get the same bytes, but for the name that was asked for and the trace id."""
    assert row.twin is not None
    (answer,) = await place.send(place.request(row, "trace"))
    twin = row._replace(path=row.path.replace(*row.twin))
    (absent,) = await place.send(place.request(twin, "trace"))

    theirs, nobodys = (place.fill(name.encode()) for name in row.twin)
    assert (answer.status, answer.content.replace(theirs, nobodys)) == (
        absent.status,
        absent.content,
    )
    assert answer.headers.keys() == absent.headers.keys()


async def test_211_who_comes_too_often(
    place: Place, start: Callable[..., Place], ledger: asyncpg.Connection
) -> None:
    """
    200 at once over two processes: 201 or 429 with when to come again, and one effect.

    Others are not kept waiting by it; bad tokens are counted by their client's address.
    """
    one = start(WALLET_RATE_LIMIT_PER_SECOND="50")
    other = start(WALLET_RATE_LIMIT_PER_SECOND="50", WALLET_CLIENT_RATE_LIMIT_PER_SECOND="20")
    row = Row(211, "often", (201, 429), b'{"amount":"1","requestId":"often"}')

    async def send(at: Place, token: str = row.token) -> Answer:
        (answer,) = await at.send(place.request(row._replace(token=token), new_trace()))
        return answer

    often = await asyncio.gather(*(send((one, other)[n % 2]) for n in range(200)))
    crowd = await asyncio.gather(*(send(one, mint(sub=f"teller-{n}")) for n in range(50)))
    bad = await asyncio.gather(*(send(other, "no-token") for _ in range(50)))

    done = [each for each in often if each.status == 201]
    refused = [each for each in (*often, *bad) if each.status == 429]
    assert 0 < len(done) < 200
    assert len({each.content for each in (*done, *crowd)}) == 1
    assert {each.status for each in crowd} == {201}
    assert {each.status for each in bad} <= {401, 429}
    assert 429 in {each.status for each in bad}
    for each in refused:
        assert each.problem["code"] == "rate_limited"
        assert int(each.headers["Retry-After"]) >= 1
    assert len(await ledger.fetch("SELECT FROM operations WHERE request_id = 'often'")) == 1
    sql = "SELECT count(*) FROM api_audit WHERE status = 429"
    assert await ledger.fetchval(sql) == len(refused)


def test_every_row_is_here() -> None:
    """Each number of the catalogue is a row, or a test of its own."""
    alone = {
        int(name.split("_")[1])
        for name in globals()
        if name.startswith("test_") and name.split("_")[1].isdecimal()
    }

    assert {row.number for row in ROWS} | alone == set(range(1, 213))


async def test_146_a_key_in_flight_waits(place: Place, ledger: asyncpg.Connection) -> None:
    """Two requests with one key while the wallet is locked: both wait, one moves, same bytes."""
    row = Row(146, "in flight", (201,), b'{"amount":"1","requestId":"in-flight"}')
    before = await look(ledger)
    lock = ledger.transaction()
    await lock.start()
    await ledger.execute("SELECT FROM wallets WHERE id = 'w1' FOR UPDATE")

    asked = [asyncio.create_task(place.send(place.request(row, new_trace()))) for _ in range(2)]
    done, _ = await asyncio.wait(asked, timeout=0.3)
    assert not done
    await lock.rollback()
    (first,), (second,) = await asyncio.gather(*asked)

    assert (first.status, second.status) == (201, 201)
    assert first.content == second.content
    assert {first.headers["Idempotent-Replay"], second.headers["Idempotent-Replay"]} == {
        None,
        "true",
    }
    check_effect(row._replace(moves=100), first, before, await look(ledger))


async def test_168_a_body_that_does_not_come(silence: Silence, ledger: asyncpg.Connection) -> None:
    """Who announces more than is sent is told so within 30 s, with no effect and no audit row."""
    answer = await asyncio.to_thread(silence.answer)

    assert answer.status == 408
    assert answer.seconds < 30
    assert answer.headers["Connection"] == "close"
    assert answer.problem["traceId"] == "silent"
    for table in ("operations", "api_audit"):
        sql = f"SELECT count(*) FROM {table} WHERE trace_id = 'silent'"
        assert await ledger.fetchval(sql) == 0


async def test_every_line_of_the_log_is_one(place: Place) -> None:
    """Whatever was sent, a line of the log is a JSON object; no token and no secret is in it."""
    for row in (row for row in ROWS if row.number == 104):
        await place.send(place.request(row._replace(token="<admin>"), new_trace()))

    lines = place.log.read_text().splitlines()

    assert len(lines) >= 2
    assert all(isinstance(json.loads(line), dict) for line in lines)
    for name, secret in place.names.items():
        if name in tokens():
            assert secret not in place.log.read_text()


async def look(ledger: asyncpg.Connection) -> dict[str, int]:
    """Return what the books hold, counted; equal looks mean that nothing happened."""
    tables = ("operations", "ledger_entries", "events", "outbox", "transfers", "wallets")
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables)
    sums = "sum(balance_minor)::text AS money, sum(version)::text AS versions"
    row = await ledger.fetchrow(f"SELECT {counts}, {sums} FROM wallets")
    return {name: int(value) for name, value in row.items()}


async def audited(ledger: asyncpg.Connection) -> int:
    count: int = await ledger.fetchval("SELECT count(*) FROM api_audit")
    return count


def check_effect(row: Row, answer: Answer, before: dict[str, int], after: dict[str, int]) -> None:
    """Check that the books are as they were, or changed by exactly what the row says."""
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    if row.moves is not None:
        assert changed.pop("money", 0) == row.moves
        assert changed.keys() >= {"operations", "ledger_entries", "events", "outbox", "versions"}
    else:
        is_remembered = row.is_remembered and answer.status == 422
        assert changed == ({"operations": 1} if is_remembered else {})
