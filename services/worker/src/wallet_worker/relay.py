"""
This module is where committed events leave: taken in order, sent, and removed once confirmed.

One relay is active per database. What is not confirmed stays, and so does what the same wallet
has behind it, so that repeating restores the order.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from wallet_db_orm.outbox import Pending, RelaySession
from wallet_worker.pauses import Pauses

BATCH_MAX: Final = 500
_IDLE_S: Final = 0.05
_STANDBY_S: Final = 1.0

log = structlog.get_logger("wallet_worker")


class Destination(Protocol):
    """Where events go: the broker, or the worker's own delivery when there is none."""

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        """Return the positions whose receiver confirmed; raises if it cannot be reached."""

    async def close(self) -> None:
        """Let go of the receiver."""


async def run(session: RelaySession, destination: Destination) -> None:
    """Relay until cancelled, through every absence of database and receiver."""
    pauses = Pauses("relay.waits")
    try:
        while True:
            try:
                await _relay(session, destination, pauses)
            except Exception as error:  # noqa: BLE001  # told, and tried again
                # The session may be gone, and with it the right to remove rows.
                await session.close()
                await destination.close()
                await pauses.wait(error)
    finally:
        await session.close()
        await destination.close()


async def _relay(session: RelaySession, destination: Destination, pauses: Pauses) -> None:
    while not await session.acquire():  # noqa: ASYNC110  # another process decides when
        await asyncio.sleep(_STANDBY_S)
    log.info("relay.active")
    while True:
        batch = await session.take(BATCH_MAX)
        if not batch:
            await asyncio.sleep(_IDLE_S)
            continue
        removable = in_order(batch, await destination.send(batch))
        await session.remove(removable)
        if removable:
            pauses.over()
        else:
            message = "nothing was confirmed"
            raise ConnectionError(message)


def in_order(batch: Sequence[Pending], confirmed: set[int]) -> list[int]:
    """Return the confirmed positions that have no unconfirmed one of their wallet before them."""
    blocked: set[str] = set()
    removable = []
    for pending in batch:
        if pending.position not in confirmed:
            blocked.add(pending.wallet_id)
        elif pending.wallet_id not in blocked:
            removable.append(pending.position)
    return removable
