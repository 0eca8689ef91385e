"""This module is where transfers are finished whose driver died, and holds end as time does."""

import asyncio
from typing import Final

import structlog

from wallet_common.errors import Busy
from wallet_db_orm import transfers
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_worker import expiry
from wallet_worker.pauses import Pauses

_EVERY_S: Final = 1.0
# A driver that is alive finishes long before; acting beside one changes nothing.
_ABANDONED_AFTER_S: Final = 2.0
_AT_ONCE: Final = 100

log = structlog.get_logger("wallet_worker")


async def run(database: Database, lanes: GroupCommit) -> None:
    """Finish abandoned transfers and note what has expired, until cancelled."""
    pauses = Pauses("recovery.waits")
    stuck: set[str] = set()
    while True:
        try:
            await expiry.note(database, lanes, stuck)
            found = await transfers.unfinished(
                database.primary, older_than_s=_ABANDONED_AFTER_S, limit=_AT_ONCE
            )
            ended = await asyncio.gather(
                *(transfers.finish(lanes, stored) for stored in found), return_exceptions=True
            )
        except Exception as error:  # noqa: BLE001  # told, and tried again
            await pauses.wait(error)
            continue
        for stored, end in zip(found, ended, strict=True):
            if isinstance(end, Busy):
                continue  # It stays where it is and is found again.
            if isinstance(end, BaseException):
                # Tried again each time, told once.
                if stored.transfer.id not in stuck:
                    log.error("transfer.stuck", transfer_id=stored.transfer.id, exc_info=end)
                stuck.add(stored.transfer.id)
                continue
            stuck.discard(end.id)
            log.info("transfer.recovered", transfer_id=end.id, state=end.state.value)
        pauses.over()
        await asyncio.sleep(_EVERY_S)
