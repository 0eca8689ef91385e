"""
This module is where many commands become one transaction: lock, look, decide, record.

The pure `decide` folds the commands in arrival order; everything is written set-wise.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from msgspec.json import encode
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import commands as ask
from wallet_common.errors import Busy, IdempotencyKeyReused, InvariantViolated
from wallet_common.ledger import decide
from wallet_common.operations import Operation, receipt
from wallet_common.transfer import Transfer, TransferState as State
from wallet_common.wallet import COUNTER_ACCOUNTS, Entry, Posted, Rejected, Surroundings, Wallet
from wallet_db_orm import statements as sql
from wallet_db_orm.audit import DeferredAudit
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Order, Recorded, is_under_way
from wallet_db_orm.rows import StoredTransfer, operation_of, stored_transfer_of, wallet_of

# Creating a wallet that somebody else is creating right now starts the transaction over.
_RACES_MAX: Final = 5


async def apply(
    engine: AsyncEngine, orders: Sequence[Order], *, waits: bool = True
) -> list[Applied | None]:
    """
    Carry out `orders` in one transaction and return what came of each, in order.

    Locks every order's wallet. Unless it `waits`, an order whose wallet somebody else holds is
    left undone: None. Raising means that nothing happened, unless the connection was lost during
    COMMIT: then asking again with the same orders tells what happened.
    """
    for _ in range(_RACES_MAX):
        with suppress(_Raced):
            async with transaction(engine) as connection:
                batch = await _read(connection, orders, waits=waits)
                applied = [
                    None if order.command.wallet_id in batch.held else batch.fold(order)
                    for order in orders
                ]
                await _write(connection, batch)
            return applied
    message = "others keep creating the same wallets"
    raise Busy(message)


class _Raced(Exception):
    """Somebody else created a wallet after we looked; now it is there to be locked."""


class _Batch:
    """What one transaction knows, and what it is going to write."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.wallets: dict[str, Wallet] = {}
        self.held: set[str] = set()
        self.recipients: dict[str, Wallet] = {}
        self.siblings: dict[tuple[str, str], Wallet] = {}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.transfers: dict[str, StoredTransfer] = {}
        self.opened: dict[str, str | None] = {}
        self.moved: set[str] = set()
        self.rows: dict[str, list[Sequence[object]]] = defaultdict(list)

    def fold(self, order: Order) -> Applied:
        """Decide one order on what the earlier ones left, and note what must be written."""
        applied = self._recall(order) or self._decide(order)
        if order.audit is not None and not is_under_way(order.command, applied):
            status = order.audit.status_of(applied)
            self.rows["api_audit"].append(order.audit.record.row(status))
        return applied

    def _recall(self, order: Order) -> Recorded | Transfer | IdempotencyKeyReused | None:
        command = order.command
        if isinstance(command, (ask.CompleteTransfer, ask.RefundTransfer)):
            stored = self.transfers.get(command.transfer_id)
            return stored.transfer if stored and stored.transfer.is_final else None
        earlier = self.operations.get((command.wallet_id, ask.key(command) or ""))
        if earlier is None or isinstance(command, ask.OpenWallet):
            return None
        if not isinstance(command, ask.CreditTransfer):
            try:
                earlier.check_same_intent(command)
            except IdempotencyKeyReused as reused:
                return reused
        # Our own operation, met again after its COMMIT went unanswered, is no replay.
        return Recorded(earlier, is_replay=earlier.operation_id != command.operation_id)

    def _decide(self, order: Order) -> Applied:
        command = order.command
        outcome = decide(self.wallets.get(command.wallet_id), command, self._around(command))
        if isinstance(outcome, Posted):
            self._post(order, outcome)
        match command:
            case ask.OpenWallet():
                return outcome.wallet if isinstance(outcome, Posted) else outcome
            case ask.CompleteTransfer():
                return self._finish(outcome)
            case ask.RefundTransfer():
                if isinstance(outcome, Posted):
                    self._remember(order, command, outcome)
                return self._finish(outcome)
            case _:
                if isinstance(outcome, Rejected) and not outcome.reason.remembered:
                    return outcome
                operation = self._remember(order, command, outcome)
                return Recorded(operation, transfer=self._start(order, outcome))

    def _around(self, command: ask.Command) -> Surroundings:
        match command:
            case ask.OpenWallet(owner_id=str(owner_id)):
                return Surroundings(sibling=self.siblings.get((owner_id, command.currency)))
            case ask.DebitTransfer(to_wallet_id=to_wallet_id):
                recipient = self.wallets.get(to_wallet_id) or self.recipients.get(to_wallet_id)
                return Surroundings(recipient=recipient)
            case ask.CompleteTransfer() | ask.RefundTransfer():
                stored = self.transfers.get(command.transfer_id)
                return Surroundings(transfer=stored.transfer if stored else None)
            case _:
                return Surroundings()

    def _post(self, order: Order, posted: Posted) -> None:
        """Take over the wallet as it is now; note its events and its entry."""
        wallet, command = posted.wallet, order.command
        self.wallets[wallet.id] = wallet
        if posted.created:
            self.opened[wallet.id] = (
                command.metadata if isinstance(command, ask.OpenWallet) else None
            )
            self.siblings[wallet.owner_id or "", wallet.currency] = wallet
        elif posted.facts and wallet.id not in self.opened:
            self.moved.add(wallet.id)
        transfer_id = ask.transfer_id(command)
        for version, fact in enumerate(posted.facts, wallet.version - len(posted.facts) + 1):
            event_id, payload = new_id(), encode(fact.payload).decode()
            self.rows["events"].append(
                (wallet.id, event_id, version, fact.type, transfer_id)
                + (order.audit_id, order.trace_id, payload)
            )
        if posted.entry is not None:
            self._enter(order, posted, posted.entry)

    def _enter(self, order: Order, posted: Posted, entry: Entry) -> None:
        wallet, command = posted.wallet, order.command
        assert not isinstance(command, (ask.OpenWallet, ask.CompleteTransfer)), "they move nothing"
        self.rows["ledger_entries"].append(
            (wallet.id, entry.version, entry.type, entry.amount_minor, entry.balance_after_minor)
            + (wallet.currency, COUNTER_ACCOUNTS[entry.type], command.operation_id)
            + (ask.transfer_id(command), command.request_id, command.reference, command.metadata)
            + (order.audit_id, order.trace_id)
        )

    def _remember(
        self,
        order: Order,
        command: ask.Ask | ask.CreditTransfer | ask.RefundTransfer,
        outcome: Posted | Rejected,
    ) -> Operation:
        key = ask.key(command)
        assert key is not None
        operation = Operation(
            wallet_id=command.wallet_id,
            request_id=key,
            operation_id=command.operation_id,
            type=ask.operation_type(command),
            meaning=ask.meaning(command),
            outcome=receipt(outcome) if isinstance(outcome, Posted) else outcome,
            trace_id=order.trace_id,
            audit_id=order.audit_id,
            occurred_at=self.now,
        )
        self.operations[operation.wallet_id, operation.request_id] = operation
        meaning, told = encode(operation.meaning), encode(operation.outcome)
        self.rows["operations"].append(
            (operation.wallet_id, operation.request_id, operation.operation_id, operation.type)
            + (meaning.decode(), told.decode(), order.trace_id, order.audit_id)
        )
        return operation

    def _start(self, order: Order, outcome: Posted | Rejected) -> Transfer | None:
        """Note a new transfer, with the audit record that its end will write."""
        transfer = outcome.transfer if isinstance(outcome, Posted) else None
        if transfer is None:
            return None
        deferred = None
        if order.audit is not None:
            status_of = order.audit.status_of
            deferred = DeferredAudit(
                order.audit.record,
                status_completed=status_of(replace(transfer, state=State.COMPLETED)),
                status_failed=status_of(replace(transfer, state=State.FAILED)),
            )
        self.transfers[transfer.id] = StoredTransfer(
            transfer, order.trace_id, order.audit_id, deferred
        )
        self.rows["transfers"].append(
            (transfer.from_wallet_id, transfer.id, transfer.to_wallet_id, transfer.amount_minor)
            + (transfer.currency, transfer.state, transfer.request_id, transfer.from_balance_minor)
            + (transfer.reference, transfer.metadata, order.trace_id, order.audit_id)
            + (encode(deferred).decode() if deferred else None, self.now)
        )
        return transfer

    def _finish(self, outcome: Posted | Rejected) -> Transfer | Rejected:
        """Note the end of a transfer and write its audit record with the status that came true."""
        if isinstance(outcome, Rejected):
            return outcome
        transfer = outcome.transfer
        assert transfer is not None
        stored = self.transfers[transfer.id]
        self.transfers[transfer.id] = replace(stored, transfer=transfer, audit=None)
        self.rows["finished"].append(
            (transfer.from_wallet_id, transfer.id, transfer.state, transfer.from_balance_minor)
            + (transfer.to_balance_minor, transfer.reason)
        )
        if stored.audit is not None:
            self.rows["api_audit"].append(stored.audit.row(transfer.state))
        return transfer


async def _read(connection: Driver, orders: Sequence[Order], *, waits: bool) -> _Batch:
    """Lock the wallets, then look: what comes after the locks sees what they waited for."""
    commands = [order.command for order in orders]
    wanted = {command.wallet_id for command in commands}
    lock = sql.LOCK_WALLETS if waits else sql.LOCK_FREE_WALLETS
    rows = await connection.fetch(lock, list(wanted))
    locked = {row[0]: wallet_of(row) for row in rows}
    keys = {(c.wallet_id, key) for c in commands if (key := ask.key(c)) is not None}
    found = await connection.fetch(
        sql.LOOK_UP, *sql.transpose(list(keys), ("wallet_id", "request_id"))
    )
    batch = _Batch(now=found[0].now)
    batch.wallets = locked
    if not waits and (missing := wanted - locked.keys()):
        rows = await connection.fetch(sql.READ_WALLETS, list(missing))
        batch.held = {row.id for row in rows}
    batch.operations = {
        (row.wallet_id, row.request_id): operation_of(row) for row in found if row.wallet_id
    }
    if recipients := [c.to_wallet_id for c in commands if isinstance(c, ask.DebitTransfer)]:
        rows = await connection.fetch(sql.READ_WALLETS, recipients)
        batch.recipients = {row.id: wallet_of(row) for row in rows}
    if owned := [(c.owner_id, c.currency) for c in commands if isinstance(c, ask.OpenWallet)]:
        rows = await connection.fetch(
            sql.READ_SIBLINGS, *sql.transpose(owned, ("owner_id", "currency"))
        )
        batch.siblings = {(row.owner_id, row.currency): wallet_of(row) for row in rows}
    steps = [c for c in commands if isinstance(c, (ask.CompleteTransfer, ask.RefundTransfer))]
    if steps:
        rows = await connection.fetch(
            sql.READ_TRANSFERS, [c.wallet_id for c in steps], [c.transfer_id for c in steps]
        )
        batch.transfers = {str(row.id): stored_transfer_of(row) for row in rows}
    return batch


async def _write(connection: Driver, batch: _Batch) -> None:
    """Write what the batch noted; raises _Raced when a wallet to open is there by now."""
    if batch.opened:
        opened = [
            (wallet.id, wallet.owner_id, wallet.currency, wallet.balance_minor, wallet.held_minor)
            + (wallet.status, wallet.version, metadata, batch.now, batch.now)
            for wallet_id, metadata in sorted(batch.opened.items())
            for wallet in [batch.wallets[wallet_id]]
        ]
        written = await connection.fetch(
            sql.OPEN_WALLETS, *sql.transpose(opened, sql.OPENED_COLUMNS)
        )
        if len(written) != len(opened):
            raise _Raced
    if started := batch.rows["transfers"]:
        columns = sql.transpose(started, sql.STARTED_COLUMNS)
        await connection.execute(sql.START_TRANSFERS, *columns)
    if finished := batch.rows["finished"]:
        columns = sql.transpose(finished, sql.FINISHED_COLUMNS)
        await connection.execute(sql.FINISH_TRANSFERS, *columns, batch.now)
    moved = [
        (wallet.id, wallet.balance_minor, wallet.held_minor, wallet.version)
        for wallet in map(batch.wallets.__getitem__, sorted(batch.moved))
    ]
    parameters = [batch.now, *sql.transpose(moved, sql.MOVED_COLUMNS)]
    for table, names, _ in sql.WRITTEN:
        parameters += sql.transpose(batch.rows[table.name], names)
    if await connection.fetchval(sql.RECORD, *parameters) != len(moved):
        message = "a wallet changed under its lock"
        raise InvariantViolated(message)
