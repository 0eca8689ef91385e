"""This module is where what came of an order about money becomes its answer."""

from msgspec.structs import replace

from wallet_api import personal
from wallet_api.answers import (
    conversion_answer,
    hold_step_answer,
    money_answer,
    reversal_answer,
    standing_answer,
    transfer_answer,
)
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.fx_schemas import ConversionAnswer
from wallet_api.hold_schemas import HoldAnswer
from wallet_api.problems import key_reused, rejected, remembered, transfer_failed
from wallet_api.reversal_schemas import ReversalAnswer
from wallet_api.schemas import MoneyAnswer, TransferAnswer
from wallet_api.standing_schemas import StandingAnswer
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.operations import (
    HoldReceipt,
    Operation,
    Receipt,
    ReversalReceipt,
    StandingReceipt,
)
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected
from wallet_db_orm import instants, queries, transfers
from wallet_db_orm.orders import Applied, Recorded
from wallet_db_orm.rows import StoredTransfer


def moved(exchange: Exchange, came: Applied) -> MoneyAnswer:
    """
    Answer a deposit or a withdrawal; raises the problem of a refusal, or Busy.

    Notes on the exchange whether its audit row is written and whether this is a repetition.
    """
    recorded = _recorded(exchange, came)
    outcome = recorded.operation.outcome
    assert isinstance(outcome, Receipt)
    exchange.is_audited = True
    return money_answer(recorded.operation, outcome)


async def transferred(books: Books, exchange: Exchange, came: Applied) -> TransferAnswer:
    """Take a submitted transfer to its end and answer it; raises and notes as `moved` does."""
    recorded = _recorded(exchange, came)
    ended = await _ended(books, exchange, recorded)
    return transfer_answer(await as_seen(books, exchange, ended))


async def converted(books: Books, exchange: Exchange, came: Applied) -> ConversionAnswer:
    """Take a submitted conversion to its end and answer it; raises and notes as `moved` does."""
    recorded = _recorded(exchange, came)
    ended = await _ended(books, exchange, recorded)
    return conversion_answer(await as_seen(books, exchange, ended))


async def hold_changed(books: Books, exchange: Exchange, came: Applied) -> HoldAnswer:
    """Answer an operation on a hold, after its transfer if it has one; raises as `moved` does."""
    recorded = _recorded(exchange, came)
    operation = recorded.operation
    assert isinstance(operation.outcome, HoldReceipt)
    if "toWalletId" in operation.meaning:
        await _ended(books, exchange, recorded)
    else:
        exchange.is_audited = True
    return hold_step_answer(operation, operation.outcome)


async def reversed_(books: Books, exchange: Exchange, came: Applied) -> ReversalAnswer:
    """Answer a reversal, after its transfer if it has one; raises as `moved` does."""
    recorded = _recorded(exchange, came)
    operation = recorded.operation
    assert isinstance(operation.outcome, ReversalReceipt)
    if "toWalletId" in operation.meaning:
        await _ended(books, exchange, recorded)
    else:
        exchange.is_audited = True
    return reversal_answer(operation, operation.outcome)


async def stands(books: Books, exchange: Exchange, came: Applied) -> StandingAnswer:
    """Answer a freeze, an unfreeze or a closing; raises and notes as `moved` does."""
    recorded = _recorded(exchange, came)
    exchange.is_audited = True
    return await stood(books, recorded.operation)


async def stood(books: Books, operation: Operation) -> StandingAnswer:
    """Return the wallet as such an operation left it; what cannot be read there is marked."""
    receipt, wallet_id = operation.outcome, operation.wallet_id
    assert isinstance(receipt, StandingReceipt)
    row = await queries.wallet(books.database.fresh, wallet_id)
    # It was done: what cannot be read of the wallet's owner does not make it undone.
    [told] = await personal.answers(books, [row])
    # What was only rehearsed has no version of its own.
    at = await instants.changed_at(books.database.fresh, wallet_id, receipt.version)
    return standing_answer(told, operation, receipt, at or operation.occurred_at)


async def _ended(books: Books, exchange: Exchange, recorded: Recorded) -> Transfer:
    """Take the transfer that an operation has started to its end; raises if it failed."""
    operation = recorded.operation
    if recorded.transfer is not None:
        stored = StoredTransfer(recorded.transfer, operation.trace_id, operation.audit_id, None)
    else:
        stored = await transfers.load(
            books.database.primary, operation.wallet_id, operation.operation_id
        )
    ended = await transfers.finish(books.lanes, stored)
    # The end has written this request's row; a repetition gets one of its own.
    exchange.is_audited = not recorded.is_replay
    if ended.state is TransferState.FAILED:
        raise transfer_failed(ended, operation)
    return ended


async def as_seen(books: Books, exchange: Exchange, transfer: Transfer) -> Transfer:
    """Return the transfer without the recipient's balance, unless the caller may read that."""
    if exchange.owner_id is None:
        return transfer
    recipient = await queries.wallet(books.database.fresh, transfer.to_wallet_id)
    if recipient is not None and recipient.owner_id == exchange.owner_id:
        return transfer
    return replace(transfer, to_balance_minor=None)


def _recorded(exchange: Exchange, came: Applied) -> Recorded:
    """Return the remembered outcome; raises the problem of a refusal."""
    if isinstance(came, IdempotencyKeyReused):
        exchange.is_audited = True
        raise key_reused(came) from came
    if isinstance(came, Rejected):
        exchange.is_audited = True
        raise rejected(came)
    assert isinstance(came, Recorded)
    exchange.is_replay = came.is_replay
    outcome = came.operation.outcome
    if isinstance(outcome, Rejected):
        exchange.is_audited = True
        raise remembered(came.operation, outcome)
    return came
