"""This module is where the relay sends one batch and has the next one in hand already."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from wallet_db_orm.outbox import Pending, RelaySession
from wallet_worker import relay

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank

Until = Callable[..., Awaitable[None]]


class Receiver:
    """A receiver of the test's own: confirms all it gets, but one event not the first time."""

    def __init__(self, *, refused: int | None = None) -> None:
        self.batches: list[Sequence[Pending]] = []
        self._refused = refused

    @property
    def due_in_s(self) -> float:
        return math.inf

    @property
    def held_back(self) -> set[str]:
        return set()

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        self.batches.append(batch)
        confirmed = {pending.position for pending in batch}
        if self._refused is not None:
            confirmed.discard(batch[self._refused].position)
            self._refused = None
        return confirmed

    async def close(self) -> None:
        """Nothing is held."""


async def relayed(bank: "Bank", receiver: Receiver, until: Until) -> None:
    """Run a relay until the outbox is empty."""
    running = asyncio.create_task(relay.run(RelaySession(bank.url), receiver))
    await until(bank.has_sent_all)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_backlog_leaves_once_and_in_order(bank: "Bank", until: Until) -> None:
    """Several batches, each taken while the last was on its way: nothing twice, nothing lacks."""
    await bank.deposits(3 * relay.BATCH_MAX // 10, *(f"w{number}" for number in range(5)))
    receiver = Receiver()

    await relayed(bank, receiver, until)

    sent = [pending.position for batch in receiver.batches for pending in batch]
    assert len(receiver.batches) >= 2
    assert sent == sorted(set(sent))
    assert await bank.value("SELECT count(*) FROM feed") == len(sent)


async def test_what_was_taken_ahead_waits_for_what_was_not_confirmed(
    bank: "Bank", until: Until
) -> None:
    """The batch after one with an unconfirmed event is not sent before that event is again."""
    await bank.deposits(3 * relay.BATCH_MAX // 10, *(f"w{number}" for number in range(5)))
    receiver = Receiver(refused=7)

    await relayed(bank, receiver, until)

    first, second = receiver.batches[:2]
    assert second[0].position == first[7].position
    feed = await bank.rows(
        "SELECT f.wallet_id, e.wallet_version FROM feed AS f"
        " JOIN events AS e ON e.wallet_id = f.wallet_id AND e.id = f.event_id"
        " ORDER BY f.position"
    )
    versions = defaultdict(list)
    for row in feed:
        versions[row["wallet_id"]].append(row["wallet_version"])
    assert all(each == list(range(1, len(each) + 1)) for each in versions.values())
