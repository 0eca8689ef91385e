"""Promises about the feed: one order, no gap, no late comer, whoever writes meanwhile."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from wallet_common.facts import EventType
from wallet_db_orm import feed, outbox
from wallet_db_orm.feed import Page, Placed
from wallet_db_orm.outbox import RelaySession

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


@pytest.fixture
async def relay(ledger: "Ledger") -> AsyncIterator[RelaySession]:
    """Yield the active relay's session."""
    session = RelaySession(ledger.url)
    assert await session.acquire()
    yield session
    await session.close()


async def publish(relay: RelaySession, limit: int = 1_000) -> int:
    """Take and remove a batch, as if a broker had confirmed it."""
    taken = await relay.take(limit)
    await relay.remove([each.position for each in taken])
    return len(taken)


async def read(ledger: "Ledger", **wanted: object) -> Page:
    usual = {"after": 0, "wallet_id": None, "event_type": None, "limit": 50}
    return await feed.page(ledger.database.reads, **(usual | wanted))  # type: ignore[arg-type]  # as given


async def follow(ledger: "Ledger", **wanted: object) -> list[Placed]:
    """Read page after page until one moves no further."""
    found: list[Placed] = []
    after = -1
    page = await read(ledger, **wanted)
    while page.position > after:
        after = page.position
        found += page.items
        page = await read(ledger, **(wanted | {"after": after}))
    return found


async def test_a_reader_meets_every_event_once_while_others_write(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders", relay: RelaySession
) -> None:
    """Following `position` through concurrent commits and removals: all events, once, in order."""
    met: list[Placed] = []
    is_done = asyncio.Event()

    async def write() -> None:
        async with asyncio.TaskGroup() as writers:
            for process in (ledger, other):
                for number in range(300):
                    command = a.deposit(f"w{number % 7}", "1.00")
                    writers.create_task(process.post(command))

    async def relay_all() -> None:
        sizes = (3, 40, 1, 17)
        turn = 0
        while await publish(relay, sizes[turn % 4]) or not is_done.is_set():
            turn += 1

    async def follow_along() -> None:
        after = 0
        while not relaying.done() or after < await feed.last_position(ledger.database.reads):
            page = await read(ledger, after=after, limit=11)
            met.extend(page.items)
            after = page.position

    relaying = asyncio.create_task(relay_all())
    following = asyncio.create_task(follow_along())
    await write()
    is_done.set()
    await relaying
    await following

    assert [each.position for each in met] == list(range(1, 608))
    assert len({each.event.id for each in met}) == 607
    by_wallet: dict[str, list[int | None]] = defaultdict(list)
    for each in met:
        by_wallet[each.event.wallet_id].append(each.event.wallet_version)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in by_wallet.values())
    assert await books.count("events") == 607


async def test_what_has_not_left_is_not_in_the_feed(
    ledger: "Ledger", a: "Builders", relay: RelaySession
) -> None:
    """A place is given when the event is confirmed; an empty page stays where it was."""
    await ledger.post(a.deposit("w", "1.00"))
    before = await read(ledger)
    await publish(relay, 1)
    between = await read(ledger, after=before.position)
    rest = await read(ledger, after=between.position)

    assert (before, rest) == (Page([], 0), Page([], 1))
    assert [each.event.type for each in between.items] == ["WalletCreated"]
    assert between.position == await feed.last_position(ledger.database.reads) == 1


async def test_filters_narrow_the_same_order(
    ledger: "Ledger", a: "Builders", relay: RelaySession
) -> None:
    """By wallet, by type, or both: what is left keeps its place, whatever the pages' size."""
    for number in range(12):
        await ledger.post(a.deposit(f"w{number % 3}", "5.00"))
        await ledger.post(a.withdrawal(f"w{number % 3}", "1.00"))
    while await publish(relay, 7):
        pass
    every = await follow(ledger)
    assert [each.position for each in every] == list(range(1, 28))

    for wallet_id in (None, "w0", "w2", "nobody"):
        for event_type in (None, *EventType):
            expected = [
                each
                for each in every
                if wallet_id in {None, each.event.wallet_id}
                and event_type in {None, each.event.type}
            ]
            for limit in (1, 4, 100):
                wanted = {"wallet_id": wallet_id, "event_type": event_type, "limit": limit}
                assert await follow(ledger, **wanted) == expected, wanted


async def test_a_page_walks_only_so_far_for_a_type(
    ledger: "Ledger",
    a: "Builders",
    relay: RelaySession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rare events cost bounded pages: one may be empty and yet lead on, until all was seen."""
    monkeypatch.setattr(feed, "WALK_MAX", 5)
    for number in range(20):
        await ledger.post(a.deposit(f"w{number % 2}", "1.00"))
    await ledger.post(a.withdrawal("w0", "1.00"))
    await publish(relay)
    rare = EventType.FUNDS_WITHDRAWN

    pages = [await read(ledger, event_type=rare)]
    while pages[-1].position < 23:
        pages.append(await read(ledger, event_type=rare, after=pages[-1].position))
    of_wallet = await read(ledger, event_type=rare, wallet_id="w0")
    at_end = await read(ledger, event_type=rare, after=23)

    assert [(len(page.items), page.position) for page in pages] == [
        *((0, 5), (0, 10), (0, 15), (0, 20), (1, 23)),
    ]
    assert (of_wallet.items, at_end) == ([], Page([], 23))
    # The fifth of the wallet's own.
    assert of_wallet.position == (await follow(ledger, wallet_id="w0"))[4].position


async def test_new_events_are_seen_before_any_relay(ledger: "Ledger", a: "Builders") -> None:
    """Behind each version that was named come the wallet's next ones, in order, without a gap."""
    for number in range(6):
        await ledger.post(a.deposit(f"w{number % 2}", "1.00"))

    async with feed.listening(ledger.database.listening) as tail:
        found = await tail.new([("w0", 0), ("w0", 3), ("w1", 2), ("w1", 4), ("nobody", 0)])
        nothing = await tail.new([])

    told = [(read, event.wallet_id, event.wallet_version) for read, event in found]
    assert told == [
        *((0, "w0", 1), (0, "w0", 2), (0, "w0", 3), (0, "w0", 4)),
        *((3, "w0", 4), (2, "w1", 3), (2, "w1", 4)),
    ]
    assert nothing == []


async def test_one_look_is_bounded(ledger: "Ledger", a: "Builders") -> None:
    """A wallet with a long past is read in pieces of fifty."""
    await asyncio.gather(*(ledger.post(a.deposit("w", "1.00")) for _ in range(70)))

    async with feed.listening(ledger.database.listening) as tail:
        first = await tail.new([("w", 0)])
        second = await tail.new([("w", feed.NEW_PER_WALLET_MAX)])

    versions = [event.wallet_version for _, event in [*first, *second]]
    assert (len(first), versions) == (feed.NEW_PER_WALLET_MAX, list(range(1, 72)))


async def test_who_listens_is_woken_by_a_commit(ledger: "Ledger", a: "Builders") -> None:
    """A commit ends the rest, and so does whoever has something else to look for."""
    async with feed.listening(ledger.database.listening) as tail:
        assert await tail.new([("w", 0)]) == []
        resting = asyncio.create_task(tail.rest(60))
        await ledger.post(a.deposit("w", "1.00"))
        await asyncio.wait_for(resting, 10)
        assert len(await tail.new([("w", 0)])) == 2

        resting = asyncio.create_task(tail.rest(60))
        tail.wake()
        await asyncio.wait_for(resting, 10)


async def test_a_long_backlog_is_told_without_counting_it(
    ledger: "Ledger",
    books: "Books",
    a: "Builders",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows beyond the limit are told as the span of their positions, never as too few."""
    monkeypatch.setattr(outbox, "COUNTED_MAX", 4)
    await ledger.post(a.deposit("w", "1.00"))
    await books.execute("ALTER TABLE outbox ALTER position RESTART WITH 101")
    for _ in range(2):
        await ledger.post(a.deposit("w", "1.00"))
    counted = await outbox.lag(ledger.database.primary)
    await ledger.post(a.deposit("w", "1.00"))
    spanned = await outbox.lag(ledger.database.primary)

    assert (counted.rows, spanned.rows) == (4, 103)
    assert 0 < spanned.seconds < 60
