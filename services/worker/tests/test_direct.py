"""This module is where events take effect without a broker, straight from the outbox."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wallet_db_orm import dead_letters
from wallet_letters import acts
from wallet_letters.letters import NoSuchLetter
from wallet_letters.table import TableBox

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker

Until = Callable[..., Awaitable[None]]


@pytest.fixture
def direct(worker_at: Callable[[None], "Worker"]) -> "Worker":
    """Return a worker without a broker; its parts are started by the test."""
    return worker_at(None)


async def test_without_a_broker_the_effects_are_the_same(
    bank: "Bank", direct: "Worker", until: Until
) -> None:
    """Statistics and flags arrive, each event once, and the outbox drains."""
    direct.start_recovery()
    direct.start_direct()

    await bank.deposits(20, "w1", "w2", "w3")
    for _ in range(3):
        await bank.withdraw("w1")
    await bank.abandon_transfer("w2", "w3", "5.00")

    await until(bank.is_quiet)
    assert await bank.violations() == []
    assert await bank.value("SELECT count(*) FROM fraud_flags") == 1
    assert await bank.value("SELECT count(*) FROM dead_letters") == 0


async def test_two_workers_apply_each_event_once(
    bank: "Bank", direct: "Worker", until: Until
) -> None:
    """One is active, the other stands by and takes over; nothing is applied twice."""
    first = direct.start_direct()
    await until(bank.relay_pids)
    direct.start_direct()
    await bank.deposits(20, "w1", "w2")

    await direct.stop(first)
    await bank.deposits(20, "w1", "w2")

    await until(bank.is_quiet)
    assert await bank.violations() == []


async def test_a_lost_session_costs_no_event(bank: "Bank", direct: "Worker", until: Until) -> None:
    """The server ends the relay's session in the middle: all events take effect, once."""
    direct.start_direct()
    await until(bank.relay_pids)

    for _ in range(5):
        await bank.deposits(20, "w1", "w2")
        for pid in await bank.relay_pids():
            await bank.execute(f"SELECT pg_terminate_backend({pid})")

    await until(bank.is_quiet)
    assert await bank.violations() == []


async def test_a_failing_event_holds_up_nobody_else(
    bank: "Bank", worker_at: Callable[[None], "Worker"], until: Until
) -> None:
    """While one wallet's event waits for its next attempt, all other events take effect."""
    patient = worker_at(None)
    patient.set_retry_delays(600_000)
    patient.start_direct()
    await bank.refuse_statistics_of("bad")
    await bank.deposit("bad")

    await bank.deposits(10, "w1", "w2")

    await until(lambda: bank.lacks(2))
    assert await bank.value("SELECT sum(total_deposited_minor) FROM wallet_stats") == 20_000
    await until(lambda: bank.keeps(2))


async def test_a_replayed_letter_takes_effect(bank: "Bank", direct: "Worker", until: Until) -> None:
    """Put back into the outbox, a letter whose trouble is over takes effect and is gone."""
    box = TableBox(bank.database)
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposits(2, "bad")
    await until(lambda: bank.value("SELECT count(*) = 3 FROM dead_letters"))
    await bank.relent()

    replayed = await acts.replay(box, bank.database, "alice", lambda letters: letters)
    assert (replayed.done, replayed.refused) == (3, {})

    await until(bank.is_quiet)
    assert await acts.look(box) == []
    assert await bank.violations() == []


async def test_a_letter_is_called_as_its_event(
    bank: "Bank", direct: "Worker", until: Until
) -> None:
    """Dead, replayed and dead again, the letters have their events' ids, and the count goes up."""
    box = TableBox(bank.database)
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposit("bad")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM dead_letters"))
    first = await acts.look(box)

    await acts.replay(box, bank.database, "alice", lambda letters: letters)
    await until(lambda: bank.value("SELECT count(*) = 2 FROM dead_letters WHERE replays = 1"))

    again = await acts.look(box)
    assert [each.id for each in again] == [each.id for each in first]
    assert await bank.value("SELECT count(*) FROM events JOIN dead_letters USING (id)") == 2


async def test_a_letter_laid_down_twice_is_one(bank: "Bank") -> None:
    """A worker that died before its event was off the outbox lays it down again: the latest."""
    first_at, last_at = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    for attempts, error, at in ((2, "first", first_at), (4, "then", last_at)):
        await dead_letters.keep(
            bank.database.primary,
            dead_letters.Letter(
                id="019a0000-0000-7000-8000-000000000001",
                queue="wallet.events.worker",
                routing_key="FundsDeposited",
                body=b"{}",
                error=error,
                error_class="Refused",
                attempts=attempts,
                first_failed_at=at,
                last_failed_at=at,
            ),
        )

    (letter,) = await acts.look(TableBox(bank.database))

    assert (letter.attempts, letter.error) == (4, "then")
    assert (letter.first_failed_at, letter.last_failed_at) == (first_at, last_at)


async def test_a_letter_tells_when_it_first_failed(
    bank: "Bank", worker_at: Callable[[None], "Worker"], until: Until
) -> None:
    """Between the first failure and the last are the delays."""
    patient = worker_at(None)
    patient.set_retry_delays(300)
    patient.start_direct()
    await bank.refuse_statistics_of("bad")
    await bank.deposit("bad")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM dead_letters"))

    spans = "SELECT min(last_failed_at - first_failed_at) >= '0.3 s' FROM dead_letters"
    assert await bank.value(spans)


async def test_a_discarded_letter_is_gone(bank: "Bank", direct: "Worker", until: Until) -> None:
    """Discarding takes the named letter out of the table; an unknown id is told."""
    box = TableBox(bank.database)
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposit("bad")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM dead_letters"))
    first, second = await acts.look(box)

    await acts.discard(box, bank.database, "alice", first.id, "a test")

    assert [each.id for each in await acts.look(box)] == [second.id]
    with pytest.raises(NoSuchLetter):
        await acts.discard(box, bank.database, "alice", first.id, "again")
