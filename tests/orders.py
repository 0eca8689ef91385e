"""This module is where tests that need no API make what one would have asked of the ledger."""

from datetime import UTC, datetime

from wallet_common.commands import CloseWallet, Command, FreezeWallet, UnfreezeWallet, key
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Direction, Rejected
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Audited, Order, Recorded


def asked_for(command: Command, audit_id: str | None = None) -> Order:
    """Return the order of a command, with the audit row of a request for it."""
    audit_id = audit_id or new_id()
    record = AuditRecord(
        id=audit_id,
        method="POST",
        url=f"/v1/wallets/{command.wallet_id}",
        body=b"{}",
        headers={"host": "localhost"},
        client_ip="127.0.0.1",
        principal=None,
        wallet_id=command.wallet_id,
        request_id=key(command),
        trace_id=f"trace-{audit_id}",
        received_at=datetime.now(UTC),
    )
    return Order(command, record.trace_id, audit_id, Audited(record, _status_of))


def freezing(wallet_id: str, direction: Direction = Direction.BOTH) -> FreezeWallet:
    """Freeze a wallet under a key of its own; `unfreezing` and `closing` likewise."""
    return FreezeWallet(**_keyed(wallet_id), direction=direction, reason="asked")


def unfreezing(wallet_id: str) -> UnfreezeWallet:
    return UnfreezeWallet(**_keyed(wallet_id))


def closing(wallet_id: str) -> CloseWallet:
    return CloseWallet(**_keyed(wallet_id))


def _keyed(wallet_id: str) -> dict[str, str]:
    return {"wallet_id": wallet_id, "request_id": new_id(), "operation_id": new_id()}


def _status_of(applied: Applied) -> int:
    outcome = applied.operation.outcome if isinstance(applied, Recorded) else applied
    has_failed = isinstance(outcome, Transfer) and outcome.state is TransferState.FAILED
    return 422 if has_failed or isinstance(outcome, (Rejected, Exception)) else 201
