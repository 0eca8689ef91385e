"""This module is where the audit's coming months get their partitions, once a day."""

import asyncio
from typing import Final

import structlog

from wallet_db_orm import partitions
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_worker.pauses import Pauses

_EVERY_S: Final = 24 * 3600.0
_AGAIN_AFTER_S: Final = 600.0

log = structlog.get_logger("wallet_worker")


async def run(database: Database) -> None:
    """Make what lacks, at once and then daily, until cancelled; beside others it does no harm."""
    pauses = Pauses("upkeep.waits")
    while True:
        try:
            ensured = await partitions.ensure(database.primary)
        except Exception as error:  # noqa: BLE001  # told, and tried again
            if trouble(error) is Trouble.CONNECTION:
                await pauses.wait(error)
            else:
                # There are months in hand, and each attempt may keep writers waiting.
                pauses.tell(error)
                await asyncio.sleep(_AGAIN_AFTER_S)
            continue
        if ensured.created or ensured.postponed:
            log.info("partitions.made", created=ensured.created, postponed=ensured.postponed)
        pauses.over()
        await asyncio.sleep(_EVERY_S)
