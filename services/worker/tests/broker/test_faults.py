"""
This module is where 5 000 operations meet each fault of the broker, and a stranger counts them.

The stranger has a queue of his own: what he heard is compared with what the ledger recorded.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

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
Fault = Callable[["Wire", "Proxy"], AbstractAsyncContextManager[Any]]
log = structlog.get_logger("harness")

WALLETS = [f"w{number}" for number in range(50)]
HALF = 50
HEALS_WITHIN_S = 60


@asynccontextmanager
async def stopped(wire: "Wire", _: "Proxy") -> AsyncIterator[None]:
    await asyncio.to_thread(wire.broker.stop)
    yield
    await asyncio.to_thread(wire.broker.start)


@asynccontextmanager
async def killed(wire: "Wire", _: "Proxy") -> AsyncIterator[None]:
    await asyncio.to_thread(wire.broker.kill)
    yield
    await asyncio.to_thread(wire.broker.start)


@asynccontextmanager
async def silent(_: "Wire", proxy: "Proxy") -> AsyncIterator[None]:
    proxy.called.clear()
    proxy.hush()
    yield
    # Whoever gave up waiting has come again.
    await asyncio.wait_for(proxy.called.wait(), HEALS_WITHIN_S)
    proxy.speak()


@asynccontextmanager
async def confirming_nothing(_: "Wire", proxy: "Proxy") -> AsyncIterator[None]:
    proxy.called.clear()
    proxy.hush("back")
    yield
    # Whoever gave up waiting has come again.
    await asyncio.wait_for(proxy.called.wait(), HEALS_WITHIN_S)
    proxy.speak()


@asynccontextmanager
async def short_of_memory(wire: "Wire", _: "Proxy") -> AsyncIterator[None]:
    await wire.ctl("set_vm_memory_high_watermark", "0.0000001")
    yield
    await wire.ctl("set_vm_memory_high_watermark", "0.4")


@asynccontextmanager
async def short_of_disk(wire: "Wire", _: "Proxy") -> AsyncIterator[None]:
    await wire.ctl("set_disk_free_limit", "1000000GB")
    yield
    await wire.ctl("set_disk_free_limit", "50MB")


@asynccontextmanager
async def refusing(wire: "Wire", _: "Proxy") -> AsyncIterator[None]:
    async with wire.refusing():
        yield


@pytest.mark.parametrize(
    "fault",
    [stopped, killed, silent, confirming_nothing, short_of_memory, short_of_disk, refusing],
)
async def test_nothing_is_lost_or_invented(
    bank: "Bank",
    wire: "Wire",
    worker_at: Callable[..., "Worker"],
    proxy_to: Callable[[int], Awaitable["Proxy"]],
    until: Until,
    fault: Fault,
) -> None:
    """Amid work the broker fails and heals: each event is heard, in order, and takes effect."""
    await wire.eavesdrop()
    proxy = await proxy_to(wire.broker.port)
    worker = worker_at(proxy.on_the_way(wire.broker.url))
    worker.start_relay()
    worker.start_consumer()
    pouring = asyncio.create_task(bank.deposits(HALF, *WALLETS))
    await until(lambda: bank.value("SELECT count(*) > 200 FROM processed_events"))

    async with fault(wire, proxy):
        await pouring
        await bank.deposits(HALF, *WALLETS)

    await until(bank.has_sent_all, HEALS_WITHIN_S)
    await until(bank.is_quiet, HEALS_WITHIN_S)
    assert await bank.violations() == []
    assert await wire.letters() == []
    await compare(bank, await wire.overheard())


async def test_a_broker_that_comes_late_misses_nothing(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """The worker starts without its broker: once there is one, each event is heard."""
    await wire.eavesdrop()
    await asyncio.to_thread(wire.broker.stop)
    worker.start_relay()
    worker.start_consumer()
    await bank.deposits(HALF, *WALLETS)
    await bank.deposits(HALF, *WALLETS)
    await asyncio.to_thread(wire.broker.start)

    await until(bank.is_quiet, HEALS_WITHIN_S)
    assert await bank.violations() == []
    await compare(bank, await wire.overheard())


async def compare(bank: "Bank", heard: list[bytes]) -> None:
    """Assert that nothing is lost, nothing unexpected, and every wallet's versions in order."""
    events = [msgspec.json.decode(body) for body in heard]
    times = Counter(event["id"] for event in events)
    recorded = {row["id"] for row in await bank.rows("SELECT id::text FROM events")}
    assert recorded - set(times) == set(), "lost"
    assert set(times) - recorded == set(), "unexpected"
    first: dict[str, dict[int, None]] = {}
    for event in events:
        first.setdefault(event["walletId"], {}).setdefault(event["walletVersion"])
    wanted = list(range(1, 2 * HALF + 2))
    assert {wallet_id: list(versions) for wallet_id, versions in first.items()} == dict.fromkeys(
        WALLETS, wanted
    )
    log.info("heard", events=len(times), duplicates=times.total() - len(times))
