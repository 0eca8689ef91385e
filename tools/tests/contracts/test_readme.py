"""Promises about the README's consumer: as it is pasted, it gets each event once."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractChannel, ExchangeType
from aio_pika.exceptions import PublishError

from wallet_common.topology import Topology
from wallet_tools.contracts.schemas import samples
from wallet_tools.processes import wait_until
from wallet_tools.rabbitmq import RabbitServer
from wallet_tools.state import ROOT

pytestmark = pytest.mark.broker

EXCHANGE, QUEUE = Topology().exchange, "statements"
EXAMPLE = re.compile(r"## A consumer in fifteen lines of Python\n.*?```python\n(.*?)```", re.DOTALL)
_T = TypeVar("_T")


class Broker:
    """The events' exchange as the relay leaves it, and the consumer's queue."""

    def __init__(self, url: str) -> None:
        self.url = url

    def use(self, work: Callable[[AbstractChannel], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            async with await aio_pika.connect(self.url, timeout=5) as connection:
                return await work(await connection.channel(on_return_raises=True))

        return asyncio.run(run())

    def takes(self, name: str, event_id: str) -> bool:
        """Publish the kept event of a type under another id; False if nobody wants it."""
        event = samples(name)[-1] | {"id": event_id}

        async def send(channel: AbstractChannel) -> None:
            exchange = await channel.get_exchange(EXCHANGE)
            await exchange.publish(aio_pika.Message(msgspec.json.encode(event)), name)

        try:
            self.use(send)
        except PublishError:
            return False
        return True


@pytest.fixture
def events(broker: RabbitServer) -> Iterator[Broker]:
    """Yield the events' exchange, to which nothing is bound."""
    events = Broker(broker.url)
    events.use(lambda channel: channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True))
    yield events
    events.use(lambda channel: channel.queue_delete(QUEUE))
    events.use(lambda channel: channel.exchange_delete(EXCHANGE))


def test_the_consumer_runs_as_pasted(events: Broker, tmp_path: Path) -> None:
    """It tells of each deposit once, however often it comes, and of nothing else."""
    found = EXAMPLE.search((ROOT / "README.md").read_text("utf-8"))
    assert found is not None
    assert len([line for line in found[1].splitlines() if line]) == 15
    pasted, told = tmp_path / "consumer.py", tmp_path / "told"
    pasted.write_text(found[1], "utf-8")

    with told.open("wb") as output:
        variables = {**os.environ, "RABBITMQ_URL": events.url}
        consumer = subprocess.Popen([sys.executable, str(pasted)], env=variables, stdout=output)
        try:
            assert wait_until(lambda: events.takes("FundsDeposited", "one"), 20)
            assert events.takes("FundsDeposited", "one")
            assert events.takes("FundsDeposited", "two")
            assert not events.takes("FundsWithdrawn", "three")
            wait_until(lambda: told.read_text("utf-8").count("\n") == 2, 20)
        finally:
            consumer.terminate()
            consumer.wait(10)

    assert told.read_text("utf-8") == "bob 2 5.00\n" * 2
