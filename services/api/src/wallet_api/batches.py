"""This module is where many commands come in as one request, and each gets its own outcome."""

import asyncio
from collections.abc import Awaitable
from typing import Final
from uuid import UUID, uuid5

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Raw
from msgspec.json import encode

from wallet_api import desk, strict
from wallet_api.access import reach, rule
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import refusals
from wallet_api.problems import Problem, fault, invalid
from wallet_api.schemas import (
    BatchAnswer,
    BatchBody,
    BatchCommand,
    BatchResult,
    MoneyAnswer,
    TransferAnswer,
)
from wallet_api.security import forbidden
from wallet_common.commands import Ask, DebitTransfer, Deposit, Withdraw
from wallet_common.errors import Busy
from wallet_common.meanings import operation_type
from wallet_db_orm.audit import record_rows
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order, Settled

_CREATED: Final = 201
_SINGLE: Final = {
    verb: rule("POST", f"/v1/wallets/{{wallet_id}}/{verb}")
    for verb in ("deposit", "withdraw", "transfer")
}
# Any fixed one: ids that follow from a batch's key are the same whenever they are asked for.
_BATCHES: Final = UUID("01a1fe2c-649b-77b0-8dce-3d69ffb267fb")


@post("/v1/batches", responses=refusals(400, 408, 413, 415), tags=["money"])
async def carry_out_batch(
    data: JSONBody[BatchBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> BatchAnswer:
    """
    Carry out up to 1 000 commands, each with its own outcome: some may be refused.

    A command's `status` and `body` are those of its single request. Commands for one wallet are
    carried out in their order. A command without a `requestId` gets one that follows from the
    batch's own key and its place, so that a batch with a key can be sent again.
    """
    if data.atomic is True:
        raise invalid("atomic", "must be false: all or nothing is not served")
    key = strict.idempotency_key(exchange.headers, data.request_id)
    exchange.request_id = key
    asked = [_command(books, key, index, each) for index, each in enumerate(data.commands)]
    if not books.lanes.has_room(len(asked)):
        raise Busy("too many requests are waiting")
    record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
    # Every command's event names this row, so it is there before the first of them commits.
    await record_rows(books.database.primary, [record.row(_CREATED)])
    # All are queued before the first is awaited; only a transfer has more steps to take.
    submitted = [_submit(books, exchange, command) for command in asked]
    transfers = {
        index: asyncio.ensure_future(desk.transferred(books, exchange, submitted[index]))
        for index, command in enumerate(asked)
        if isinstance(command, DebitTransfer)
    }
    answered = [
        await _told(
            exchange, command, transfers.get(index) or desk.moved(exchange, submitted[index])
        )
        for index, command in enumerate(asked)
    ]
    # What the commands have noted there is true of each, not of the batch.
    exchange.is_audited, exchange.is_replay = True, False
    return BatchAnswer(
        batch_id=new_id() if key is None else str(uuid5(_BATCHES, key)),
        atomic=False,
        results=[
            BatchResult(index, status, Raw(body)) for index, (status, body) in enumerate(answered)
        ],
    )


def _command(books: Books, key: str | None, index: int, data: BatchCommand) -> Ask:
    """Read the command at `index`; raises a 400 that names the place."""
    derived = new_id() if key is None else str(uuid5(_BATCHES, f"{key} {index}"))
    try:
        asked = desk.asked(books, data.wallet_id, data.request_id or derived, data)
        if (data.to_wallet_id is not None) != (data.type == "transfer"):
            raise invalid("toWalletId", "is what a transfer has, and nothing else")
    except Problem as problem:
        raise problem.within(f"commands[{index}]") from problem
    match data.type:
        case "deposit":
            return Deposit(**asked, opens_in=books.settings.opens_in)
        case "withdraw":
            return Withdraw(**asked)
        case "transfer":
            assert data.to_wallet_id is not None, "checked above"
            return DebitTransfer(**asked, to_wallet_id=data.to_wallet_id)


def _submit(books: Books, exchange: Exchange, command: Ask) -> asyncio.Future[Settled]:
    """Queue the command, unless the caller might not send it as a request of its own."""
    if reach(exchange.roles, _SINGLE[operation_type(command)]) is None:
        refused: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        refused.set_exception(forbidden())
        return refused
    order = Order(command, exchange.trace_id, exchange.id, owner_id=exchange.owner_id)
    return books.lanes.submit(order)


async def _told(
    exchange: Exchange, command: Ask, answer: Awaitable[MoneyAnswer | TransferAnswer]
) -> tuple[int, bytes]:
    """Return the status and the body that the command's single request would get."""
    try:
        return _CREATED, encode(await answer)
    except Exception as error:  # noqa: BLE001  # told in the result, and the log if it is ours
        problem = error if isinstance(error, Problem) else fault(error, exchange)
        instance = f"/v1/wallets/{command.wallet_id}/{operation_type(command)}"
        return problem.status, problem.document(instance, exchange.trace_id)


HANDLERS: Final = (carry_out_batch,)
