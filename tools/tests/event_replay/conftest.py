"""This module is where tests of `wallet events replay` get a log, a queue, and the command."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.common import FieldTable

from wallet_common.commands import DebitTransfer, Deposit
from wallet_common.money import parse_amount
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order, Recorded
from wallet_db_orm.outbox import Pending, RelaySession
from wallet_db_orm.transfers import finish, load
from wallet_tools import cli
from wallet_tools.rabbitmq import RabbitServer

QUEUE = "replayed"
_T = TypeVar("_T")


class Log:
    """Events that have left, a queue for them, and the operator's command."""

    queue = QUEUE

    def __init__(self, url: str, broker: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.broker = broker
        self.left: list[Pending] = []
        self._capsys = capsys
        self.said = ""
        self.complained = ""

    def happen(self, count: int) -> None:
        """Let money move `count` times and the events leave, some of a transfer among them."""
        asyncio.run(self._happen(count))

    def replay(self, start: object, end: object, *more: str) -> int:
        """Run the verb; what cannot be read is told as its exit code, too."""
        spelled = ["--from", str(start), "--to", str(end), "--queue", QUEUE, *more]
        try:
            code = cli.main(["events", "replay", *spelled])
        except SystemExit as misread:
            code = int(misread.code or 0)
        captured = self._capsys.readouterr()
        self.said, self.complained = captured.out, captured.err
        return code

    def refused(self, start: object, end: object, *more: str) -> str:
        assert self.replay(start, end, *more) != 0
        assert self.received() == []
        assert self.noted() == []
        return self.complained

    def occurred(self, place: int) -> datetime:
        """Return the event time of a place."""
        return datetime.fromisoformat(json.loads(self.left[place - 1].body)["occurredAt"])

    def bodies(self, first: int, last: int) -> list[bytes]:
        """Return what went out at the places `first` to `last`."""
        return [each.body for each in self.left[first - 1 : last]]

    def received(self) -> list[AbstractIncomingMessage]:
        """Take everything out of the queue."""

        async def take(channel: AbstractChannel) -> list[AbstractIncomingMessage]:
            queue, found = await channel.get_queue(QUEUE), []
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                found.append(message)
            return found

        return self.on_broker(take)

    def noted(self) -> list[dict[str, Any]]:
        """Return the lines of the operator log."""

        async def run() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.url.replace("+asyncpg", ""))
            rows = await connection.fetch("SELECT * FROM operator_log ORDER BY at")
            await connection.close()
            return [dict(row) for row in rows]

        return asyncio.run(run())

    def on_broker(self, work: Callable[[AbstractChannel], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            async with await aio_pika.connect(self.broker, timeout=5) as connection:
                return await work(await connection.channel())

        return asyncio.run(run())

    def make_queue(self, arguments: FieldTable | None = None) -> None:
        async def make(channel: AbstractChannel) -> None:
            await channel.queue_delete(QUEUE)
            await channel.declare_queue(QUEUE, durable=True, arguments=arguments)

        self.on_broker(make)

    async def _happen(self, count: int) -> None:
        database = Database(self.url, application_name="wallet-test")
        lanes = GroupCommit(database)
        for _ in range(count):
            await lanes.submit(Order(Deposit(**_asked("ada"), opens_in="USD"), "trace"))
        await lanes.submit(Order(Deposit(**_asked("bob"), opens_in="USD"), "trace"))
        debit = DebitTransfer(**_asked("ada"), to_wallet_id="bob")
        assert isinstance(await lanes.submit(Order(debit, "trace")), Recorded)
        await finish(lanes, await load(database.primary, "ada", debit.operation_id))
        relay = RelaySession(self.url)
        assert await relay.acquire()
        pending = await relay.take(100_000)
        await relay.remove([each.position for each in pending])
        self.left.extend(pending)
        await relay.close()
        await lanes.close()
        await database.dispose()


def _asked(wallet_id: str) -> dict[str, Any]:
    return {
        "wallet_id": wallet_id,
        "request_id": new_id(),
        "operation_id": new_id(),
        "amount": parse_amount("1.00"),
    }


@pytest.fixture
def log(
    database_url: str,
    broker: RabbitServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Log]:
    """Yield 28 events that have left, and an empty queue."""
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    monkeypatch.setenv("RABBITMQ_URL", broker.url)
    log = Log(database_url, broker.url, capsys)
    log.make_queue()
    log.happen(21)
    yield log
    log.on_broker(lambda channel: channel.queue_delete(QUEUE))
