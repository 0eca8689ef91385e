"""This module is where operations are reversed over HTTP."""

from typing import Any, Final
from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UnsetType

from wallet_api import desk, strict
from wallet_api.access import Role
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.intake import key, submit
from wallet_api.openapi import rehearsable
from wallet_api.problems import Problem
from wallet_api.reversal_schemas import ReversalAnswer, ReverseBody
from wallet_api.schemas import DryRun
from wallet_api.security import forbidden
from wallet_common.commands import ReverseOperation, Reversible
from wallet_common.transfer import TransferState
from wallet_db_orm import reversals
from wallet_db_orm.ids import new_id

# What an entry of a type has done that can be taken back.
_REVERSIBLE: Final = {
    "deposit": Reversible.DEPOSIT,
    "withdraw": Reversible.WITHDRAWAL,
    "hold_capture": Reversible.WITHDRAWAL,
    "transfer_debit": Reversible.TRANSFER,
}


@post(
    "/v1/operations/{operation_id:uuid}/reverse",
    tags=["money"],
    **rehearsable(ReversalAnswer, 400, 404, 422),
)
async def reverse_operation(
    operation_id: FromPath[UUID],
    data: JSONBody[ReverseBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> ReversalAnswer:
    """
    Take back a deposit, a withdrawal, a capture or a transfer: the whole or a part, never more.

    A transfer's money goes back by a transfer of its own; the key belongs to the wallet that gives
    it back, or gets back what it withdrew. With `force` it may owe what it gives back.
    """
    if data.force is True and Role.ADMIN not in exchange.roles:
        raise forbidden()
    request_id = key(exchange, data.request_id)
    amount = None if isinstance(data.amount, UnsetType) else strict.amount(data.amount)
    row = await reversals.original(books.database.fresh, str(operation_id))
    if row is None or exchange.owner_id not in {None, row.owner_id}:
        raise Problem(404, "operation_not_found", "There is no such operation.")
    kind = _kind(row)
    is_transfer = kind is Reversible.TRANSFER
    exchange.wallet_id = row.to_wallet_id if is_transfer else row.wallet_id
    command = ReverseOperation(
        wallet_id=row.to_wallet_id if is_transfer else row.wallet_id,
        request_id=request_id,
        operation_id=new_id(),
        kind=kind,
        reverses=str(operation_id),
        original_minor=abs(row.amount_minor),
        amount=amount,
        reason=data.reason,
        force=data.force is True,
        to_wallet_id=row.wallet_id if is_transfer else None,
        reference=row.reference,
        metadata=row.metadata,
    )
    came = await submit(exchange, books, command, dry_run)
    return await desk.reversed_(books, exchange, came)


def _kind(row: Any) -> Reversible:  # noqa: ANN401  # of reversals.original
    """Return what there is to take back; raises a 422 if that is nothing."""
    if row.request_id.startswith("transaction "):
        raise _refused("It is another service's: it is taken back by its transaction.failed.")
    kind = _REVERSIBLE.get(row.entry_type)
    if kind is None:
        raise _refused("It moved no money that could be taken back, or took some back itself.")
    if kind is Reversible.TRANSFER:
        if row.reverses is not None:
            raise _refused("It is a reversal itself.")
        if row.quote_id is not None:
            raise _refused("It changed its currency: the way back takes a quote of its own.")
        if row.state != TransferState.COMPLETED:
            raise _refused(f"The transfer has not completed: it is {row.state}.")
    return kind


def _refused(detail: str) -> Problem:
    return Problem(422, "not_reversible", detail)


HANDLERS: Final = (reverse_operation,)
