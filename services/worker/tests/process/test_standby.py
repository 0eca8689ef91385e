"""This module is where the active worker is killed, or falls asleep, and another takes over."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from wallet_tools.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from services.worker.tests.conftest import Bank
    from services.worker.tests.process.conftest import Process, Tap

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]
WALLETS = [f"w{number}" for number in range(20)]


def first_versions(heard: "list[AbstractIncomingMessage]") -> dict[str, list[int]]:
    """Return each wallet's versions as they were heard for the first time."""
    versions: dict[str, dict[int, None]] = defaultdict(dict)
    for message in heard:
        event = msgspec.json.decode(message.body)
        versions[event["walletId"]].setdefault(event["walletVersion"])
    return {wallet_id: list(each) for wallet_id, each in versions.items()}


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_worker_takes_over(
    bank: "Bank",
    broker: RabbitServer,
    start: Callable[..., "Process"],
    tap: "Tap",
    until: Until,
    fate: signal.Signals,
) -> None:
    """Killed or stopped amid work, the relay is replaced; one that wakes again does no harm."""
    active = start(broker.url)
    await until(lambda: active.has_said("relay.active"))
    before = await bank.relay_pids()
    standby = start(broker.url)
    await until(lambda: standby.has_said("consumer.started"))
    pouring = asyncio.create_task(bank.deposits(80, *WALLETS))
    await until(lambda: len(tap.heard) > 200)

    active.send(fate)
    await pouring
    # Whatever it had sent by then, these only another one can.
    await bank.deposits(1, *WALLETS)

    await until(bank.has_sent_all, 30)
    assert len(after := await bank.relay_pids()) == 1
    assert after != before
    if fate == signal.SIGSTOP:
        active.send(signal.SIGCONT)
    await bank.deposits(20, *WALLETS)
    await until(bank.is_quiet, 30)
    # The tap hears by itself, a moment after everything has taken effect.
    expected = {each: list(range(1, 103)) for each in WALLETS}
    await until(lambda: first_versions(tap.heard) == expected)
    assert await bank.relay_pids() == after
    assert await bank.violations() == []
