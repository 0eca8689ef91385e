"""This module is where somebody deletes what we declared, or declares it otherwise, as we run."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from structlog.testing import capture_logs

from wallet_common.topology import Topology

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]
WALLETS = [f"w{number}" for number in range(50)]
QUEUES = ("queue", "alone_queue", "dead_letter_queue", "retry")
EXCHANGES = ("exchange", "dead_letter_exchange")


async def delete(wire: "Wire", what: tuple[str, ...]) -> None:
    """Delete objects of the topology, each by the attribute that names it."""
    names = wire.topology

    async def work(channel: AbstractChannel) -> None:
        for each in what:
            if each in EXCHANGES:
                await channel.exchange_delete(getattr(names, each))
            elif each == "retry":
                for delay_ms in names.retry_delays_ms:
                    await channel.queue_delete(names.retry_queue(delay_ms))
            else:
                await channel.queue_delete(getattr(names, each))

    await wire.use(work)


async def is_whole(wire: "Wire") -> bool:
    """Whether every exchange and every queue is there."""
    names = wire.topology
    retries = [names.retry_queue(delay_ms) for delay_ms in names.retry_delays_ms]

    async def look(channel: AbstractChannel) -> bool:
        for name in (names.exchange, names.dead_letter_exchange):
            await channel.get_exchange(name)
        for name in (names.queue, names.alone_queue, names.dead_letter_queue, *retries):
            await channel.get_queue(name)
        return True

    with suppress(ChannelNotFoundEntity):
        return await wire.use(look)
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        ("exchange",),
        ("queue",),
        ("alone_queue",),
        ("dead_letter_exchange",),
        ("retry", "dead_letter_queue"),
        EXCHANGES + QUEUES,
    ],
)
async def test_what_is_deleted_is_declared_again(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, what: tuple[str, ...]
) -> None:
    """Each object alone, and all of them: everything is there again, and no event lacks."""
    worker.start_relay()
    worker.start_consumer()
    await bank.deposits(1, *WALLETS)
    await until(bank.is_quiet)

    await delete(wire, what)
    await bank.deposits(50, *WALLETS)

    await until(bank.is_quiet, 60)
    await until(lambda: is_whole(wire))
    assert await bank.violations() == []
    assert await wire.letters() == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["binding", "exchange"])
async def test_nothing_is_confirmed_that_no_queue_took(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology, what: str
) -> None:
    """5 000 operations while the way to the queue is taken away: all are in it, in order."""
    worker.start_relay()
    pouring = asyncio.create_task(bank.deposits(50, *WALLETS))
    for _ in range(5):
        await until(lambda: bank.value("SELECT EXISTS (SELECT FROM outbox)"))
        if what == "binding":
            await wire.unbind()
        else:
            await wire.use(lambda channel: channel.exchange_delete(topology.exchange))
        await bank.deposits(10, *WALLETS)
    await pouring

    await until(bank.has_sent_all, 60)
    first: dict[str, dict[int, None]] = {}
    for body in await wire.overheard(topology.queue):
        event = msgspec.json.decode(body)
        first.setdefault(event["walletId"], {}).setdefault(event["walletVersion"])
    wanted = list(range(1, 102))
    assert {each: list(versions) for each, versions in first.items()} == dict.fromkeys(
        WALLETS, wanted
    )


async def test_an_incompatible_queue_is_told_and_waited_for(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, stays: Until, topology: Topology
) -> None:
    """It is there with other arguments: an error names it and the way out; deleted, all goes on."""
    name = topology.retry_queue(100)
    await delete(wire, ("retry",))
    await wire.use(lambda channel: channel.declare_queue(name, durable=True))
    await bank.deposits(1, *WALLETS)
    with capture_logs() as said:
        worker.start_relay()
        worker.start_consumer()
        await until(lambda: len(said) == 2)
        await stays(lambda: bank.keeps(100), 3)

    told = {line["event"]: line for line in said}
    assert set(told) == {"relay.waits", "consumer.waits_for_broker"}
    for line in told.values():
        assert line["log_level"] == "error"
        assert line["error_class"] == "OperatorNeeded"
        assert name in line["error"]
        assert "delete it" in line["error"]
        assert "x-message-ttl" in line["error"]
    await wire.use(lambda channel: channel.queue_delete(name))
    await until(bank.is_quiet)
