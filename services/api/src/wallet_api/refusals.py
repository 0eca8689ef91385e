"""This module is where requests get their audit row that no ledger transaction wrote one for."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

import structlog

from wallet_db_orm.audit import AuditRecord, record_rows
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.statements import Record

_WAITING_MAX: Final = 10_000
_AT_ONCE: Final = 500
_AGAIN_AFTER_S: Final = 1.0
# Longer than this no answer waits for its row.
_PATIENCE_S: Final = 3.0

log = structlog.get_logger("wallet_api")


class Refusals:
    """
    Writes the row before the answer goes out, unless the database is away.

    Then the row waits here, with a log line, and the answer does not; what a dying process still
    held is lost, and so is, with another line, what comes when the room is full.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Record] = deque()
        self._catching_up: asyncio.Task[None] | None = None

    async def write(self, record: AuditRecord, status: int) -> None:
        """Write the row, or keep it until it can be written; never raises."""
        row = record.row(status)
        if not self._waiting:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return await record_rows(self._database.primary, [row])
            except Exception as error:  # noqa: BLE001  # whatever it is, the row waits
                log.warning("audit.away", error_class=type(error).__name__)
        if len(self._waiting) >= _WAITING_MAX:
            log.error("audit.lost", audit_id=record.id, trace_id=record.trace_id)
            return None
        # Said before the answer is given: should this process die, the log names what was lost.
        log.warning("audit.waits", audit_id=record.id, trace_id=record.trace_id)
        self._waiting.append(row)
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())
        return None

    async def close(self) -> None:
        """Try once more to write what waits."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        if self._waiting and not await self._written():
            log.error("audit.lost", rows=len(self._waiting))

    async def _catch_up(self) -> None:
        while self._waiting:
            await asyncio.sleep(_AGAIN_AFTER_S)
            while self._waiting and await self._written():
                pass
        self._catching_up = None

    async def _written(self) -> bool:
        """Write the oldest rows; writing a row twice is harmless, so they leave only afterwards."""
        rows = list(islice(self._waiting, _AT_ONCE))
        try:
            await record_rows(self._database.primary, rows)
        except Exception as error:  # noqa: BLE001  # they stay where they are
            if trouble(error) is not Trouble.OTHER:
                return False
            await self._write_singly(rows)
        for _ in rows:
            self._waiting.popleft()
        return True

    async def _write_singly(self, rows: Sequence[Record]) -> None:
        """One row cannot be stored: the others must not wait for it."""
        for row in rows:
            try:
                await record_rows(self._database.primary, [row])
            except Exception as error:  # noqa: BLE001  # told; nothing else can be done
                log.error("audit.lost", audit_id=row[0], error_class=type(error).__name__)  # noqa: TRY400
