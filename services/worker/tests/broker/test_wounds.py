"""This module is where a worker is wounded at odd times, again and again, and never stalls."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Proxy, Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    # The client library's own, when a connection dies under it.
    pytest.mark.filterwarnings("ignore:.*coroutine 'Connection.close' was never awaited"),
    pytest.mark.filterwarnings("ignore:.*coroutine object Connection.close at"),
]

Until = Callable[..., Awaitable[None]]
WALLETS = [f"w{number}" for number in range(20)]


async def has_applied(bank: "Bank", until: Until, count: int) -> None:
    """Return once so many events have taken effect."""
    await until(lambda: bank.value(f"SELECT count(*) > {count} FROM processed_events"), 60)


async def test_no_wound_stalls_a_worker(
    bank: "Bank",
    wire: "Wire",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    until: Until,
) -> None:
    """Connections cut, sessions ended, the exchange gone, at odd times: all takes effect."""
    chance = random.Random(20)
    proxy = await proxy_to(wire.broker.port)
    worker = worker_at(proxy.on_the_way(wire.broker.url))
    worker.start_relay()
    worker.start_consumer()

    async def cut() -> None:
        await proxy.cut()
        await proxy.start()

    async def end_sessions() -> None:
        await bank.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name IN ('wallet-worker', 'wallet-relay')"
            " AND datname = current_database()"
        )

    async def lose_exchange() -> None:
        await wire.use(lambda channel: channel.exchange_delete(wire.topology.exchange))

    for round_number in range(12):
        pouring = asyncio.create_task(bank.deposits(10, *WALLETS))
        await has_applied(bank, until, 200 * round_number + chance.randrange(150))
        await (cut, end_sessions, lose_exchange)[round_number % 3]()
        await pouring

    await until(bank.is_quiet, 60)
    assert await bank.violations() == []
    assert await wire.letters() == []
