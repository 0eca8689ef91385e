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

_AT_ONCE: Final = 500

log = structlog.get_logger("wallet_worker")


async def note(database: Database, lanes: GroupCommit, stuck: set[str]) -> None:
    """
    Let some holds expire whose time is over, for the sake of those who listen to events.

    What is available is right without this: who reads leaves out what is due, and who decides lets
    it expire first. Several workers at once change nothing. A wallet that cannot be helped is told
    once, kept in `stuck`, and holds up no other. Raises what the database raises.
    """
    due = await holds.due_wallets(database.primary, limit=_AT_ONCE)
    ended = await asyncio.gather(
        *(lanes.submit(Order(ExpireHolds(wallet_id=each), new_id())) for each in due),
        return_exceptions=True,
    )
    for wallet_id, end in zip(due, ended, strict=True):
        if isinstance(end, Busy):
            continue  # Somebody holds it locked; it is found again.
        if isinstance(end, BaseException):
            if wallet_id not in stuck:
                log.error("holds.stuck", wallet_id=wallet_id, exc_info=end)
            stuck.add(wallet_id)
            continue
        stuck.discard(wallet_id)
        log.info("holds.expired", wallet_id=wallet_id)
