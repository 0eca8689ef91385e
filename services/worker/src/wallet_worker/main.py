"""This module is where the worker process starts: its parts as tasks."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.outbox import RelaySession
from wallet_runtime import logs, memory
from wallet_worker import (
    books,
    checkpointing,
    consumers,
    inbound,
    recovery,
    relay,
    sealing,
    upkeep,
)
from wallet_worker.delivery import Delivery
from wallet_worker.destinations import BrokerDestination, DirectDestination
from wallet_worker.settings import WorkerSettings
from wallet_worker.settlement import Settlements

_HEARTBEAT_EVERY_S: Final = 2.0

log = structlog.get_logger("wallet_worker")


def main() -> None:
    """Work until SIGTERM."""
    settings = WorkerSettings.load()
    logs.configure("worker", level=settings.log_level, directory=settings.log_dir)
    memory.settle()
    uvloop.run(work(settings))


async def work(settings: WorkerSettings) -> None:
    """Run every part until SIGTERM or SIGINT; a part that fails for good takes the process down."""
    database_url = settings.database_url.get_secret_value()
    # Other services' messages are handled many at once, beside everything else.
    replica = settings.read_database_url
    database = Database(
        database_url,
        application_name="wallet-worker",
        read_url=replica.get_secret_value() if replica else None,
        pool_size=16,
    )
    lanes = GroupCommit(database)
    delivery = Delivery(database, settings.fraud_rules)
    session = RelaySession(database_url)
    stop = _stop_signal()
    asyncio.get_running_loop().set_exception_handler(tell_unasked)
    try:
        async with asyncio.TaskGroup() as parts:
            running = [
                parts.create_task(recovery.run(database, lanes)),
                parts.create_task(upkeep.run(database)),
                parts.create_task(sealing.run(database)),
                parts.create_task(checkpointing.run(database, settings)),
                parts.create_task(books.run(database, settings.verify_seconds, settings)),
                parts.create_task(_beat(settings.heartbeat_file)),
                parts.create_task(memory.sweep()),
            ]
            if settings.rabbitmq_url is not None:
                url = settings.rabbitmq_url.get_secret_value()
                out = BrokerDestination(url, settings.topology)
                running.append(parts.create_task(relay.run(session, out)))
                running.append(
                    parts.create_task(consumers.consume(url, settings.topology, delivery))
                )
                settlements = Settlements(database, lanes, settings.terms)
                running.append(
                    parts.create_task(inbound.consume(url, settings.topology, settlements))
                )
            else:
                direct = DirectDestination(database, settings.topology, delivery)
                running.append(parts.create_task(relay.run(session, direct)))
            log.info("worker.started", broker=settings.rabbitmq_url is not None)
            await stop.wait()
            for part in running:
                part.cancel()
    finally:
        await lanes.close()
        await database.dispose()
    log.info("worker.stopped")


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def tell_unasked(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of an error that nobody asked about; of a connection that a library lost, shortly."""
    error = context.get("exception")
    # Not any OSError: a file that is missing is no connection that was lost.
    if isinstance(error, (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)):
        log.warning("connection.lost", error_class=type(error).__name__, error=str(error))
    else:
        loop.default_exception_handler(context)


async def _beat(path: str) -> None:
    """Touch the file as long as this process can still do something at all."""
    while True:
        if path:
            await asyncio.to_thread(Path(path).touch)
        await asyncio.sleep(_HEARTBEAT_EVERY_S)


if __name__ == "__main__":
    main()
