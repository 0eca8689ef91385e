"""This module is where it is noted and told that the time of holds is over."""

import asyncio
from typing import Final

import structlog

from wallet_common.commands import ExpireHolds
from wallet_common.errors import Busy
from wallet_db_orm import holds
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order
from wallet_worker.pauses import Pauses

_EVERY_S: Final = 1.0
_AT_ONCE: Final = 500

log = structlog.get_logger("wallet_worker")


async def run(database: Database, lanes: GroupCommit) -> None:
    """
    Let holds expire until cancelled, for the sake of those who listen to events.

    What is available is right without this: who reads leaves out what is due, and who decides lets
    it expire first. Several workers at once change nothing.
    """
    pauses = Pauses("expiry.waits")
    while True:
        try:
            due = await holds.due_wallets(database.primary, limit=_AT_ONCE)
            ended = await asyncio.gather(
                *(
                    lanes.submit(Order(ExpireHolds(wallet_id=wallet_id), new_id()))
                    for wallet_id in due
                ),
                return_exceptions=True,
            )
            for end in ended:
                # A wallet that somebody holds locked is found again.
                if isinstance(end, BaseException) and not isinstance(end, Busy):
                    raise end
        except Exception as error:  # noqa: BLE001  # told, and tried again
            await pauses.wait(error)
            continue
        if due:
            log.info("holds.expired", wallets=len(due))
        pauses.over()
        await asyncio.sleep(0 if len(due) == _AT_ONCE else _EVERY_S)
