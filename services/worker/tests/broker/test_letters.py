"""This module is where an operator looks at dead letters, replays them and throws them away."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_common.topology import Topology
from wallet_tools.letters import BrokerBox, Letter

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


def told(letter: Letter) -> dict[str, object]:
    """Return the headers but the one by which the broker counts how often it was looked at."""
    return {name: value for name, value in letter.headers.items() if name != "x-delivery-count"}


async def test_looking_changes_nothing(box: BrokerBox, wire: "Wire", topology: Topology) -> None:
    """Looked at thirty times, the letters are the same, in the same order, and all there."""
    first = seen = await box.letters()

    for _ in range(30):
        seen = await box.letters()

    assert [each.body for each in seen] == [each.body for each in first] == BODIES
    assert [told(each) for each in seen] == [told(each) for each in first]
    assert await wire.holds(5, topology.dead_letter_queue)


async def test_letters_that_died_alike_are_one_group(box: BrokerBox) -> None:
    """Letters of the same error share a group; each has an id of its own."""
    letters = await box.letters()

    assert len({each.group for each in letters}) == 1
    assert len({each.id for each in letters}) == 5


async def test_a_discarded_letter_is_gone_and_no_other(box: BrokerBox) -> None:
    """Discarding takes out the letter named and leaves the rest; an unknown id is told."""
    doomed = (await box.letters())[2]

    assert await box.discard(doomed.id)

    assert [each.body for each in await box.letters()] == [*BODIES[:2], *BODIES[3:]]
    assert not await box.discard(doomed.id)


async def test_a_replayed_poison_message_comes_back(
    box: BrokerBox, wire: "Wire", until: Until, topology: Topology
) -> None:
    """Replayed, a letter goes through its queue again; nothing made it readable, so it returns."""
    letter = (await box.letters())[0]

    assert await box.replay(letter.id)

    await until(lambda: wire.holds(5, topology.dead_letter_queue))
    last = (await box.letters())[-1]
    assert (last.body, last.replays, last.queue) == (letter.body, 1, topology.queue)


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
    letters = await box.letters()

    for letter in letters:
        assert await box.replay(letter.id)
    await wire.publish(*(letter.body for letter in letters))

    await until(bank.is_quiet)
    await until(lambda: wire.holds(0))
    assert await bank.violations() == []
    assert await box.letters() == []
