"""This module is where a changing HTTP request becomes its one row in `api_audit`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.transfer import TransferState
from wallet_db_orm.database import statement
from wallet_db_orm.statements import RECORD_AUDIT, Record


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the edge saw it: secrets already taken out of `headers`."""

    id: str
    method: str
    url: str
    body: bytes
    headers: dict[str, str]
    client_ip: str | None
    principal: str | None
    wallet_id: str | None
    request_id: str | None
    trace_id: str
    received_at: datetime

    def row(self, status: int) -> Record:
        """Return the values of `statements.AUDIT_COLUMNS`; `status` is what the caller gets."""
        taken = datetime.now(UTC) - self.received_at
        return (
            self.id,
            self.method,
            self.url,
            self.body,
            msgspec.json.encode(self.headers).decode(),
            self.client_ip,
            status,
            self.principal,
            self.wallet_id,
            self.request_id,
            self.trace_id,
            max(0, int(taken.total_seconds() * 1_000_000)),
        )


class DeferredAudit(msgspec.Struct, frozen=True):
    """A transfer's audit record, kept in its row until the end tells which answer was true."""

    record: AuditRecord
    status_completed: int
    status_failed: int

    def row(self, state: TransferState) -> Record:
        """Return the row to write at the transfer's end."""
        is_completed = state is TransferState.COMPLETED
        return self.record.row(self.status_completed if is_completed else self.status_failed)


async def record_rows(engine: AsyncEngine, rows: Sequence[Record]) -> None:
    """Write rows of requests that no ledger transaction wrote; a row that is there stays."""
    async with statement(engine) as connection:
        await connection.execute(RECORD_AUDIT, rows)
