"""This module is where the worker is started as the process that it is, and told to stop."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from wallet_tools import environment
from wallet_tools.ports import free_port
from wallet_tools.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank
    from services.worker.tests.process.conftest import Process

Until = Callable[..., Awaitable[None]]


async def test_a_worker_works_until_it_is_told_to_stop(
    bank: "Bank", start: Callable[..., "Process"], until: Until
) -> None:
    """It applies events, touches its heartbeat file, and ends with code 0 at SIGTERM."""
    process = start()
    await bank.deposits(5, "w1")
    await until(bank.is_quiet)
    first = process.last_beat()
    await until(lambda: process.last_beat() > first > 0)

    assert await process.stop() == 0

    assert [line["event"] for line in process.lines()][-1] == "worker.stopped"
    assert "Traceback" not in process.output.read_text()
    assert process.log.read_text() == process.output.read_text()


@pytest.mark.broker
async def test_stopping_amid_work_loses_nothing(
    bank: "Bank", broker: RabbitServer, start: Callable[..., "Process"], until: Until
) -> None:
    """Stopped while events pour in, it ends with code 0 and the next one does the rest."""
    first = start(broker.url)
    await until(lambda: first.has_said("consumer.started"))
    pouring = asyncio.create_task(bank.deposits(60, *(f"w{number}" for number in range(10))))
    await until(lambda: bank.value("SELECT count(*) > 50 FROM processed_events"))

    assert await first.stop() == 0

    await pouring
    start(broker.url)
    await until(bank.is_quiet)
    assert await bank.violations() == []
    assert "Traceback" not in first.output.read_text()


async def test_an_absent_broker_is_told_once(
    bank: "Bank", start: Callable[..., "Process"], until: Until, stays: Until
) -> None:
    """Without the broker it was promised it keeps trying in silence, and still stops at once."""
    process = start(f"amqp://nobody:s3cret@127.0.0.1:{free_port()}/")
    await bank.deposit("w1")
    await until(lambda: process.has_said("relay.waits"))
    await until(lambda: process.has_said("consumer.waits_for_broker"))
    await until(lambda: process.has_said("inbound.waits_for_broker"))
    said = process.lines()

    await stays(lambda: unchanged(process, said), 3)

    assert await process.stop() == 0
    assert "Traceback" not in process.output.read_text()
    assert "s3cret" not in process.output.read_text()
    assert await bank.keeps(2)


async def unchanged(process: "Process", said: list[dict[str, Any]]) -> bool:
    # It proves the books beside; that has nothing to do with who is away.
    told = [line for line in process.lines() if not line["event"].startswith("books.")]
    return told == [line for line in said if not line["event"].startswith("books.")]


async def test_an_absent_database_is_told_once(
    start: Callable[..., "Process"], until: Until, stays: Until
) -> None:
    """Without its database it keeps trying in silence, and still stops at once."""
    process = start(None, f"postgresql://nobody:s3cret@127.0.0.1:{free_port()}/wallet")
    await until(lambda: process.has_said("relay.waits"))
    await until(lambda: process.has_said("recovery.waits"))
    await until(lambda: process.has_said("upkeep.waits"))
    said = process.lines()

    await stays(lambda: unchanged(process, said), 3)

    assert await process.stop() == 0
    assert "Traceback" not in process.output.read_text()
    assert "s3cret" not in process.output.read_text()


def test_a_bad_setting_ends_the_process_with_its_name(database_url: str) -> None:
    """The process refuses to start, names the setting, and prints neither secret nor traceback."""
    settings = environment.of_service(database_url, None, "")

    ended = subprocess.run(
        [sys.executable, "-m", "wallet_worker.main"],
        env=settings | {"FRAUD_RAPID_WITHDRAWALS_COUNT": "none"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    assert "FRAUD_RAPID_WITHDRAWALS_COUNT" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert database_url.partition("@")[0].rpartition(":")[2] not in ended.stderr + ended.stdout
