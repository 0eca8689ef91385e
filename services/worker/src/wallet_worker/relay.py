"""
This module is where committed events leave: taken in order, sent, and removed once confirmed.

One relay is active per database. What is not confirmed stays, and so does what the same wallet
has behind it, so that repeating restores the order.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from wallet_db_orm.outbox import IDLE_SESSION_TIMEOUT_MS, Pending, RelaySession
from wallet_worker.pauses import Pauses

BATCH_MAX: Final = 500
# Whoever commits rings; looking without being asked is for what nobody rang for.
_REST_S: Final = 0.5
# What was not confirmed, or has to wait, is tried again after so long.
_AGAIN_S: Final = 0.05
_STANDBY_S: Final = 1.0
# While the receiver thinks, the database must still hear of us, or it ends our session.
_SIGN_OF_LIFE_S: Final = IDLE_SESSION_TIMEOUT_MS / 1000 / 4

log = structlog.get_logger("wallet_worker")


class Destination(Protocol):
    """Where events go: the broker, or the worker's own delivery when there is none."""

    @property
    def held_back(self) -> set[str]:
        """The wallets whose events have to wait for now."""

    @property
    def due_in_s(self) -> float:
        """How long until the first of them may be sent again; infinite if none waits."""

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
    is_told = False
    while True:
        is_all_gone = await _send_all(session, destination, pauses)
        # Not earlier: while the receiver is away we come by here every other second.
        if not is_told:
            log.info("relay.active")
            is_told = True
        if is_all_gone:
            await session.rest(min(_REST_S, destination.due_in_s))
        else:
            await asyncio.sleep(_AGAIN_S)


async def _send_all(session: RelaySession, destination: Destination, pauses: Pauses) -> bool:
    """Send what is in the outbox and may go; False if some of it was not confirmed."""
    batch = await session.take(BATCH_MAX, without=destination.held_back)
    done: list[int] = []
    is_whole = True
    while batch and is_whole:
        confirmed, following = await _sent(session, destination, batch, done)
        done = in_order(batch, confirmed)
        if done:
            pauses.over()
        # What was taken ahead may be of a wallet that has something unconfirmed before it.
        is_whole = len(done) == len(batch)
        batch = following
    if done:
        await session.remove(done)
    return is_whole


async def _sent(
    session: RelaySession, destination: Destination, batch: Sequence[Pending], done: Sequence[int]
) -> tuple[set[int], Sequence[Pending]]:
    """
    Send the batch; return what was confirmed of it, and what comes after it if it was full.

    Meanwhile the database forgets those `done` before. Raises if the right to relay is lost.
    """
    sending = asyncio.create_task(destination.send(batch))
    try:
        if done:
            await session.remove(done)
        following: Sequence[Pending] = []
        if len(batch) == BATCH_MAX:
            sent = [pending.position for pending in batch]
            following = await session.take(BATCH_MAX, without=destination.held_back, sent=sent)
        while not (await asyncio.wait([sending], timeout=_SIGN_OF_LIFE_S))[0]:
            if not await session.acquire():
                message = "another relay has taken over"
                raise ConnectionError(message)
        return sending.result(), following
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


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
