"""This module is where letters are held that rest in the table, as long as there is no broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_db_orm import dead_letters, discarded
from wallet_db_orm.database import Database
from wallet_db_orm.discarded import Discarded
from wallet_letters.letters import Bounds, Letter, LettersHeld, NoSuchLetter, group_of, storable

_PAGE: Final = 1_000
_POLL_S: Final = 0.05


class TableBox:
    """The table that stands in; another operator's hold is waited for, `patience_s` long."""

    def __init__(
        self, database: Database, bounds: Bounds | None = None, *, patience_s: float = 10.0
    ) -> None:
        self._database = database
        self._bounds = bounds or Bounds()
        self._patience_s = patience_s

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["TableHeld"]:
        deadline_s = monotonic() + self._patience_s
        while True:
            async with dead_letters.in_hand(self._database.primary) as is_ours:
                if is_ours:
                    yield await self._take()
                    return
            if monotonic() > deadline_s:
                raise LettersHeld
            await asyncio.sleep(_POLL_S)

    async def _take(self) -> "TableHeld":
        found: list[Letter] = []
        size = 0
        while (room := self._bounds.letters - len(found)) > 0 and size < self._bounds.size:
            after = found[-1].id if found else None
            rows = await dead_letters.letters(
                self._database.primary, after=after, limit=min(room, _PAGE)
            )
            found += [_letter(row) for row in rows]
            size += sum(len(row.body) for row in rows)
            if len(rows) < min(room, _PAGE):
                return TableHeld(self._database, found, 0)
        beyond = await dead_letters.count(self._database.primary) - len(found)
        return TableHeld(self._database, found, max(0, beyond))


class TableHeld:
    """Letters of the table, as they were when they were taken in hand."""

    def __init__(self, database: Database, letters: Sequence[Letter], beyond: int) -> None:
        self._database = database
        self.letters = letters
        self.beyond = beyond

    async def put_back(self, letters: Sequence[Letter]) -> Mapping[str, str]:
        """Put the letters' events back into the outbox."""
        refused = {}
        for letter in letters:
            try:
                event = decode(letter.body)
            except Poison as poison:
                refused[letter.name] = f"it is no event of ours: {poison}"
                continue
            if not await dead_letters.put_back(
                self._database.primary, letter.id, event.wallet_id, event.id
            ):
                refused[letter.name] = "its event is not in the books, or the letter is gone"
        return refused

    async def discard(self, letter: Letter, kept: Discarded, archive: Database) -> None:
        if not await discarded.take(archive.primary, kept):
            raise NoSuchLetter(f"no letter is called {letter.id} any more")


def _letter(row: dead_letters.Letter) -> Letter:
    error = storable(row.error)
    return Letter(
        id=row.id,
        name=row.id,
        queue=row.queue,
        routing_key=row.routing_key,
        group=group_of(row.error_class, error),
        error=error,
        error_class=row.error_class,
        attempts=row.attempts,
        replays=row.replays,
        first_failed_at=row.first_failed_at,
        last_failed_at=row.last_failed_at,
        headers={},
        body=row.body,
    )
