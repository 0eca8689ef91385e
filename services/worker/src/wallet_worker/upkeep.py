"""This module is where the audit's coming months get their partitions, once a day."""

import asyncio
from typing import Final

import structlog

from wallet_db_orm import partitions
from wallet_db_orm.database import Database
from wallet_worker.pauses import Pauses

_EVERY_S: Final = 24 * 3600.0

log = structlog.get_logger("wallet_worker")


async def run(database: Database) -> None:
    """Make what lacks, at once and then daily, until cancelled; beside others it does no harm."""
    pauses = Pauses("upkeep.waits")
    while True:
        try:
            ensured = await partitions.ensure(database.primary)
        except Exception as error:  # noqa: BLE001  # told, and tried again
            await pauses.wait(error)
            continue
        if ensured.created or ensured.postponed:
            log.info("partitions.made", created=ensured.created, postponed=ensured.postponed)
        pauses.over()
        await asyncio.sleep(_EVERY_S)
