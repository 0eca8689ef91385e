"""This module is where events leave in order, through one relay at a time."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_db_orm import outbox
from wallet_db_orm.outbox import RelaySession

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Until = Callable[..., Awaitable[bool]]
RELAY = "wallet-relay"


@pytest.fixture
async def relay(ledger: "Ledger") -> AsyncIterator[RelaySession]:
    """Yield a relay's session."""
    session = RelaySession(ledger.url)
    yield session
    await session.close()


@pytest.fixture
async def standby(ledger: "Ledger") -> AsyncIterator[RelaySession]:
    """Yield the session of a second relay."""
    session = RelaySession(ledger.url)
    yield session
    await session.close()


async def test_each_wallets_events_leave_in_the_order_of_its_versions(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """Taken while two processes write, no wallet's event overtakes or skips another."""
    left: dict[str, list[int | None]] = defaultdict(list)
    wallet_ids = [f"w{number}" for number in range(5)]
    assert await relay.acquire()

    async def take() -> int:
        batch = await relay.take(50)
        for each in batch:
            left[each.wallet_id].append(decode(each.body).wallet_version)
        await relay.remove([each.position for each in batch])
        return len(batch)

    async with asyncio.TaskGroup() as writers:
        for process in (ledger, other):
            for number in range(200):
                command = a.deposit(wallet_ids[number % 5], "1.00")
                writers.create_task(process.post(command))
        for number in range(50):
            await ledger.post(a.deposit(wallet_ids[number % 5], "1.00"))
            await take()
    while await take():
        pass

    assert left == {wallet_id: list(range(1, 92)) for wallet_id in wallet_ids}
    assert await books.count("outbox") == 0


async def test_an_event_that_is_not_removed_is_taken_again(
    ledger: "Ledger", a: "Builders", relay: RelaySession
) -> None:
    """Taking changes nothing: what was not confirmed comes again, the same bytes in order."""
    await ledger.post(a.deposit("w1", "1.00"))
    assert await relay.acquire()

    first = await relay.take(10)
    again = await relay.take(10)
    await relay.remove([first[0].position])

    assert again == first
    assert [each.routing_key for each in first] == ["WalletCreated", "FundsDeposited"]
    assert await relay.take(10) == first[1:]


async def test_what_is_on_its_way_is_not_taken_ahead(
    ledger: "Ledger", a: "Builders", relay: RelaySession
) -> None:
    """Beside a batch that is sent already only the others are taken, and all again without it."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "1.00"))
    assert await relay.acquire()
    batch = await relay.take(3)

    ahead = await relay.take(3, sent=[each.position for each in batch])

    assert [*batch, *ahead] == await relay.take(10)
    assert len(ahead) == 1


async def test_only_one_relay_is_active(
    ledger: "Ledger", relay: RelaySession, standby: RelaySession
) -> None:
    """The lock is one per database; giving it up lets the next one in."""
    before = await outbox.is_active(ledger.database.primary)
    turns = [await relay.acquire(), await standby.acquire(), await relay.acquire()]
    active = await outbox.is_active(ledger.database.primary)

    await relay.close()

    assert (before, turns, active) == (False, [True, False, True], True)
    assert await standby.acquire()
    assert not await relay.acquire()


async def test_a_standby_takes_over_when_the_relays_session_ends(
    ledger: "Ledger",
    books: "Books",
    a: "Builders",
    relay: RelaySession,
    standby: RelaySession,
    until: Until,
) -> None:
    """Whoever lost its session cannot remove what its successor has not sent."""
    await ledger.post(a.deposit("w1", "1.00"))
    assert await relay.acquire()
    taken = await relay.take(10)
    assert await books.terminate(RELAY) == 1

    assert await until(standby.acquire)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await relay.remove([each.position for each in taken])

    assert await standby.take(10) == taken
    await relay.close()
    assert not await relay.acquire()


async def test_a_relay_that_falls_silent_loses_its_place(
    ledger: "Ledger", a: "Builders", relay: RelaySession, standby: RelaySession, until: Until
) -> None:
    """A stopped relay is ended by the server itself, and waking it removes nothing."""
    await ledger.post(a.deposit("w1", "1.00"))
    assert await relay.acquire()
    taken = await relay.take(10)

    assert await until(standby.acquire, 4 * outbox.IDLE_SESSION_TIMEOUT_MS / 1000)
    # Whatever the driver calls a connection that the server has ended.
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        await relay.remove([each.position for each in taken])

    assert await standby.take(10) == taken


async def test_a_row_without_its_event_goes_out_as_an_unreadable_message(
    ledger: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """A dangling row stops nobody: it becomes a message that ends with the dead letters."""
    await ledger.post(a.deposit("w1", "1.00"))
    await books.execute("INSERT INTO outbox (wallet_id, event_id) VALUES ('w1', gen_random_uuid())")
    await ledger.post(a.deposit("w1", "1.00"))
    assert await relay.acquire()

    taken = await relay.take(10)

    assert [each.routing_key for each in taken] == [
        *("WalletCreated", "FundsDeposited"),
        *("Missing", "FundsDeposited"),
    ]
    with pytest.raises(Poison):
        decode(taken[2].body)
    await relay.remove([each.position for each in taken])
    assert await books.count("outbox") == 0


async def test_a_late_commit_is_not_passed_over(
    ledger: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """A row drawn early and committed late leaves with the next batch, and is last in the feed."""
    await ledger.post(a.deposit("w1", "1.00"))
    await ledger.told()
    assert await relay.acquire()
    async with books.session() as stranger:
        async with stranger.transaction():
            await stranger.execute("""
                INSERT INTO events (wallet_id, id, type, payload, occurred_at)
                VALUES ('w1', gen_random_uuid(), 'WalletFlagged', '{}', now());
                INSERT INTO outbox (wallet_id, event_id)
                SELECT wallet_id, id FROM events WHERE type = 'WalletFlagged'
            """)
            await ledger.post(a.deposit("w2", "1.00"))
            meanwhile = await relay.take(10)
            await relay.remove([each.position for each in meanwhile])
        late = await relay.take(10)
    await relay.remove([each.position for each in late])

    assert [each.routing_key for each in meanwhile] == ["WalletCreated", "FundsDeposited"]
    assert [each.routing_key for each in late] == ["WalletFlagged"]
    assert late[0].position < meanwhile[0].position
    fed = await books.rows("SELECT event_id::text FROM feed ORDER BY position")
    assert [row["event_id"] for row in fed][2:] == [each.event_id for each in (*meanwhile, *late)]


async def test_the_lag_counts_what_nobody_confirmed_yet(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The lag tells the rows that wait and the age of the oldest, and nothing when all is out."""
    await ledger.post(a.deposit("w1", "1.00"))
    await books.execute("UPDATE outbox SET recorded_at = recorded_at - interval '1 hour'")
    await ledger.post(a.deposit("w1", "1.00"))

    behind = await outbox.lag(ledger.database.primary)
    await ledger.told()
    level = await outbox.lag(ledger.database.primary)

    assert behind.rows == 3
    assert 3600 <= behind.seconds < 3660
    assert level == outbox.Lag(0, 0.0)


async def test_a_refused_order_puts_nothing_on_its_way(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Only facts leave: a rejection has no event, and every outbox row has its event."""
    await ledger.post(a.deposit("w1", "1.00"))
    await ledger.record(a.withdrawal("w1", "2.00"))
    await ledger.record(a.deposit("w1", "1.00", request_id="k1"))
    await ledger.record(a.deposit("w1", "1.00", request_id="k1"))

    told = [(each.wallet_version, each.id) for each in await ledger.told()]

    rows = await books.rows("SELECT wallet_version, id FROM events ORDER BY wallet_version")
    assert told == [(row["wallet_version"], str(row["id"])) for row in rows]
    assert len(told) == 3


async def test_what_leaves_gets_the_next_place_in_the_feed(
    ledger: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """Places are 1, 2, 3 … in the order of leaving, whatever was taken and not removed before."""
    assert await relay.acquire()
    for wallet_id in ("w1", "w2", "w1"):
        await ledger.post(a.deposit(wallet_id, "1.00"))
    taken = [each.position for each in await relay.take(10)]

    await relay.remove(taken[2:3])
    await relay.remove([])
    await relay.remove(taken[:2] + taken[3:])

    fed = await books.rows(
        "SELECT f.position, e.wallet_id, e.wallet_version FROM feed AS f"
        " JOIN events AS e ON e.wallet_id = f.wallet_id AND e.id = f.event_id ORDER BY 1"
    )
    assert [tuple(row.values()) for row in fed] == [
        *((1, "w2", 1), (2, "w1", 1), (3, "w1", 2)),
        *((4, "w2", 2), (5, "w1", 3)),
    ]


async def test_what_was_put_back_has_its_place_already(
    ledger: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """An event that an operator sends again, an answer, and a row without event: no new place."""
    assert await relay.acquire()
    await ledger.post(a.deposit("w1", "1.00"))
    await relay.remove([each.position for each in await relay.take(10)])
    await books.execute(
        "INSERT INTO outbox (wallet_id, event_id, replays)"
        " SELECT wallet_id, id, 1 FROM events WHERE wallet_version = 1"
    )
    await books.execute("INSERT INTO outbox (wallet_id, event_id) VALUES ('w1', gen_random_uuid())")
    await books.execute(
        "INSERT INTO outbox (wallet_id, event_id, answer)"
        " SELECT wallet_id, id, '{}' FROM events WHERE wallet_version = 2"
    )

    again = await relay.take(10)
    await relay.remove([each.position for each in again])

    assert [each.replays for each in again] == [1, 0, 0]
    assert [(each.is_answer, each.routing_key) for each in again][1:] == [
        (False, "Missing"),
        (True, "wallet.transactionFinalized"),
    ]
    assert await books.count("feed") == 2


async def test_a_commit_rings(ledger: "Ledger", a: "Builders", relay: RelaySession) -> None:
    """Whoever rests is woken by the next commit, long before it would look by itself."""
    assert await relay.acquire()
    assert await relay.take(10) == []
    resting = asyncio.create_task(relay.rest(60))

    await ledger.post(a.deposit("w1", "1.00"))

    await asyncio.wait_for(resting, 10)
    assert len(await relay.take(10)) == 2
