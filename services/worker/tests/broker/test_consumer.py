"""This module is where messages are applied once in effect, whatever happens on the way."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from wallet_common.topology import Topology
from wallet_tools.postgres import PostgresServer

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Proxy, Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_redelivery_in_any_order_changes_nothing(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, stays: Until
) -> None:
    """Each message three times more and shuffled: statistics and flags are those of one each."""
    tapped = await wire.tap()
    worker.start_relay()
    worker.start_recovery()
    await bank.deposits(10, "w1", "w2", "w3")
    for _ in range(4):
        await bank.withdraw("w1")
    await bank.abandon_transfer("w2", "w3", "7.00")
    consumer = worker.start_consumer()
    await until(bank.is_quiet)
    flags = await bank.rows("SELECT * FROM fraud_flags ORDER BY event_id, rule_id")
    stats = await bank.rows("SELECT * FROM wallet_stats ORDER BY wallet_id")

    again = [message.body for message in tapped] * 3
    random.Random(20).shuffle(again)
    await wire.publish(*again)
    await bank.deposit("last")
    await until(bank.is_quiet)
    await until(lambda: wire.holds(0))

    assert await bank.rows("SELECT * FROM fraud_flags ORDER BY event_id, rule_id") == flags
    assert len(flags) == 2
    found = await bank.rows("SELECT * FROM wallet_stats WHERE wallet_id <> 'last' ORDER BY 1")
    assert found == stats
    assert await bank.violations() == []
    assert await wire.letters() == []
    # Nothing comes back when the consumer leaves: it has acknowledged all.
    await worker.stop(consumer)
    await stays(lambda: wire.holds(0), 0.5)


async def test_what_a_lost_consumer_had_in_hand_goes_to_another(
    bank: "Bank",
    wire: "Wire",
    worker: "Worker",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    postgres_server: PostgresServer,
    until: Until,
) -> None:
    """A consumer vanishes with messages it could not apply yet: none of them is lost."""
    to_broker, to_database = (
        await proxy_to(wire.broker.port),
        await proxy_to(postgres_server.port),
    )
    to_database.hush()
    lost = worker_at(to_broker.on_the_way(wire.broker.url), to_database.on_the_way(bank.url))
    lost.start_consumer()
    worker.start_relay()
    await bank.deposits(5, "w1", "w2")
    await until(bank.has_sent_all)
    await until(lambda: wire.holds(0))
    assert await bank.unapplied() == 12

    await to_broker.cut()
    worker.start_consumer()

    await until(bank.is_quiet)
    assert await bank.violations() == []


async def test_a_silent_broker_does_not_hold_a_consumer(
    bank: "Bank",
    wire: "Wire",
    worker: "Worker",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    until: Until,
) -> None:
    """Connected but silent: the consumer notices by heartbeat, and can be stopped meanwhile."""
    proxy = await proxy_to(wire.broker.port)
    far = worker_at(f"{proxy.on_the_way(wire.broker.url)}?heartbeat=1")
    consumer = far.start_consumer()
    worker.start_relay()
    await bank.deposit("w1")
    await until(bank.is_quiet)
    connections = proxy.connections

    proxy.hush()
    await bank.deposits(5, "w1")
    await until(lambda: proxy.connections > connections)
    async with asyncio.timeout(10):
        await far.stop(consumer)
    proxy.speak()

    far.start_consumer()
    await until(bank.is_quiet)


async def test_two_consumers_share_the_work(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """Two workers on one queue apply every event once between them."""
    for _ in range(2):
        worker.start_relay()
        worker.start_consumer()

    await bank.deposits(40, *(f"w{number}" for number in range(10)))

    await until(bank.is_quiet)
    assert await bank.violations() == []
    assert await wire.letters() == []


async def test_a_consumer_that_stops_leaves_nothing_behind(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Stopped and started amid a backlog: what was in hand is finished or comes again."""
    worker.start_relay()
    await bank.deposits(50, *(f"w{number}" for number in range(20)))

    for _ in range(4):
        await worker.stop(worker.start_consumer())
    worker.start_consumer()

    await until(bank.is_quiet)
    assert await bank.violations() == []
    assert await wire.letters() == []


async def test_a_deleted_queue_is_declared_again(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """The queue is deleted under a consumer: it comes back, bound, and is consumed."""
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")
    await until(bank.is_quiet)

    await wire.use(lambda channel: channel.queue_delete(topology.queue))
    await bank.deposits(5, "w1")

    await until(bank.is_quiet)


async def test_an_absent_database_dead_letters_nothing(
    bank: "Bank",
    wire: "Wire",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    postgres_server: PostgresServer,
    topology: Topology,
    until: Until,
    stays: Until,
) -> None:
    """While the consumer's database is away its messages wait; afterwards each takes effect."""
    proxy = await proxy_to(postgres_server.port)
    there, away = worker_at(wire.broker.url), worker_at(wire.broker.url, proxy.on_the_way(bank.url))
    there.start_relay()
    away.start_consumer()
    await bank.deposit("w1")
    await until(bank.is_quiet)

    await proxy.cut()
    await bank.deposits(20, "w1", "w2")
    await until(bank.has_sent_all)
    # Longer than all retry tiers together would take.
    await stays(lambda: wire.holds(0, topology.dead_letter_queue), 1.5)
    assert await bank.unapplied() == 41
    await proxy.start()

    await until(bank.is_quiet)
    assert await wire.letters() == []


async def test_a_held_wallet_does_not_stall_the_others(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """A stranger locks one wallet's statistics: in its batch and later the others' take effect."""
    worker.start_relay()
    consumer = worker.start_consumer()
    await bank.deposit("held")
    await until(bank.is_quiet)
    await worker.stop(consumer)
    # The first message is a batch of its own, all the others are the next one.
    for wallet_id in ("w1", "held", "w2", "w3"):
        await bank.deposit(wallet_id)
    await until(bank.has_sent_all)

    stranger = await bank.session()
    with capture_logs() as said:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM wallet_stats WHERE wallet_id = 'held' FOR UPDATE")
            worker.start_consumer()
            await until(lambda: bank.lacks(1))
    await stranger.close()

    await until(bank.is_quiet)
    assert await bank.violations() == []
    postponed = {each["message_id"] for each in said if each["event"] == "message.postponed"}
    events = await bank.rows("SELECT id::text FROM events WHERE wallet_id = 'held'")
    assert postponed <= {row["id"] for row in events}
