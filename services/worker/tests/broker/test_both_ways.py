"""This module is where what is promised of failures is asked of both: the broker, and no broker."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import pytest

from wallet_db_orm import queries
from wallet_db_orm.ids import new_id
from wallet_letters import acts
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import Letter, LetterBox
from wallet_letters.table import TableBox

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


class Way:
    """One of the two ways that events go, and where its letters rest."""

    def __init__(self, worker: "Worker", box: LetterBox) -> None:
        self.worker = worker
        self.box = box

    def start(self) -> None:
        if self.worker.broker_url is None:
            self.worker.start_direct()
        else:
            self.worker.start_relay()
            self.worker.start_consumer()

    async def letters(self) -> Sequence[Letter]:
        return await acts.look(self.box)

    async def replay(self, bank: "Bank") -> None:
        """Put every letter back."""
        await acts.replay(self.box, bank.database, "alice", lambda letters: letters)

    async def holds(self, count: int) -> bool:
        return len(await self.letters()) == count


@pytest.fixture(params=["broker", "table"])
def way(
    request: pytest.FixtureRequest,
    bank: "Bank",
    wire: "Wire",
    worker_at: Callable[[str | None], "Worker"],
) -> Way:
    """Return the way through the broker, then the one straight from the outbox."""
    if request.param == "broker":
        return Way(worker_at(wire.broker.url), BrokerBox(wire.broker.url, wire.topology))
    return Way(worker_at(None), TableBox(bank.database))


async def test_an_event_that_keeps_failing_rests(bank: "Bank", way: Way, until: Until) -> None:
    """After all its attempts it is one letter, byte by byte, that says why and how often."""
    way.start()
    await bank.open("bad")
    await until(bank.is_quiet)
    await bank.refuse_statistics_of("bad")

    await bank.deposit("bad")

    await until(lambda: way.holds(1))
    (letter,) = await way.letters()
    told = await queries.history(
        bank.database.primary, "bad", below_version=None, before=None, limit=1
    )
    assert letter.body == msgspec.json.encode(told[0])
    assert letter.queue == way.worker.topology.queue
    assert letter.routing_key == "FundsDeposited"
    assert letter.attempts == len(way.worker.topology.retry_delays_ms) + 1
    assert letter.replays == 0
    assert "not today" in letter.error
    # What the error was about, the statement and its values, is nobody's business here.
    assert "INSERT" not in letter.error
    assert letter.first_failed_at is not None
    await until(bank.has_sent_all)


async def test_one_bad_wallet_harms_no_other(bank: "Bank", way: Way, until: Until) -> None:
    """While one wallet's events fail, wait and die, all the others take effect."""
    await bank.refuse_statistics_of("bad")
    await bank.deposits(10, "bad", "w1", "w2")

    way.start()

    await until(lambda: bank.lacks(11))
    assert await bank.value("SELECT sum(total_deposited_minor) FROM wallet_stats") == 20_000
    await until(lambda: way.holds(11))


async def test_trouble_that_passes_leaves_no_letter(bank: "Bank", way: Way, until: Until) -> None:
    """Failed at first, an event takes effect at a later attempt and is nobody's letter."""
    way.start()
    await bank.refuse_statistics_of("bad")
    await bank.deposits(1, "bad", "w1")
    await until(lambda: bank.lacks(2))

    await bank.relent()

    await until(bank.is_quiet)
    assert await way.letters() == []
    assert await bank.violations() == []


async def test_what_nobody_can_read_rests_at_once(bank: "Bank", way: Way, until: Until) -> None:
    """A row without its event is a letter after one attempt; what is behind it takes effect."""
    way.start()
    await bank.deposit("w1")
    lost = new_id()
    await bank.execute(f"INSERT INTO outbox (wallet_id, event_id) VALUES ('w1', '{lost}')")
    await bank.deposit("w1")

    await until(bank.is_quiet)
    await until(lambda: way.holds(1))
    (letter,) = await way.letters()
    assert (letter.error_class, letter.attempts) == ("Poison", 1)
    assert lost.encode() in letter.body


async def test_a_letter_that_died_again_says_so(bank: "Bank", way: Way, until: Until) -> None:
    """Replayed too early it has all its attempts again and rests; replayed later, it is gone."""
    way.start()
    await bank.open("bad")
    await until(bank.is_quiet)
    await bank.refuse_statistics_of("bad")
    await bank.deposit("bad")
    await until(lambda: way.holds(1))
    (first,) = await way.letters()

    await way.replay(bank)
    await until(lambda: way.holds(0))
    await until(lambda: way.holds(1))

    (second,) = await way.letters()
    assert (first.replays, second.replays) == (0, 1)
    assert (second.attempts, second.routing_key) == (first.attempts, "FundsDeposited")
    assert second.body == first.body
    await bank.relent()
    await way.replay(bank)
    await until(bank.is_quiet)
    assert await way.letters() == []
    assert await bank.violations() == []


async def test_a_wallet_that_is_held_waits_without_counting(
    bank: "Bank", way: Way, until: Until
) -> None:
    """A stranger holds one wallet's statistics beyond every attempt: it waits, no letter."""
    way.start()
    await bank.deposit("held")
    await until(bank.is_quiet)

    stranger = await bank.session()
    async with stranger.transaction():
        await stranger.execute("SELECT FROM wallet_stats WHERE wallet_id = 'held' FOR UPDATE")
        await bank.deposits(1, "held", "w1", "w2")
        await until(lambda: bank.lacks(1), 30)
    await stranger.close()

    await until(bank.is_quiet)
    assert await way.letters() == []
    assert await bank.violations() == []
