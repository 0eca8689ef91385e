"""This module is where it is shown what becomes of the messages of a batch, one by one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from aiormq.exceptions import ChannelInvalidStateError, PublishError

from wallet_common.topology import Topology
from wallet_db_orm.ids import new_id
from wallet_worker.links import Outlet
from wallet_worker.publishing import Outgoing, Publisher

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


def a_message(exchange: str, body: bytes = b"{}", key: str = "FundsDeposited") -> Outgoing:
    return Outgoing(new_id(), exchange, key, body, is_mandatory=True)


async def test_a_body_of_any_size_arrives_as_it_was(
    wire: "Wire", topology: Topology, until: Until
) -> None:
    """Nothing, what fits into a frame exactly, and what needs several: byte-equal, in order."""
    tapped = await wire.tap()
    outlet = Outlet(wire.broker.url, topology)
    channel = await outlet.channel()
    sizes = (0, 1, channel.max_content_size, channel.max_content_size + 1, 300_000)
    sent = [a_message(topology.exchange, bytes(range(256)) * 2_000)] + [
        a_message(topology.exchange, b"x" * size, f"Size{size}") for size in sizes
    ]

    failures = await Publisher(channel).publish(sent, timeout_s=5)

    await until(lambda: len(tapped) == len(sent))
    assert failures == [None] * len(sent)
    assert [(each.message_id, each.routing_key, each.body) for each in tapped] == [
        (each.id, each.routing_key, each.body) for each in sent
    ]
    await outlet.close()


async def test_a_returned_message_fails_alone(wire: "Wire", topology: Topology) -> None:
    """Of a batch that one message of finds no queue, the others are confirmed."""
    outlet = Outlet(wire.broker.url, topology)
    publisher = Publisher(await outlet.channel())
    sent = [a_message(topology.exchange) for _ in range(5)]
    sent[2] = a_message("", key="no such queue")

    failures = await publisher.publish(sent, timeout_s=5)

    assert [type(each) for each in failures] == [
        *(type(None), type(None), PublishError, type(None), type(None))
    ]
    assert await publisher.publish(sent[:2], timeout_s=5) == [None, None]
    await outlet.close()


async def test_a_channel_that_closes_is_not_waited_for(wire: "Wire", topology: Topology) -> None:
    """The broker closes the channel: what is unconfirmed has failed at once, and the next batch."""
    outlet = Outlet(wire.broker.url, topology)
    publisher = Publisher(await outlet.channel())

    async with asyncio.timeout(5):
        failures = await publisher.publish([a_message("no such exchange")] * 3, timeout_s=60)

    assert {type(each) for each in failures} == {ChannelInvalidStateError}
    with pytest.raises(ChannelInvalidStateError):
        await publisher.publish([a_message(topology.exchange)], timeout_s=5)
    await outlet.close()
