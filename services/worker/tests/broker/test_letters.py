"""This module is where an operator looks at dead letters, replays them and throws them away."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_common.topology import Topology
from wallet_letters import acts
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import called

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]
BODIES = [f"poison {number}".encode() for number in range(5)]


@pytest.fixture
async def box(wire: "Wire", worker: "Worker", until: Until, topology: Topology) -> "BrokerBox":
    """Return a box with the letters of five poison messages, the worker still there."""
    worker.start_consumer()
    for body in BODIES:
        await wire.publish(body)
    await until(lambda: wire.holds(5, topology.dead_letter_queue))
    return BrokerBox(wire.broker.url, topology)


async def test_letters_that_died_alike_are_one_group(box: BrokerBox) -> None:
    """Letters of the same error share a group; each has an id of its own."""
    letters = await acts.look(box)

    assert len({each.group for each in letters}) == 1
    assert len({each.id for each in letters}) == 5


async def test_a_replayed_poison_message_comes_back(
    box: BrokerBox, bank: "Bank", wire: "Wire", until: Until, topology: Topology
) -> None:
    """Replayed, a letter goes through its queue again; nothing made it readable, so it returns."""
    letter = (await acts.look(box))[0]

    await acts.replay(box, bank.database, "alice", lambda rest: [called(rest, letter.id)])

    async def is_back() -> bool:
        # The queue may have the second one a moment before it has forgotten the first.
        return sorted(each.replays for each in await acts.look(box)) == [0, 0, 0, 0, 1]

    await until(is_back)
    (back,) = [each for each in await acts.look(box) if each.replays]
    assert (back.body, back.queue) == (letter.body, topology.queue)


async def test_a_replayed_letter_takes_effect(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """A letter whose trouble is over takes effect when replayed, once however often that is."""
    box = BrokerBox(wire.broker.url, topology)
    await bank.refuse_statistics_of("bad")
    worker.start_relay()
    worker.start_consumer()
    await bank.deposits(3, "bad")
    await until(lambda: wire.holds(4, topology.dead_letter_queue))
    await bank.relent()
    letters = await acts.look(box)

    replayed = await acts.replay(box, bank.database, "alice", lambda rest: rest)
    assert (replayed.done, replayed.refused) == (4, {})
    await wire.publish(*(letter.body for letter in letters))

    await until(bank.is_quiet)
    await until(lambda: wire.holds(0))
    assert await bank.violations() == []
    assert await acts.look(box) == []
