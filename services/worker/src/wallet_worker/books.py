"""This module is where the books are proved on schedule, by one worker at a time."""

import asyncio
import time
from datetime import timedelta
from typing import Final

import structlog

from wallet_db_orm import proving
from wallet_db_orm.database import Database
from wallet_db_orm.proving import LastProofs, ProofRunning
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_worker.pauses import Pauses
from wallet_worker.witness import comparison

_BY: Final = "worker"
# What an incremental proof cannot see is found within a day.
_WHOLE_EVERY: Final = timedelta(days=1)
_AGAIN_AFTER_MAX_S: Final = 60.0
# A line names some violations; the table `proofs` has more.
_TOLD_MAX: Final = 5

log = structlog.get_logger("wallet_worker")


class Memory:
    """When this process has to prove all of the books itself, whatever others are said to have."""

    def __init__(self, whole_every: timedelta) -> None:
        self.whole_every = whole_every
        self._since_s = time.monotonic()

    @property
    def is_whole_due(self) -> bool:
        return time.monotonic() - self._since_s >= self.whole_every.total_seconds()

    def proved_whole(self) -> None:
        self._since_s = time.monotonic()


async def run(
    database: Database,
    every_s: float,
    checkpoints: CheckpointSettings,
    whole_every: timedelta = _WHOLE_EVERY,
) -> None:
    """
    Prove the books so often, whoever did it last, until cancelled; 0 is never.

    They are held against the checkpoint file as well, where this process has one. What is kept of
    proofs could be forged, so no process leaves all whole ones to others.
    """
    if not every_s:
        return
    pauses, memory = Pauses("books.unproved"), Memory(whole_every)
    while True:
        try:
            left_s = await _prove_if_due(database, every_s, checkpoints, memory)
        except ProofRunning:
            left_s = min(every_s, _AGAIN_AFTER_MAX_S)
        except Exception as error:  # noqa: BLE001  # told, and tried again
            pauses.tell(error)
            left_s = min(every_s, _AGAIN_AFTER_MAX_S)
        pauses.over()
        await asyncio.sleep(left_s)


async def _prove_if_due(
    database: Database, every_s: float, checkpoints: CheckpointSettings, memory: Memory
) -> float:
    """Prove the books unless that was done lately; return in how many seconds it is due."""
    async with proving.alone(database.primary):
        last = await proving.last(database.primary)
        if last.newest is not None and not memory.is_whole_due:
            left_s = every_s - (last.now - last.newest.snapshot_at).total_seconds()
            if left_s > 0:
                return min(left_s, every_s)
        await _prove(database, last, checkpoints, memory)
    return every_s


async def _prove(
    database: Database, last: LastProofs, checkpoints: CheckpointSettings, memory: Memory
) -> None:
    is_whole = (
        memory.is_whole_due
        or last.whole_at is None
        or last.now - last.whole_at >= memory.whole_every
    )
    against = comparison(checkpoints.outside, checkpoints.signing_key)
    proved = await proving.prove(database, incremental=not is_whole, asked_by=_BY, outside=against)
    report = proved.report
    if report.mode == "whole":
        memory.proved_whole()
    facts = {"mode": report.mode, "seconds": report.seconds, "snapshot_at": report.snapshot_at}
    if not proved.is_kept:
        log.warning("books.not_kept", reason="this database takes no writes from us")
    if report.ok:
        log.info("books.verified", **facts)
        return
    broken = [each for each in report.invariants if each.violations]
    log.error(
        "books.violated",
        invariants={each.id: len(each.violations) for each in broken},
        violations=[{"invariant": each.id, **each.violations[0]} for each in broken[:_TOLD_MAX]],
        **facts,
    )
