"""This module is where checkpoints are taken, every so often, by one worker at a time."""

import asyncio
from typing import Final

import structlog

from wallet_common.checkpoints import Contradiction
from wallet_db_orm.database import Database
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_worker.pauses import OperatorNeeded, Pauses
from wallet_worker.witness import Off, Taken, Witness

# Whether one is due the database's clock says; so often in that time, or more often, it is asked.
_LOOKS: Final = 10
_LOOK_EVERY_MAX_S: Final = 30.0

log = structlog.get_logger("wallet_worker")


async def run(database: Database, settings: CheckpointSettings) -> None:
    """Take checkpoints until cancelled; without a key or a place for them say so, and end."""
    try:
        witness = Witness(database, settings)
    except Off as off:
        log.warning("checkpoints.off", reason=str(off))
        return
    pauses = Pauses("checkpoints.wait")
    look_every_s = min(settings.checkpoint_seconds / _LOOKS, _LOOK_EVERY_MAX_S)
    while True:
        try:
            taken = await witness.checkpoint(every_s=settings.checkpoint_seconds)
        except Contradiction as contradiction:
            pauses.tell(OperatorNeeded(str(contradiction)))
        except Exception as error:  # noqa: BLE001  # told, and tried again
            pauses.tell(error)
        else:
            _tell(taken)
        pauses.over()
        await asyncio.sleep(look_every_s)


def _tell(taken: Taken) -> None:
    if taken.checkpoint is not None:
        number, wallets = taken.checkpoint.checkpoint, taken.checkpoint.wallets
        log.info("checkpoint.taken", checkpoint=number, wallets=wallets)
    found_missing = taken.lines_written - (taken.checkpoint is not None)
    if found_missing > 0:
        # A process died before it wrote them, or somebody has cut the file.
        log.warning("checkpoints.completed", lines=found_missing)
