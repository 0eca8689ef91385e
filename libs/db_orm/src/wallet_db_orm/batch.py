"""
This module is where the orders of one transaction are folded: recalled, or decided and noted.

Nothing here touches the database: `ledger` reads what a batch knows and writes what it notes.
"""

from collections import defaultdict
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Final

from msgspec.json import encode
from msgspec.structs import replace

from wallet_common import commands as ask, hold_steps, meanings
from wallet_common.chain import NO_HASH, entry_digest, link
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.holds import Hold, HoldStatus
from wallet_common.ledger import decide
from wallet_common.operations import Operation, receipt
from wallet_common.transfer import Transfer, TransferState as State
from wallet_common.wallet import (
    SPENDING_TYPES,
    Entry,
    Posted,
    Rejected,
    RejectionReason,
    counter_account,
)
from wallet_db_orm import batch_rows
from wallet_db_orm.audit import DeferredAudit
from wallet_db_orm.ids import new_id
from wallet_db_orm.known import Known
from wallet_db_orm.orders import Applied, Order, Recorded, goes_back_to, is_there, is_under_way
from wallet_db_orm.rows import StoredTransfer
from wallet_db_orm.statements import Record

_CHANGES_STANDING: Final = frozenset(
    (ask.FreezeWallet, ask.UnfreezeWallet, ask.CloseWallet, ask.SetLimits, ask.ReverseOperation)
)
_MOVES: Final = (
    *(ask.Deposit, ask.Withdraw, ask.DebitTransfer, ask.CreditTransfer, ask.RefundTransfer),
    *(ask.CaptureHold, ask.ReverseDeposit, ask.ReverseOperation),
)


class Batch(Known):
    """What one transaction knows, and what it is going to write."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.changed_holds: set[str] = set()
        self.stood: set[str] = set()
        self.opened: dict[str, str | None] = {}
        self.moved: set[str] = set()
        self.rows: dict[str, list[Record]] = defaultdict(list)

    def head(self, wallet_id: str) -> bytes:
        """Return the hash of the wallet's newest entry, those noted here included."""
        return self.heads.get(wallet_id, NO_HASH)

    def waits(self, order: Order) -> bool:
        """Say whether another's lock keeps the order waiting; on a stranger's wallet none does."""
        if not self.held:
            return False
        wallet_id = order.command.wallet_id
        held = self.held.get(wallet_id)
        if held is None and goes_back_to(order.command) in self.held:
            held = self.wallets.get(wallet_id)
        return held is not None and is_there(held, order)

    def let_expire(self) -> None:
        """Let every hold expire whose time is over, before anything is decided."""
        due = [(each.hold.expires_at, each) for each in self.holds.values()]
        due = [(at, each) for at, each in due if each.hold.is_due(self.now)]
        for _, each in sorted(due, key=itemgetter(0)):
            wallet_id = each.hold.wallet_id
            posted = hold_steps.expire(self.wallets[wallet_id], each.hold)
            self._post(Order(ask.ExpireHolds(wallet_id=wallet_id), each.trace_id), posted)

    def fold(self, order: Order) -> Applied:
        """Decide one order on what the earlier ones left, and note what must be written."""
        if is_there(self.wallets.get(order.command.wallet_id), order):
            applied = self._recall(order) or self._decide(order)
        else:
            applied = Rejected(RejectionReason.WALLET_NOT_FOUND)
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
        if earlier is None:
            return None
        assert not isinstance(command, ask.KEYLESS), "what has a key was found"
        # A cancelled key has one answer, whatever is asked with it.
        if not isinstance(command, (ask.CancelKey, ask.CreditTransfer)) and (
            not earlier.was_cancelled
        ):
            try:
                earlier.check_same_intent(command)
            except IdempotencyKeyReused as reused:
                return reused
        # Our own operation, met again after its COMMIT went unanswered, is no replay.
        return Recorded(earlier, is_replay=earlier.operation_id != command.operation_id)

    def _decide(self, order: Order) -> Applied:
        command = order.command
        outcome = decide(self.wallets.get(command.wallet_id), command, self.around(command))
        if isinstance(outcome, Posted):
            self._post(order, outcome)
        match command:
            case ask.Deposit() | ask.Withdraw() | ask.DebitTransfer():
                return self._keep_outcome(order, command, outcome)
            case ask.CompleteTransfer():
                return self._finish(outcome)
            case ask.RefundTransfer():
                if isinstance(outcome, Posted):
                    self._remember(order, command, outcome)
                return self._finish(outcome)
            case _ if isinstance(command, ask.KEYLESS):
                return outcome.wallet if isinstance(outcome, Posted) else outcome
            case _:
                return self._keep_outcome(order, command, outcome)

    def _keep_outcome(
        self,
        order: Order,
        command: ask.Ask | ask.CancelKey | ask.CreditTransfer,
        outcome: Posted | Rejected,
    ) -> Recorded | Rejected:
        # A reversal that is refused today may be possible tomorrow.
        if isinstance(outcome, Rejected) and (
            ask.is_reversal(command) or not outcome.reason.remembered
        ):
            return outcome
        operation = self._remember(order, command, outcome)
        return Recorded(operation, transfer=self._start(order, outcome))

    def _post(self, order: Order, posted: Posted) -> None:
        """Take over the wallet as it is now; note its events and its entry."""
        wallet, command = posted.wallet, order.command
        if posted.facts and type(command) in _CHANGES_STANDING:
            self.stood.add(wallet.id)
        self.wallets[wallet.id] = wallet
        if posted.created:
            self.opened[wallet.id] = (
                command.metadata if isinstance(command, ask.OpenWallet) else None
            )
            self.siblings[wallet.owner_id or "", wallet.currency] = wallet
            if isinstance(command, ask.OpenWallet):
                self.rows["pii_index"] += batch_rows.index(wallet, command)
        elif posted.facts and wallet.id not in self.opened:
            self.moved.add(wallet.id)
        transfer_id = ask.transfer_id(command)
        for version, fact in enumerate(posted.facts, wallet.version - len(posted.facts) + 1):
            event_id, payload = new_id(), encode(fact.payload).decode()
            self.rows["events"].append(
                (wallet.id, event_id, version, fact.type, transfer_id)
                + (order.audit_id, order.trace_id, payload)
            )
        lines = [each for each in (posted.entry, posted.fee) if each is not None]
        for entry in sorted(lines, key=attrgetter("version")):
            self._enter(order, posted, entry)
        if posted.hold is not None:
            self._keep(order, posted.hold)
        if posted.back is not None and isinstance(command, ask.ReverseOperation):
            self.reversed[wallet.id, command.reverses] += posted.back.amount_minor
            self.rows["reversals"].append(batch_rows.reversal(command, posted.back, self.now))

    def _keep(self, order: Order, hold: Hold) -> None:
        """Note a hold that is new, or what became of one."""
        command, before = order.command, self.holds.get(hold.id)
        was_open = before is not None and before.hold.status is HoldStatus.OPEN
        if self.spending:
            self._spend(hold.wallet_id, 0, (hold.status is HoldStatus.OPEN) - was_open)
        if not isinstance(command, ask.PlaceHold):
            self.holds[hold.id] = replace(self.holds[hold.id], hold=hold)
            self.changed_holds.add(hold.id)
            return
        self.rows["holds"].append(batch_rows.hold(hold, command, order, self.now))

    def _enter(self, order: Order, posted: Posted, entry: Entry) -> None:
        wallet, command = posted.wallet, order.command
        assert isinstance(command, _MOVES), "nothing else has an entry"
        row = (
            (wallet.id, entry.version, entry.type, entry.amount_minor, entry.balance_after_minor)
            + (wallet.currency, counter_account(entry, wallet.currency), command.operation_id)
            + (ask.transfer_id(command), command.request_id, command.reference, command.metadata)
            + (order.audit_id, order.trace_id)
        )
        if self.spending and entry.type in SPENDING_TYPES:
            self._spend(wallet.id, -entry.amount_minor, 1 if entry.amount_minor < 0 else -1)
        self.heads[wallet.id] = link(self.head(wallet.id), entry_digest((*row, self.now)))
        self.rows["ledger_entries"].append((*row, self.heads[wallet.id]))

    def _spend(self, wallet_id: str, amount_minor: int, times: int) -> None:
        for (spender, zone), spending in self.spending.items():
            if spender == wallet_id:
                self.spending[spender, zone] = {
                    period: spent.and_also(amount_minor, times)
                    for period, spent in spending.items()
                }

    def _remember(self, order: Order, command: ask.Keyed, outcome: Posted | Rejected) -> Operation:
        key = ask.key(command)
        assert key is not None
        operation = Operation(
            wallet_id=command.wallet_id,
            request_id=key,
            operation_id=command.operation_id,
            type=meanings.operation_type(command),
            meaning=meanings.meaning(command),
            outcome=receipt(outcome) if isinstance(outcome, Posted) else outcome,
            trace_id=order.trace_id,
            audit_id=order.audit_id,
            occurred_at=self.now,
        )
        self.operations[operation.wallet_id, operation.request_id] = operation
        self.rows["operations"].append(batch_rows.operation(operation))
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
        stored = StoredTransfer(transfer, order.trace_id, order.audit_id, deferred)
        self.transfers[transfer.id] = stored
        self.rows["transfers"].append(batch_rows.transfer(stored, self.now))
        if transfer.exchange is not None:
            quote_id = transfer.exchange.quote_id
            self.quotes[quote_id] = replace(self.quotes[quote_id], transfer_id=transfer.id)
            self.rows["fx_quotes"].append((quote_id, transfer.id))
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
