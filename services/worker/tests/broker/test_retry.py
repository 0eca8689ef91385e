"""This module is where an event that cannot be applied yet is tried again, later and later."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from wallet_common import topology as names
from wallet_common.topology import Topology

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
