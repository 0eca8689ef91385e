"""This module is where the audit is sealed, a moment after it was written, by one worker."""

import asyncio
from typing import Final

from wallet_db_orm import seals
from wallet_db_orm.database import Database
from wallet_worker.pauses import Pauses

_EVERY_S: Final = 1.0


async def run(database: Database) -> None:
    """Seal what waits until cancelled; beside others it does no harm."""
    pauses = Pauses("sealing.waits")
    while True:
        try:
            sealed = await seals.seal(database.primary)
        except Exception as error:  # noqa: BLE001  # told, and tried again
            await pauses.wait(error)
            continue
        pauses.over()
        if sealed < seals.TAKEN_MAX:
            await asyncio.sleep(_EVERY_S)
