"""This module is where many commands come in as one request, and each gets its own outcome."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from itertools import islice
from typing import Final
from uuid import UUID, uuid5

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Raw
from msgspec.json import encode
from msgspec.structs import replace

from wallet_api import desk, intake, strict
from wallet_api.access import reach, rule
from wallet_api.batch_schemas import BatchAnswer, BatchBody, BatchCommand
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import rehearsable
from wallet_api.problems import Problem, fault, invalid
from wallet_api.schemas import BatchResult, DryRun, FlagAnswer, MoneyAnswer, TransferAnswer
from wallet_api.security import forbidden
from wallet_api.ties import tied
from wallet_api.verdicts import verdicts
from wallet_common.commands import Ask, DebitTransfer, Deposit, Withdraw
from wallet_common.errors import Busy, IdempotencyKeyReused
from wallet_common.meanings import operation_type
from wallet_db_orm.audit import record_rows
from wallet_db_orm.ids import new_id
from wallet_db_orm.ledger import is_refused
from wallet_db_orm.orders import Applied, Order, Recorded, Settled
from wallet_db_orm.whole import carry_out, carry_out_in_order, rehearse

_CREATED: Final = 201
_SINGLE: Final = {
    verb: rule("POST", f"/v1/wallets/{{wallet_id}}/{verb}")
    for verb in ("deposit", "withdraw", "transfer")
}
# Of a command that nothing was wrong with, in a batch of which another one was refused.
_NOT_CARRIED_OUT: Final = Problem(
    424, "not_carried_out", "Another command of the batch was refused: nothing happened."
)
_NO_FLAGS: Final[Mapping[str, list[FlagAnswer]]] = {}
# So many commands that transfers tie together are one transaction: no longer does anybody else wait
# for their wallets.
_AT_ONCE: Final = 100
# Any fixed one: ids that follow from a batch's key are the same whenever they are asked for.
_BATCHES: Final = UUID("01a1fe2c-649b-77b0-8dce-3d69ffb267fb")


@post("/v1/batches", tags=["money"], **rehearsable(BatchAnswer, 400, 422))
async def carry_out_batch(
    data: JSONBody[BatchBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> BatchAnswer:
    """
    Carry out up to 1 000 commands, each with its own outcome: some may be refused. With `atomic`
    all of them or none: 422 if one is refused.

    A command's `status` and `body` are those of its single request. Commands for one wallet are
    carried out in their order. A command without a `requestId` gets one that follows from the
    batch's own key and its place, so that a batch with a key can be sent again.
    """
    key = strict.idempotency_key(exchange.headers, data.request_id)
    exchange.request_id = key
    asked = [command(books, key, index, each) for index, each in enumerate(data.commands)]
    batch_id = id_of(key)
    exchange.is_rehearsal = dry_run == "true"
    if exchange.is_rehearsal or data.atomic is True:
        results = await _at_once(books, exchange, asked, is_atomic=data.atomic is True)
        return BatchAnswer(batch_id=batch_id, atomic=data.atomic is True, results=results)
    if not books.lanes.has_room(len(asked)):
        raise Busy("too many requests are waiting")
    record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
    # Every command's event names this row, so it is there before the first of them commits.
    await record_rows(books.database.primary, [record.row(_CREATED)])
    answered = await outcomes(books, exchange, asked)
    return BatchAnswer(batch_id=batch_id, atomic=False, results=_results(answered))


async def outcomes(
    books: Books, exchange: Exchange, asked: Sequence[Ask]
) -> Sequence[tuple[int, bytes]]:
    """
    Return status and body of each command, in order: what its single request would get.

    They come about as if one were sent after the other.
    """
    in_order = {index: asked[index] for index in tied(asked) if _may(exchange, asked[index])}
    # All others are queued before the first is awaited; only a transfer has more steps to take.
    submitted = {
        index: _submit(books, exchange, command)
        for index, command in enumerate(asked)
        if index not in in_order
    }
    transfers = {
        index: asyncio.ensure_future(desk.transferred(books, exchange, each))
        for index, each in submitted.items()
        if isinstance(asked[index], DebitTransfer)
    }
    submitted |= await _one_after_the_other(books, exchange, in_order)
    answered = [
        await _told(
            exchange,
            command,
            transfers.get(index) or _answer(books, exchange, command, submitted[index]),
        )
        for index, command in enumerate(asked)
    ]
    # What the commands have noted there is true of each, not of the batch.
    exchange.is_audited = True
    exchange.is_replay = bool(asked) and all(map(_is_replay, submitted.values()))
    return answered


async def _one_after_the_other(
    books: Books, exchange: Exchange, commands: Mapping[int, Ask]
) -> dict[int, asyncio.Future[Settled]]:
    """Carry out what a transfer ties together; return what was settled, or why it was not."""
    settled: dict[int, asyncio.Future[Settled]] = {}
    places = iter(commands)
    while part := list(islice(places, _AT_ONCE)):
        orders = [_order(exchange, commands[index]) for index in part]
        try:
            applied = await carry_out_in_order(books.database, orders)
        except Exception as error:  # noqa: BLE001  # told in each result, and the log if it is ours
            settled |= {index: _failed(error) for index in part}
        else:
            settled |= dict(zip(part, map(_settled, applied), strict=True))
            books.lanes.doorbell.ring()
    return settled


def _settled(came: Applied) -> asyncio.Future[Settled]:
    """Return it as the lanes do."""
    if isinstance(came, IdempotencyKeyReused):
        return _failed(came)
    settled: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    settled.set_result(came)
    return settled


def _failed(error: Exception) -> asyncio.Future[Settled]:
    failed: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    failed.set_exception(error)
    return failed


def _is_replay(settled: asyncio.Future[Settled]) -> bool:
    """Say of what was answered whether it was a repetition."""
    if settled.exception() is not None:
        return False
    came = settled.result()
    return isinstance(came, Recorded) and came.is_replay


async def _at_once(
    books: Books, exchange: Exchange, asked: Sequence[Ask], *, is_atomic: bool
) -> list[BatchResult]:
    """
    Carry out every command in one transaction, or rehearse them.

    Of an atomic batch raises a 422 with what became of each if one is refused.
    """
    may_all = all(_may(exchange, command) for command in asked)
    applied: Sequence[Applied | None] = [None] * len(asked)
    is_done = False
    flags = _NO_FLAGS
    # Nothing is looked at for who may not ask for it.
    if may_all and exchange.is_rehearsal:
        orders = [_order(exchange, command) for command in asked]
        applied = came = await rehearse(books.database, orders)
        is_done = not (is_atomic and any(map(is_refused, came)))
        flags = await verdicts(books, exchange, asked, came)
    elif may_all:
        record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
        orders = [_order(exchange, command) for command in asked]
        whole = await carry_out(books.database, orders, record.row(_CREATED))
        applied, is_done = whole.applied, whole.is_done
        books.lanes.doorbell.ring()
    answered = [
        await _told(exchange, command, _answer(books, exchange, command, _settled(came), flags))
        if came is not None and (is_done or is_refused(came))
        else _left_out(exchange, command)
        for command, came in zip(asked, applied, strict=True)
    ]
    exchange.is_audited = is_done
    exchange.is_replay = is_done and all(
        isinstance(each, Recorded) and each.is_replay for each in applied
    )
    if not is_done:
        detail = "One of the commands was refused, so none was carried out."
        raise Problem(422, "batch_rejected", detail, extras={"results": _results(answered)})
    return _results(answered)


def _left_out(exchange: Exchange, command: Ask) -> tuple[int, bytes]:
    """Return status and body of a command that was not carried out, though nothing is wrong."""
    problem = _NOT_CARRIED_OUT if _may(exchange, command) else forbidden()
    return problem.status, _document(exchange, command, problem)


async def _answer(
    books: Books,
    exchange: Exchange,
    command: Ask,
    settled: asyncio.Future[Settled],
    flags: Mapping[str, list[FlagAnswer]] = _NO_FLAGS,
) -> MoneyAnswer | TransferAnswer:
    """Return what the command's single request would be answered; raises as that does."""
    if isinstance(command, DebitTransfer):
        return await desk.transferred(books, exchange, settled)
    answer = await desk.moved(exchange, settled)
    if exchange.is_rehearsal and isinstance(command, Withdraw):
        return replace(answer, flags=flags.get(answer.operation_id, []))
    return answer


def _results(answered: Sequence[tuple[int, bytes]]) -> list[BatchResult]:
    return [BatchResult(index, status, Raw(body)) for index, (status, body) in enumerate(answered)]


def id_of(key: str | None) -> str:
    """Return the id of a batch: the same for the same key."""
    return new_id() if key is None else str(uuid5(_BATCHES, key))


def command(books: Books, key: str | None, index: int, data: BatchCommand) -> Ask:
    """Read the command at `index`; raises a 400 that names the place."""
    derived = new_id() if key is None else str(uuid5(_BATCHES, f"{key} {index}"))
    try:
        asked = intake.money(books, data.wallet_id, data.request_id or derived, data)
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
    if not _may(exchange, command):
        return _failed(forbidden())
    return books.lanes.submit(_order(exchange, command))


def _may(exchange: Exchange, command: Ask) -> bool:
    return reach(exchange.roles, _SINGLE[operation_type(command)]) is not None


def _order(exchange: Exchange, command: Ask) -> Order:
    return Order(command, exchange.trace_id, exchange.id, owner_id=exchange.owner_id)


async def _told(
    exchange: Exchange, command: Ask, answer: Awaitable[MoneyAnswer | TransferAnswer]
) -> tuple[int, bytes]:
    """Return the status and the body that the command's single request would get."""
    try:
        return _CREATED, encode(await answer)
    except Exception as error:  # noqa: BLE001  # told in the result, and the log if it is ours
        problem = error if isinstance(error, Problem) else fault(error, exchange)
        return problem.status, _document(exchange, command, problem)


def _document(exchange: Exchange, command: Ask, problem: Problem) -> bytes:
    instance = f"/v1/wallets/{command.wallet_id}/{operation_type(command)}"
    return problem.document(instance, exchange.trace_id)


HANDLERS: Final = (carry_out_batch,)
