"""Promises about the log of events: found by time without an index, read in order, in bounds."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wallet_db_orm import event_log, feed
from wallet_db_orm.event_log import Span, Told
from wallet_db_orm.outbox import RelaySession
from wallet_tools.postgres import PostgresServer

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COUNT = 2_345
# Place n: occurred n seconds after noon and left a minute later, ten at a time; two wallets.
EVENTS = """
    INSERT INTO events (wallet_id, id, wallet_version, type, payload, occurred_at)
    SELECT 'w' || n % 2, gen_random_uuid(), (n + 1) / 2,
        CASE n % 5 WHEN 0 THEN 'FundsWithdrawn' ELSE 'FundsDeposited' END,
        '{"amount": "1.00", "currency": "USD"}', $1::timestamptz + n * interval '1 second'
    FROM generate_series(1, $2::int) AS n
"""
FEED = """
    INSERT INTO feed (position, wallet_id, event_id, published_at)
    SELECT n, e.wallet_id, e.id, $1::timestamptz + interval '1 minute' + n / 10 * interval '10 s'
    FROM generate_series(1, $2::int) AS n
    JOIN events AS e ON e.wallet_id = 'w' || n % 2 AND e.wallet_version = (n + 1) / 2
"""


def second(n: int) -> datetime:
    return NOON + timedelta(seconds=n)


@pytest.fixture
async def log(breakable: "Ledger", books: "Books") -> "Ledger":
    """Return books whose log has COUNT events."""
    await books.execute(EVENTS, NOON, COUNT)
    await books.execute(FEED, NOON, COUNT)
    return breakable


async def walk(ledger: "Ledger", span: Span) -> tuple[list[int], list[Told]]:
    """Return how far each step went, and all that was told."""
    ends: list[int] = []
    found: list[Told] = []
    async for upto, told in event_log.read(ledger.database.reads, span):
        ends.append(upto)
        found.extend(told)
    return ends, found


def places(told: Sequence[Told]) -> list[int]:
    return [each.position for each in told]


async def test_an_empty_feed_has_no_place(breakable: "Ledger") -> None:
    """Before the first event the newest place is 0, and every time comes after it."""
    engine = breakable.database.reads

    assert await feed.last_position(engine) == 0
    assert await event_log.first_published(engine, NOON) == 1
    assert await walk(breakable, Span(after=0, upto=0)) == ([], [])


@pytest.mark.parametrize(
    ("since", "expected"),
    [(0, 1), (60, 1), (61, 10), (70, 10), (71, 20), (1_060, 1_000), (2_400, 2_340), (9_999, 2_346)],
)
async def test_a_time_has_its_first_place(log: "Ledger", since: int, expected: int) -> None:
    """The first place that was given at that time or later, also where many left at once."""
    assert await event_log.first_published(log.database.reads, second(since)) == expected


async def test_a_walk_meets_each_place_once(log: "Ledger") -> None:
    """In order and without a gap, in steps that are bounded however far it goes."""
    ends, told = await walk(log, Span(after=17, upto=COUNT))

    assert places(told) == list(range(18, COUNT + 1))
    assert ends == [1_017, 2_017, COUNT]


async def test_what_is_told_is_what_went_out(ledger: "Ledger", a: Any) -> None:  # noqa: ANN401  # builders
    """The body is byte-equal to what the relay had in hand, and so are id and type."""
    await ledger.post(a.deposit("w1", "10.00"), audited=True)
    await ledger.post(a.deposit("w2", "10.00"))
    await ledger.transfer(a.transfer("w1", "w2", "1.00"), audited=True)
    relay = RelaySession(ledger.url)
    assert await relay.acquire()
    left = await relay.take(100)
    await relay.remove([each.position for each in left])
    await relay.close()

    _, told = await walk(
        ledger, Span(after=0, upto=await feed.last_position(ledger.database.reads))
    )

    assert [(each.event_id, each.type, each.body) for each in told] == [
        (each.event_id, each.routing_key, each.body) for each in left
    ]


async def test_only_what_is_wanted_is_told(log: "Ledger") -> None:
    """By event time (the end not included), by wallet, by type; steps go on through what is not."""
    within = Span(after=0, upto=COUNT, since=second(1_500), until=second(1_600))
    of_one = Span(after=1_000, upto=1_100, wallet_id="w1", type="FundsWithdrawn")

    ends, told = await walk(log, within)
    _, few = await walk(log, of_one)

    assert ends == [1_000, 2_000, COUNT]
    assert places(told) == list(range(1_500, 1_600))
    assert places(few) == [n for n in range(1_001, 1_101) if n % 2 == 1 and n % 5 == 0]
    assert all(msgspec.json.decode(each.body)["walletId"] == "w1" for each in few)


@pytest.mark.parametrize("name", ["_READ", "_IS_BEFORE"])
def test_a_plan_goes_by_places(
    database_url: str, postgres_server: PostgresServer, name: str
) -> None:
    """Whatever the planner thinks of a table's size, rows are found by index conditions only."""
    statement = str(getattr(event_log, name))
    asked = dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement))
    for number, parameter in enumerate(asked, 1):
        statement = re.sub(rf"(?<!:):{parameter}\b", f"${number}", statement)
    explain = f"SET enable_seqscan = off; EXPLAIN (GENERIC_PLAN) {statement}"

    plan = postgres_server.execute(explain, database_url.rpartition("/")[2]).splitlines()

    assert not [line for line in plan if "Seq Scan on" in line], plan
    for number, line in enumerate(plan):
        if re.search(r"Index (Only )?Scan (using|on)", line):
            assert "Index Cond" in plan[number + 1], plan
