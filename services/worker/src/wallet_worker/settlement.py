"""
This module is where other services' sign-ups and transactions take effect in the ledger, once.

What makes it safe to die at any line, to be told everything twice and in any order:

- A transaction's row (`settlements`) is committed before its money moves. Whoever comes second, of
  a completion and a failure, reads what the first one meant.
- Its money moves under one key of one wallet, and the ledger remembers keys for ever. A failure
  takes that key first (`CancelKey`): either nothing had happened, and nothing can any more, not
  even by a worker that slept since it read the row; or it learns what happened, and takes that
  back under a second key.
- The last statement says how it ended and queues the answer, once for the completion and once for
  the failure. Until it is committed, the message comes again and every step finds itself done.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from wallet_common.commands import CancelKey, Command, Deposit, OpenWallet
from wallet_common.errors import Busy, IdempotencyKeyReused, NotPayable, WalletError
from wallet_common.messages import (
    Completion,
    TransactionType,
    read_completion,
    read_failure,
    read_sign_up,
)
from wallet_common.money import Amount, render
from wallet_common.operations import Operation, Receipt
from wallet_common.settlements import (
    Settlement,
    SettlementState,
    effect,
    ending,
    key,
    plan,
    reversal,
    tombstone,
)
from wallet_common.topology import ATTEMPTS_HEADER
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected, Wallet
from wallet_db_orm import settlements, transfers
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Applied, Audited, Order, Recorded
from wallet_db_orm.rows import StoredTransfer
from wallet_worker.pauses import Pauses
from wallet_worker.turns import Turns


class NotKnownYet(WalletError):
    """A user of the transaction has no wallet; it may be on its way, so ask once more."""


# The key of a wallet's first money; the space keeps it out of reach of clients.
OPENING_KEY: Final = "opening balance"

log = structlog.get_logger("wallet_worker")


class Terms(msgspec.Struct, frozen=True):
    """
    What other services' users get: wallets in `currency`, with an opening balance or None.

    With `opens_late`, a top-up opens the wallet of a user whose sign-up has not arrived.
    """

    currency: str
    opening_balance: Amount | None = None
    opens_late: bool = True


class Settlements:
    """
    Handles messages of other services; each method returns once all of it is committed.

    Raises Poison for what is no such message, NotPayable for a reversal that has to wait, Busy
    while somebody else holds the wallet. A database that is away is waited for.
    """

    def __init__(self, database: Database, lanes: GroupCommit, terms: Terms) -> None:
        self._engine = database.fresh
        self._lanes = lanes
        self._terms = terms
        self._turns = Turns()
        self._pauses = Pauses("settlement.waits_for_database")

    async def sign_up(self, body: bytes, origin: AuditRecord) -> None:
        """Open the user's wallet and bring in its opening balance, each once."""
        user_id = read_sign_up(body).user_id
        async with self._turns.taken([user_id]):
            await self._insist(lambda: self._sign_up(user_id, origin))

    async def complete(self, body: bytes, origin: AuditRecord) -> None:
        """
        Carry out a top-up or a transfer, unless its failure was told.

        In the order of the calls, where they concern the same users: what one pays another may
        have brought. Raises NotKnownYet too, the first time that a wallet lacks.
        """
        asked = read_completion(body, self._terms.currency)
        named = replace(origin, request_id=asked.transaction_id)
        users = [each for each in (asked.user_id, asked.recipient_id) if each is not None]
        async with self._turns.taken(users):
            await self._insist(lambda: self._complete(asked, named))

    async def fail(self, body: bytes, origin: AuditRecord) -> None:
        """Take back what a transaction did, and see to it that it will do nothing."""
        told = read_failure(body)
        named = replace(origin, request_id=told.transaction_id)
        await self._insist(lambda: self._fail(tombstone(told), named))

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:
                cause = error.__cause__ if isinstance(error, Busy) else error
                if trouble(cause or error) not in {Trouble.CONNECTION, Trouble.EXHAUSTION}:
                    raise
                await self._pauses.wait(error)
            else:
                self._pauses.over()
                return

    async def _sign_up(self, user_id: str, origin: AuditRecord) -> None:
        wallet_id = await self._open(user_id, origin)
        if self._terms.opening_balance is None:
            # Nothing is what it started with, also if the setting changes and this is told again.
            nothing = CancelKey(wallet_id=wallet_id, request_id=OPENING_KEY, operation_id=new_id())
            await self._submit(nothing, origin)
            return
        first = Deposit(
            wallet_id=wallet_id,
            request_id=OPENING_KEY,
            operation_id=new_id(),
            amount=self._terms.opening_balance,
        )
        # It had its opening balance already, when that was another amount.
        with suppress(IdempotencyKeyReused):
            await self._submit(first, origin)

    async def _complete(self, asked: Completion, origin: AuditRecord) -> None:
        kept = await settlements.find(self._engine, asked.transaction_id)
        if kept is None:
            kept = await self._accept(asked, origin)
        kept.check_same(asked)
        ended, reason = kept.state, kept.reason
        if ended is SettlementState.ACCEPTED:
            ended, reason = ending(await self._carry_out(kept, origin))
        await settlements.complete(
            self._engine, kept.transaction_id, ended, reason, user_id=asked.user_id, origin=origin
        )
        self._lanes.doorbell.ring()

    async def _fail(self, told: Settlement, origin: AuditRecord) -> None:
        kept = await settlements.keep(self._engine, told)
        assert told.reason is not None, "a failure has a reason"
        if kept.wallet_id is not None:
            await self._take_back(kept, kept.wallet_id, told.reason, origin)
        await settlements.fail(
            self._engine, told.transaction_id, told.reason, user_id=told.user_id, origin=origin
        )
        self._lanes.doorbell.ring()

    async def _accept(self, asked: Completion, origin: AuditRecord) -> Settlement:
        """Commit what is going to be done; whoever was faster decides what that is."""
        wallet_id = await self._wallet_of(asked.user_id)
        # Sign-ups come on another queue, so a user's first money may be here before the user.
        is_early = wallet_id is None and asked.type is TransactionType.TOPUP
        if is_early and self._terms.opens_late:
            wallet_id = await self._open(asked.user_id, origin)
        to_wallet_id = None
        if asked.recipient_id is not None:
            to_wallet_id = await self._wallet_of(asked.recipient_id)
        planned = plan(asked, wallet_id, to_wallet_id)
        # A sign-up that was said earlier may be a moment behind, on its queue.
        if planned.state is SettlementState.FAILED and ATTEMPTS_HEADER not in origin.headers:
            raise NotKnownYet(planned.reason)
        return await settlements.keep(self._engine, planned)

    async def _carry_out(self, kept: Settlement, origin: AuditRecord) -> Operation | Transfer:
        recorded = await self._submit(effect(kept, new_id()), origin)
        assert isinstance(recorded, Recorded), "wallet and amount were looked at for the plan"
        return await self._transfer_of(recorded) or recorded.operation

    async def _take_back(
        self, kept: Settlement, wallet_id: str, reason: str, origin: AuditRecord
    ) -> None:
        cancel = CancelKey(
            wallet_id=wallet_id, request_id=key(kept.transaction_id), operation_id=new_id()
        )
        spent = await self._submit(cancel, origin)
        assert isinstance(spent, Recorded), "the plan has a wallet"
        transfer = await self._transfer_of(spent)
        command = reversal(kept, spent.operation, transfer, operation_id=new_id(), reason=reason)
        if command is None:
            return
        reversed_ = await self._submit(command, origin)
        if isinstance(reversed_, Rejected):
            raise NotPayable(_lacking(reversed_))
        assert isinstance(reversed_, Recorded)
        back = await self._transfer_of(reversed_)
        assert back is None or back.state is TransferState.COMPLETED, "a reversal never fails"
        if not reversed_.is_replay:
            log.info("transaction.reversed", transaction_id=kept.transaction_id)

    async def _transfer_of(self, recorded: Recorded) -> Transfer | None:
        """Drive the transfer that an operation started to its end; None if it started none."""
        operation = recorded.operation
        if operation.type != "transfer" or not isinstance(operation.outcome, Receipt):
            return None
        if recorded.transfer is not None:
            stored = StoredTransfer(recorded.transfer, operation.trace_id, operation.audit_id, None)
        else:
            stored = await transfers.load(self._engine, operation.wallet_id, operation.operation_id)
        return await transfers.finish(self._lanes, stored)

    async def _open(self, user_id: str, origin: AuditRecord) -> str:
        """Return the user's wallet, opened if there is none."""
        opened = await self._submit(OpenWallet(new_id(), self._terms.currency, user_id), origin)
        if isinstance(opened, Wallet):
            return opened.id
        wallet_id = await self._wallet_of(user_id)
        assert wallet_id is not None, "nothing else keeps a new id from being opened"
        return wallet_id

    async def _wallet_of(self, user_id: str) -> str | None:
        return await settlements.wallet_of(self._engine, user_id, self._terms.currency)

    async def _submit(self, command: Command, origin: AuditRecord) -> Applied:
        """Return what came of the command; raises IdempotencyKeyReused, or Busy."""
        record = replace(origin, wallet_id=command.wallet_id)
        audited = Audited(record, lambda _: settlements.TAKEN_IN)
        came = await self._lanes.submit(Order(command, record.trace_id, record.id, audited))
        if isinstance(came, IdempotencyKeyReused):
            raise came
        return came


def _lacking(rejected: Rejected) -> str:
    said = f"the reversal has to wait: {rejected.reason}"
    required, available = rejected.required_minor, rejected.available_minor
    if rejected.currency is None or required is None or available is None:
        return said
    lacks = render(required - available, rejected.currency)
    return f"{said}, {lacks} {rejected.currency} are missing"
