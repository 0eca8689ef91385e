"""This module is where committed events are followed from the outbox to the broker."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
from aio_pika.exceptions import DeliveryError, PublishError

from wallet_common.topology import Topology
from wallet_db_orm import queries
from wallet_db_orm.outbox import RelaySession
from wallet_worker.destinations import BrokerDestination

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Proxy, Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_an_event_goes_out_as_the_history_tells_it(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """The message is persistent, named by the event's id and type, and is the history's item."""
    tapped = await wire.tap()
    worker.start_relay()

    await bank.deposit("w1", "12.50")
    await until(lambda: len(tapped) == 2)

    message = tapped[1]
    told = await queries.history(
        bank.database.primary, "w1", below_version=None, before=None, limit=1
    )
    assert message.body == msgspec.json.encode(told[0])
    assert message.message_id == told[0].id
    assert message.routing_key == message.type == "FundsDeposited"
    assert message.delivery_mode == 2
    assert message.content_type == "application/json"
    assert message.exchange == worker.topology.exchange


async def test_a_confirmed_event_leaves_the_outbox(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Once the queue has an event its outbox row is gone, and only then."""
    await bank.deposit("w1")
    assert await bank.pending() == 2

    worker.start_relay()

    await until(bank.has_sent_all)
    assert await wire.holds(2)


async def test_each_wallets_events_go_out_in_order(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """However many wallets are busy at once, each one's versions arrive as 1, 2, 3 …"""
    tapped = await wire.tap()
    worker.start_relay()

    wallets = [f"w{number}" for number in range(30)]
    await bank.deposits(30, *wallets)
    await until(bank.has_sent_all)
    await until(lambda: len(tapped) >= 930)

    versions = defaultdict(list)
    for message in tapped:
        event = msgspec.json.decode(message.body)
        versions[event["walletId"]].append(event["walletVersion"])
    assert versions == {wallet: list(range(1, 32)) for wallet in wallets}


async def test_a_batch_waits_for_its_confirms_together(
    bank: "Bank",
    wire: "Wire",
    topology: Topology,
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    until: Until,
) -> None:
    """While not one confirm has come back, the whole batch has reached the broker already."""
    tapped = await wire.tap()
    proxy = await proxy_to(wire.broker.port)
    session = RelaySession(bank.url)
    out = BrokerDestination(proxy.on_the_way(wire.broker.url), topology)
    await bank.deposits(9, *(f"w{number}" for number in range(10)))
    assert await session.acquire()
    first, *others = await session.take(100)
    assert await out.send([first]) == {first.position}

    proxy.hush("back")
    sending = asyncio.create_task(out.send(others))
    await until(lambda: len(tapped) == 100)

    assert not sending.done()
    proxy.speak()
    assert await sending == {each.position for each in others}
    await out.close()
    await session.close()


async def test_an_unroutable_event_is_an_error_not_a_confirm(
    bank: "Bank", wire: "Wire", topology: Topology
) -> None:
    """An event that no queue takes is returned to the sender, which raises instead of going on."""
    await bank.deposit("w1")
    session, out = RelaySession(bank.url), BrokerDestination(wire.broker.url, topology)
    assert await session.acquire()
    batch = await session.take(10)
    assert await out.send(batch[:1]) == {batch[0].position}

    await wire.unbind()
    with pytest.raises(PublishError):
        await out.send(batch)

    await out.close()
    await session.close()


async def test_events_survive_the_loss_of_the_binding(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """The queue is unbound while the relay runs: what comes next arrives all the same."""
    worker.start_relay()
    await bank.deposit("w1")
    await until(bank.has_sent_all)

    await wire.unbind()
    await bank.deposits(5, "w1")

    await until(bank.has_sent_all)
    assert await wire.holds(7)


async def test_events_survive_the_loss_of_the_exchange(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """The exchange is deleted while the relay runs: what comes next arrives all the same."""
    worker.start_relay()
    await bank.deposit("w1")
    await until(bank.has_sent_all)

    await wire.use(lambda channel: channel.exchange_delete(topology.exchange))
    await bank.deposits(5, "w1")

    await until(bank.has_sent_all)
    assert await wire.holds(7)


async def test_a_refused_event_stays(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """While a full queue makes the broker refuse, nothing is removed; afterwards nothing lacks."""
    await bank.deposits(3, "w1", "w2")
    async with wire.refusing():
        session, out = RelaySession(bank.url), BrokerDestination(wire.broker.url, topology)
        assert await session.acquire()
        with pytest.raises(DeliveryError):
            await out.send(await session.take(100))
        await out.close()
        await session.close()

        worker.start_relay()
        # The worker's own queue takes what the other one refuses, again and again.
        await until(lambda: wire.has_over(3 * 8))
        assert await bank.pending() == 8

    await until(bank.has_sent_all)
