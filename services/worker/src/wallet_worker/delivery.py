"""
This module is where events take effect: many of them, one transaction.

Both ways in, the broker and the outbox itself, meet here. `deliver` returns when the events'
effect is committed.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from wallet_common.errors import Poison
from wallet_common.events import Event
from wallet_common.fraud import FraudRules
from wallet_db_orm import inbox
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.doorbell import Doorbell
from wallet_worker.notify import notify
from wallet_worker.pauses import Pauses

BATCH_MAX: Final = 500


class _Asked(msgspec.Struct):
    event: Event
    failure: Exception | None = None


class Delivery:
    """Applies events exactly once in effect, as many as possible in one transaction."""

    def __init__(self, database: Database, rules: FraudRules) -> None:
        self._database = database
        self._rules = rules
        self._doorbell = Doorbell(database.fresh)
        self._pauses = Pauses("delivery.waits_for_database")

    async def deliver(self, events: Sequence[Event]) -> list[Exception | None]:
        """
        Apply the events; returns after COMMIT, and for each what kept this very event from it.

        That is Poison if no such wallet exists. While the database is away it waits.
        """
        asked = [_Asked(event) for event in events]
        for at in range(0, len(asked), BATCH_MAX):
            batch = asked[at : at + BATCH_MAX]
            try:
                await self._apply(batch)
            except Exception as error:  # noqa: BLE001  # a bug, and no reason to stop the others
                for each in batch:
                    each.failure = error
        return [each.failure for each in asked]

    async def _apply(self, batch: Sequence[_Asked]) -> None:
        while True:
            try:
                done = await inbox.apply(
                    self._database.primary, [each.event for each in batch], self._rules
                )
            except Exception as error:  # noqa: BLE001  # told to the messages that caused it
                kind = trouble(error)
                if kind in {Trouble.CONNECTION, Trouble.EXHAUSTION}:
                    await self._pauses.wait(error)
                    continue
                return await self._part(batch, error, kind)
            self._pauses.over()
            if done.flagged:
                # A verdict is an event too.
                self._doorbell.ring()
            return _tell(batch, done)

    async def _part(self, batch: Sequence[_Asked], error: Exception, kind: Trouble) -> None:
        """A batch failed as a whole: see to it that one bad wallet or event harms no other."""
        by_wallet: dict[str, list[_Asked]] = defaultdict(list)
        for each in batch:
            by_wallet[each.event.wallet_id].append(each)
        if len(by_wallet) > 1:
            for of_one in by_wallet.values():
                await self._apply(of_one)
        elif len(batch) > 1 and kind is Trouble.OTHER:
            for each in batch:
                await self._apply([each])
        else:
            # Somebody holds this wallet's rows: none of its events would fare better.
            for each in batch:
                each.failure = error


def _tell(batch: Sequence[_Asked], done: inbox.Applied) -> None:
    notify(done.flagged)
    for each in batch:
        if each.event.wallet_id in done.strangers:
            each.failure = Poison("the wallet is not known here")
