"""This module is where many commands come in as one request, and each gets its own outcome."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Raw
from msgspec.json import encode

from wallet_api import intake, outcomes, strict
from wallet_api.batch_schemas import BatchAnswer, BatchBody, BatchCommand
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import rehearsable
from wallet_api.problems import Problem, invalid, key_reused
from wallet_api.schemas import BatchResult, DryRun
from wallet_api.security import forbidden
from wallet_api.verdicts import verdicts
from wallet_common import meanings
from wallet_common.commands import Ask, DebitTransfer, Deposit, Withdraw
from wallet_common.errors import Busy, IdempotencyKeyReused
from wallet_db_orm import batch_keys
from wallet_db_orm.audit import record_rows
from wallet_db_orm.batch_keys import BatchKey
from wallet_db_orm.ids import new_id
from wallet_db_orm.ledger import is_refused
from wallet_db_orm.orders import Applied
from wallet_db_orm.whole import Rehearsal, carry_out

# Of a command that nothing was wrong with, in a batch of which another one was refused.
_NOT_CARRIED_OUT: Final = Problem(
    424, "not_carried_out", "Another command of the batch was refused: nothing happened."
)
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

    A command's `status` and `body` are those of its single request, as if one had been sent after
    the other. A command without a `requestId` gets one that follows from the batch's own key and
    its place, so that a batch with a key can be sent again: the same commands.
    """
    key = strict.idempotency_key(exchange.headers, data.request_id)
    exchange.request_id = key
    asked = [_placed(books, key, index, each) for index, each in enumerate(data.commands)]
    batch_id = id_of(key)
    exchange.is_rehearsal = dry_run == "true"
    own = None if key is None else _own_key(exchange, batch_id, data, asked)
    try:
        return await _carried_out(books, exchange, batch_id, data, asked, own)
    except IdempotencyKeyReused as reused:
        raise key_reused(reused) from reused


async def _carried_out(
    books: Books,
    exchange: Exchange,
    batch_id: str,
    data: BatchBody,
    asked: Sequence[Ask],
    own: BatchKey | None,
) -> BatchAnswer:
    if own is not None and (exchange.is_rehearsal or data.atomic is True):
        # Before it is found out that these commands would be refused.
        await batch_keys.check(books.database.fresh, own)
    if data.atomic is True:
        results = await _all_or_none(books, exchange, asked, own)
        return BatchAnswer(batch_id=batch_id, atomic=True, results=results)
    if exchange.is_rehearsal:
        came = await outcomes.foretold(books, exchange, Rehearsal(books.database), asked)
        return BatchAnswer(batch_id=batch_id, atomic=False, results=_results(came))
    if not books.lanes.has_room(len(asked)):
        raise Busy("too many requests are waiting")
    record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
    # Every command's event names this row, so it is there before the first of them commits.
    row = record.row(outcomes.CREATED)
    if own is None:
        await record_rows(books.database.primary, [row])
    else:
        await batch_keys.announce(books.database.primary, own, row)
    answered = await outcomes.come_about(books, exchange, asked)
    return BatchAnswer(batch_id=batch_id, atomic=False, results=_results(answered))


def _own_key(exchange: Exchange, batch_id: str, data: BatchBody, asked: Sequence[Ask]) -> BatchKey:
    """Return what is meant by the batch's own key: these commands, and how."""
    meant = [(each.wallet_id, each.request_id, meanings.meaning(each)) for each in asked]
    meaning = {
        "atomic": "true" if data.atomic is True else "false",
        "commands": sha256(encode(meant, order="deterministic")).hexdigest(),
    }
    return BatchKey(exchange.principal or "", batch_id, meaning, exchange.id)


async def _all_or_none(
    books: Books, exchange: Exchange, asked: Sequence[Ask], own: BatchKey | None
) -> list[BatchResult]:
    """
    Carry out every command in one transaction, or rehearse that.

    Raises a 422 with what became of each if one is refused.
    """
    applied: Sequence[Applied | None] = [None] * len(asked)
    is_done, flags = False, outcomes.NO_FLAGS
    # Nothing is looked at for who may not ask for it.
    if {*map(meanings.operation_type, asked)} <= outcomes.permitted(exchange):
        orders = [outcomes.order(exchange, command) for command in asked]
        if exchange.is_rehearsal:
            applied = came = await Rehearsal(books.database).fold(orders)
            is_done = not any(map(is_refused, came))
            flags = await verdicts(books, exchange, asked, came)
        else:
            record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
            whole = await carry_out(books.database, orders, record.row(outcomes.CREATED), own)
            applied, is_done = whole.applied, whole.is_done
            books.lanes.doorbell.ring()
    answered = [
        await outcomes.told_of(books, exchange, command, came, flags)
        if came is not None and (is_done or is_refused(came))
        else _left_out(exchange, command)
        for command, came in zip(asked, applied, strict=True)
    ]
    exchange.is_audited = is_done
    exchange.is_replay = is_done and outcomes.are_replays(applied, answered)
    if not is_done:
        detail = "One of the commands was refused, so none was carried out."
        raise Problem(422, "batch_rejected", detail, extras={"results": _results(answered)})
    return _results(answered)


def _left_out(exchange: Exchange, command: Ask) -> tuple[int, bytes]:
    """Return status and body of a command that was not carried out, though nothing is wrong."""
    may_be = meanings.operation_type(command) in outcomes.permitted(exchange)
    problem = _NOT_CARRIED_OUT if may_be else forbidden()
    return problem.status, outcomes.document(exchange, command, problem)


def _results(answered: Sequence[tuple[int, bytes]]) -> list[BatchResult]:
    return [BatchResult(index, status, Raw(body)) for index, (status, body) in enumerate(answered)]


def id_of(key: str | None) -> str:
    """Return the id of a batch: the same for the same key."""
    return new_id() if key is None else str(uuid5(_BATCHES, key))


def _placed(books: Books, key: str | None, index: int, data: BatchCommand) -> Ask:
    try:
        return command(books, key, index, data)
    except Problem as problem:
        raise problem.within(f"commands[{index}]") from problem


def command(books: Books, key: str | None, index: int, data: BatchCommand) -> Ask:
    """Read the command at `index`, by which it gets a key if it has none; raises a 400."""
    derived = new_id() if key is None else str(uuid5(_BATCHES, f"{key} {index}"))
    asked = intake.money(books, data.wallet_id, data.request_id or derived, data)
    if data.type == "transfer" and data.to_wallet_id is None:
        raise invalid("toWalletId", "is missing: where does the transfer go?")
    if data.type != "transfer" and data.to_wallet_id is not None:
        raise invalid("toWalletId", "is what a transfer has, and nothing else")
    match data.type:
        case "deposit":
            return Deposit(**asked, opens_in=books.settings.opens_in)
        case "withdraw":
            return Withdraw(**asked)
        case "transfer":
            assert data.to_wallet_id is not None, "checked above"
            return DebitTransfer(**asked, to_wallet_id=data.to_wallet_id)


HANDLERS: Final = (carry_out_batch,)
