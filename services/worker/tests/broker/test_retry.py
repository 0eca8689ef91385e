"""This module is where an event that cannot be applied yet is tried again, later and later."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from wallet_common import topology as names
from wallet_common.topology import Topology
from wallet_tools.letters import BrokerBox

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_an_event_that_keeps_failing_walks_the_tiers_and_rests(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """After every tier it is a letter, byte by byte, that tells of all its attempts."""
    tapped = await wire.tap()
    worker.start_relay()
    worker.start_consumer()
    await bank.open("bad")
    await until(bank.is_quiet)
    await bank.refuse_statistics_of("bad")

    await bank.deposit("bad")

    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    (letter,) = await wire.letters()
    headers = letter.headers
    assert letter.body == tapped[-1].body
    assert letter.message_id == tapped[-1].message_id
    assert letter.routing_key == headers[names.ROUTING_KEY_HEADER] == "FundsDeposited"
    assert headers[names.ATTEMPTS_HEADER] == len(topology.retry_delays_ms) + 1
    assert "not today" in str(headers[names.ERROR_HEADER])
    # What the error was about, the statement and its values, is nobody's business here.
    assert "INSERT" not in str(headers[names.ERROR_HEADER])
    waited = datetime.fromisoformat(str(headers[names.LAST_FAILED_HEADER])) - (
        datetime.fromisoformat(str(headers[names.FIRST_FAILED_HEADER]))
    )
    assert waited >= timedelta(milliseconds=sum(topology.retry_delays_ms))


async def test_one_bad_wallet_harms_no_other(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """In a batch with an event that fails, all the others take effect."""
    await bank.refuse_statistics_of("bad")
    await bank.deposits(10, "bad", "w1", "w2")
    worker.start_relay()

    worker.start_consumer()

    await until(lambda: bank.lacks(11))
    assert await bank.value("SELECT count(*) FROM wallet_stats") == 2
    assert await bank.value("SELECT sum(total_deposited_minor) FROM wallet_stats") == 20_000


async def test_trouble_that_passes_leaves_no_letter(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Failed at first, an event takes effect from a retry tier and is nobody's letter."""
    worker.start_relay()
    worker.start_consumer()
    await bank.refuse_statistics_of("bad")
    await bank.deposit("bad")
    first = topology.retry_queue(topology.retry_delays_ms[0])
    await until(lambda: wire.holds(2, first))

    await bank.relent()

    await until(bank.is_quiet)
    assert await wire.letters() == []
    assert await bank.violations() == []


async def test_a_replayed_letter_has_all_its_attempts_before_it(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Replayed too early it walks all tiers again and rests again, its replays counted."""
    box = BrokerBox(wire.broker.url, topology)
    worker.start_relay()
    worker.start_consumer()
    await bank.open("bad")
    await until(bank.is_quiet)
    await bank.refuse_statistics_of("bad")
    await bank.deposit("bad")
    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    (first,) = await box.letters()

    assert await box.replay(first.id)
    await until(lambda: wire.holds(0, topology.dead_letter_queue))
    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    (second,) = await box.letters()

    assert (first.replays, second.replays) == (0, 1)
    assert second.attempts == first.attempts
    assert second.routing_key == first.routing_key == "FundsDeposited"
    assert second.body == first.body
    await bank.relent()
    assert await box.replay(second.id)
    await until(bank.is_quiet)
    assert await bank.violations() == []
