"""This module is where the worker looks after the audit's coming months."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wallet_db_orm.partitions import MONTHS_AHEAD, month_after

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker

Until = Callable[..., Awaitable[None]]
LAST = f"api_audit_{month_after(datetime.now(UTC), MONTHS_AHEAD):%Y_%m}"
THERE = f"SELECT to_regclass('{LAST}') IS NOT NULL"


async def test_upkeepers_make_what_lacks_at_once(
    bank: "Bank", worker_at: Callable[..., "Worker"], until: Until
) -> None:
    """Three workers start together: the month that lacked is there, and none of them has ended."""
    await bank.execute(f"DROP TABLE {LAST}")
    worker = worker_at(None)

    parts = [worker.start_upkeep() for _ in range(3)]

    await until(lambda: bank.value(THERE))
    await worker.stop(*parts)


async def test_an_upkeeper_waits_for_who_reads(
    bank: "Bank", worker_at: Callable[..., "Worker"], until: Until
) -> None:
    """A reader that holds the audit for long is waited for, and then it happens."""
    await bank.execute(f"DROP TABLE {LAST}")
    reader = await bank.session()
    await reader.execute("BEGIN")
    await reader.execute("SELECT count(*) FROM api_audit")

    worker_at(None).start_upkeep()

    await until(lambda: bank.value("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
    assert not await bank.value(THERE)
    await reader.close()
    await until(lambda: bank.value(THERE))
