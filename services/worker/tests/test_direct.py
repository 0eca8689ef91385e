"""This module is where events take effect without a broker, straight from the outbox."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_tools.letters import TableBox

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


async def test_an_event_that_keeps_failing_rests_in_the_table(
    bank: "Bank", direct: "Worker", until: Until
) -> None:
    """After all its attempts it is one letter, with reason and bytes, and out of the outbox."""
    direct.start_direct()
    await bank.open("bad")
    await until(bank.is_quiet)
    await bank.refuse_statistics_of("bad")

    await bank.deposit("bad")

    await until(lambda: bank.value("SELECT count(*) FROM dead_letters"))
    await until(bank.has_sent_all)
    (letter,) = await TableBox(bank.database).letters()
    assert letter.routing_key == "FundsDeposited"
    assert letter.queue == direct.topology.queue
    assert letter.attempts == len(direct.topology.retry_delays_ms) + 1
    assert "not today" in letter.error
    assert b'"walletId":"bad"' in letter.body


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


async def test_trouble_that_passes_leaves_no_letter(
    bank: "Bank", direct: "Worker", until: Until
) -> None:
    """Failed at first, an event takes effect at a later attempt."""
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposits(1, "bad", "w1")
    await until(lambda: bank.lacks(2))

    await bank.relent()

    await until(bank.is_quiet)
    assert await TableBox(bank.database).letters() == []


async def test_a_replayed_letter_takes_effect(bank: "Bank", direct: "Worker", until: Until) -> None:
    """Put back into the outbox, a letter whose trouble is over takes effect and is gone."""
    box = TableBox(bank.database)
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposits(2, "bad")
    await until(lambda: bank.value("SELECT count(*) = 3 FROM dead_letters"))
    await bank.relent()

    for letter in await box.letters():
        assert await box.replay(letter.id)

    await until(bank.is_quiet)
    assert await box.letters() == []
    assert await bank.violations() == []


async def test_a_discarded_letter_is_gone(bank: "Bank", direct: "Worker", until: Until) -> None:
    """Discarding takes the named letter out of the table; an unknown id is told."""
    box = TableBox(bank.database)
    await bank.refuse_statistics_of("bad")
    direct.start_direct()
    await bank.deposit("bad")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM dead_letters"))
    first, second = await box.letters()

    assert await box.discard(first.id)

    assert [each.id for each in await box.letters()] == [second.id]
    assert not await box.discard(first.id)
