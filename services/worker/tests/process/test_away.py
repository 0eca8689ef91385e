"""This module is where a worker's broker or database is away: no noise, no heat, no loss."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_common.topology import Topology
from wallet_tools.postgres import PostgresServer
from wallet_tools.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank
    from services.worker.tests.process.conftest import Process, Tap

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]
AWAY_S = 30.0


async def check_calm(process: "Process", stays: Until) -> None:
    """Assert that for half a minute it says less than a line in ten seconds, and mostly sleeps."""
    before, cpu_s = len(process.lines()), process.cpu_s()

    async def is_calm() -> bool:
        return len(process.lines()) - before <= AWAY_S / 10

    await stays(is_calm, AWAY_S)
    assert process.cpu_s() - cpu_s < AWAY_S / 4


async def test_a_worker_whose_broker_is_away_is_calm(
    bank: "Bank", broker: RabbitServer, start: Callable[..., "Process"], until: Until, stays: Until
) -> None:
    """The broker is killed under it, with events waiting: few lines, little work, all arrives."""
    process = start(broker.url)
    await bank.deposits(5, "w1")
    await until(bank.is_quiet)

    await asyncio.to_thread(broker.kill)
    await bank.deposits(50, "w1", "w2")
    await check_calm(process, stays)
    await asyncio.to_thread(broker.start)

    await until(bank.is_quiet, 60)
    assert await bank.violations() == []


async def test_a_worker_whose_database_is_away_is_calm(
    bank: "Bank",
    broker: RabbitServer,
    postgres_server: PostgresServer,
    start: Callable[..., "Process"],
    tap: "Tap",
    topology: Topology,
    until: Until,
    stays: Until,
) -> None:
    """PostgreSQL is stopped and messages come in: they wait, none becomes a letter."""
    process = start(broker.url)
    await bank.deposits(50, "w1", "w2")
    await until(bank.is_quiet)

    await asyncio.to_thread(postgres_server.stop)
    for message in list(tap.heard):
        await tap.publish(message.body)
    await check_calm(process, stays)
    assert await tap.depth(topology.queue) == 0
    await asyncio.to_thread(postgres_server.start)

    await bank.deposits(5, "w1")
    await until(bank.is_quiet, 60)
    assert await tap.depth(topology.dead_letter_queue) == 0
    assert await bank.violations() == []
