"""This module is where the objects on the broker are compared with what the outside was told."""

from typing import TYPE_CHECKING, Any

import pytest
from aio_pika.abc import AbstractChannel

from wallet_common.topology import Topology
from wallet_worker.pauses import OperatorNeeded

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire

pytestmark = pytest.mark.broker

MAIN = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 20,
    "x-overflow": "reject-publish",
    "x-dead-letter-strategy": "at-least-once",
}


def arguments_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, _, value in row["arguments"]}


async def test_queues_are_declared_as_told(wire: "Wire", topology: Topology) -> None:
    """Every queue is a durable quorum queue with its arguments, and there are no others."""
    rows = await wire.ctl("list_queues", "--formatter=json", "name", "durable", "arguments")
    queues = {row["name"]: row for row in rows if row["name"].startswith(topology.exchange)}

    assert {name: arguments_of(row) for name, row in queues.items()} == {
        topology.queue: MAIN | {"x-dead-letter-exchange": topology.dead_letter_exchange},
        topology.alone_queue: MAIN
        | {"x-dead-letter-exchange": topology.dead_letter_exchange, "x-delivery-limit": 17},
        topology.dead_letter_queue: {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
        **{
            topology.retry_queue(delay): {
                "x-queue-type": "quorum",
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
                "x-message-ttl": delay,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": topology.queue,
            }
            for delay in topology.retry_delays_ms
        },
    }
    assert all(row["durable"] for row in queues.values())


async def test_everything_published_reaches_the_queue(wire: "Wire", topology: Topology) -> None:
    """Both exchanges are durable topic exchanges, bound to their queues with `#`."""
    exchanges = await wire.ctl("list_exchanges", "--formatter=json", "name", "type", "durable")
    bindings = await wire.ctl("list_bindings", "--formatter=json")

    ours = {topology.exchange, topology.dead_letter_exchange}
    found = {row["name"]: (row["type"], row["durable"]) for row in exchanges}
    assert {name: found[name] for name in ours} == dict.fromkeys(ours, ("topic", True))
    assert {
        (row["source_name"], row["routing_key"], row["destination_name"])
        for row in bindings
        if row["source_name"] in ours
    } == {
        (topology.exchange, "#", topology.queue),
        (topology.dead_letter_exchange, "#", topology.dead_letter_queue),
    }


async def test_declaring_again_changes_nothing(wire: "Wire", topology: Topology) -> None:
    """A second declaration, with messages there, is accepted and loses none of them."""
    await wire.publish(b"one", b"two")

    await wire.declare()

    assert await wire.depth(topology.queue) == 2


async def test_another_meaning_of_a_name_is_refused(wire: "Wire", topology: Topology) -> None:
    """A queue that is there with other arguments is an error at once, which names it."""

    async def redeclare(channel: AbstractChannel) -> None:
        await channel.queue_delete(topology.retry_queue(100))
        await channel.declare_queue(topology.retry_queue(100), durable=True)

    await wire.use(redeclare)

    with pytest.raises(OperatorNeeded, match=rf"queue {topology.retry_queue(100)} .* delete it"):
        await wire.declare()
