"""This module is where the relay is left by its database and its broker, and carries on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from wallet_common.topology import Topology
from wallet_tools.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Proxy, Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_a_standby_takes_over(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """When the active relay ends, the one that stood by goes on with what is left."""
    active = worker.start_relay()
    await until(bank.relay_pids)
    worker.start_relay()
    await bank.deposits(5, "w1")
    await until(bank.has_sent_all)

    await worker.stop(active)
    await bank.deposits(5, "w1")

    await until(bank.has_sent_all)
    assert await wire.holds(11)
    assert len(await bank.relay_pids()) == 1


async def test_a_relay_whose_backend_is_terminated_is_replaced(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Its session ended by the server: another holds the lock, one only, and nothing is lost."""
    worker.start_relay()
    worker.start_relay()
    await until(bank.relay_pids)
    before = await bank.relay_pids()

    async with asyncio.TaskGroup() as both:
        both.create_task(bank.deposits(20, "w1", "w2"))
        both.create_task(bank.execute(f"SELECT pg_terminate_backend({before[0]})"))

    await until(bank.has_sent_all)
    after = await bank.relay_pids()
    assert len(after) == 1
    assert after != before
    assert await wire.depth(topology.queue) >= 42


async def test_a_stopped_broker_costs_no_event(
    bank: "Bank", wire: "Wire", worker: "Worker", broker: RabbitServer, until: Until
) -> None:
    """Events committed while the broker is down wait in the outbox and arrive once it is back."""
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")
    await until(bank.is_quiet)

    await asyncio.to_thread(broker.stop)
    await bank.deposits(20, "w1", "w2")
    assert await bank.pending() == 41
    await asyncio.to_thread(broker.start)

    await until(bank.is_quiet, 60)
    assert await bank.violations() == []


async def test_a_killed_broker_keeps_its_backlog(
    bank: "Bank", wire: "Wire", worker: "Worker", broker: RabbitServer, until: Until
) -> None:
    """Messages that waited in the queue when the broker was killed are all there afterwards."""
    relay = worker.start_relay()
    await bank.deposits(30, *(f"w{number}" for number in range(10)))
    await until(bank.has_sent_all)
    await worker.stop(relay)

    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)

    worker.start_consumer()
    await until(bank.is_quiet, 60)
    assert await bank.violations() == []


async def test_a_silent_broker_is_not_waited_for(
    bank: "Bank",
    wire: "Wire",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    until: Until,
    stays: Until,
) -> None:
    """Connected but silent: the relay keeps its lock meanwhile, gives up, and comes back."""
    proxy = await proxy_to(wire.broker.port)
    worker = worker_at(proxy.on_the_way(wire.broker.url))
    worker.start_relay()
    await bank.deposit("w1")
    await until(bank.has_sent_all)
    before, connections = await bank.relay_pids(), proxy.connections

    proxy.hush()
    await bank.deposits(5, "w1")
    # A relay that said nothing to the database for four seconds would have lost its session.
    await stays(lambda: bank.is_relayed_by(before), 4.5)
    await until(lambda: proxy.connections > connections)
    proxy.speak()

    await until(bank.has_sent_all)


async def test_an_alarmed_broker_is_not_waited_for(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """A broker that blocks publishers makes nobody hang; once it is well everything arrives."""
    tapped = await wire.tap()
    relay = worker.start_relay()
    await bank.deposit("w1")
    await until(bank.has_sent_all)

    await wire.ctl("set_vm_memory_high_watermark", "0")
    try:
        await bank.deposits(5, "w1")
        async with asyncio.timeout(10):
            await worker.stop(relay)
        worker.start_relay()
        assert await bank.pending() == 5
    finally:
        await wire.ctl("set_vm_memory_high_watermark", "0.4")

    await until(bank.has_sent_all)
    versions = {msgspec.json.decode(each.body)["walletVersion"] for each in tapped}
    assert versions == set(range(1, 8))
