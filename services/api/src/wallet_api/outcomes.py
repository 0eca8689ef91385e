"""This module is where the commands of a batch come about, each as its single request would."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Final, TypeAlias

from msgspec.json import encode
from msgspec.structs import replace

from wallet_api import desk
from wallet_api.access import reach, rule
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.problems import Problem, fault
from wallet_api.schemas import FlagAnswer, MoneyAnswer, TransferAnswer
from wallet_api.security import forbidden
from wallet_api.ties import tied
from wallet_api.verdicts import verdicts
from wallet_common.commands import Ask, DebitTransfer, Withdraw
from wallet_common.errors import Busy, IdempotencyKeyReused
from wallet_common.meanings import operation_type
from wallet_db_orm.orders import Applied, Order, Recorded, Settled
from wallet_db_orm.whole import PATIENCE_S, Rehearsal, carry_out_in_order

CREATED: Final = 201
NO_FLAGS: Final[Mapping[str, list[FlagAnswer]]] = {}
_SINGLE: Final = {
    verb: rule("POST", f"/v1/wallets/{{wallet_id}}/{verb}")
    for verb in ("deposit", "withdraw", "transfer")
}
_Settled: TypeAlias = asyncio.Future[Settled]
# So many groups of one batch at a time; each takes a connection.
_GROUPS_AT_ONCE: Final = 4
# So many commands that transfers tie together are one transaction: no longer does anybody else wait
# for their wallets.
_AT_ONCE: Final = 100


async def come_about(
    books: Books, exchange: Exchange, asked: Sequence[Ask]
) -> Sequence[tuple[int, bytes]]:
    """
    Return status and body of each command, in order: what its single request would get.

    They come about as if one were sent after the other.
    """
    allowed = permitted(exchange)
    groups = [
        {index: asked[index] for index in each if operation_type(asked[index]) in allowed}
        for each in tied(asked)
    ]
    in_order = {index for each in groups for index in each}
    # All others are queued before the first is awaited; only a transfer has more steps to take.
    submitted = {
        index: books.lanes.submit(order(exchange, command))
        if operation_type(command) in allowed
        else _failed(forbidden())
        for index, command in enumerate(asked)
        if index not in in_order
    }
    transfers: dict[int, asyncio.Future[TransferAnswer]] = {
        index: asyncio.ensure_future(desk.transferred(books, exchange, each))
        for index, each in submitted.items()
        if isinstance(asked[index], DebitTransfer)
    }
    if exchange.owner_id is None:
        submitted |= await _group_by_group(books, exchange, groups)
    else:
        for group in groups:
            submitted |= await _one_by_one(books, exchange, group, transfers)
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
    exchange.is_replay = are_replays([_came(each) for each in submitted.values()])
    return answered


async def _group_by_group(
    books: Books, exchange: Exchange, groups: Sequence[Mapping[int, Ask]]
) -> Mapping[int, _Settled]:
    """Carry out each group in its order, some of them side by side; return what was settled."""
    room = asyncio.Semaphore(_GROUPS_AT_ONCE)
    settled: dict[int, _Settled] = {}
    until_s = monotonic() + PATIENCE_S

    async def carried_out(group: Mapping[int, Ask]) -> None:
        async with room:
            if monotonic() < until_s:
                settled.update(await _one_after_the_other(books, exchange, group))
            else:
                busy = Busy("too many of the batch's wallets are busy")
                settled.update({index: _failed(busy) for index in group})

    await asyncio.gather(*map(carried_out, groups))
    return settled


async def _one_by_one(
    books: Books,
    exchange: Exchange,
    group: Mapping[int, Ask],
    transfers: dict[int, asyncio.Future[TransferAnswer]],
) -> Mapping[int, _Settled]:
    """
    Carry out a group as single requests: for an owner, who may name strangers' wallets.

    No lock on these is waited for, and none is held for others' commands. Adds the answers of the
    group's `transfers`.
    """
    settled: dict[int, _Settled] = {}
    for index, command in group.items():
        step: asyncio.Future[Any] = books.lanes.submit(order(exchange, command))
        settled[index] = step
        if isinstance(command, DebitTransfer):
            step = asyncio.ensure_future(desk.transferred(books, exchange, step))
            transfers[index] = step
        await asyncio.wait([step])
        if isinstance(error := step.exception(), Busy):
            # Nobody waits for one lock after the other.
            return settled | {each: _failed(error) for each in group.keys() - settled.keys()}
    return settled


async def _one_after_the_other(
    books: Books, exchange: Exchange, commands: Mapping[int, Ask]
) -> Mapping[int, _Settled]:
    """
    Carry out what a transfer ties together; return what was settled, or why it was not.

    What comes behind something of which nothing is known is not carried out either.
    """
    settled: dict[int, _Settled] = {}
    places = iter(commands)
    while part := list(islice(places, _AT_ONCE)):
        orders = [order(exchange, commands[index]) for index in part]
        try:
            applied = await carry_out_in_order(books.database, orders)
        except Exception as error:  # noqa: BLE001  # told in each result, and the log if it is ours
            settled |= {index: _failed(error) for index in (*part, *places)}
        else:
            settled |= dict(zip(part, map(_settled_as, applied), strict=True))
            books.lanes.doorbell.ring()
    return settled


def _settled_as(came: Applied) -> asyncio.Future[Settled]:
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


def _came(settled: _Settled) -> Settled | None:
    """Return what was settled, of what has been answered; None for a failure."""
    return None if settled.exception() is not None else settled.result()


def are_replays(came: Sequence[Applied | None]) -> bool:
    """Say whether a batch of which this came was nothing but a repetition."""
    return bool(came) and all(isinstance(each, Recorded) and each.is_replay for each in came)


async def foretold(
    books: Books, exchange: Exchange, rehearsal: Rehearsal, asked: Sequence[Ask]
) -> Sequence[tuple[int, bytes]]:
    """Return status and body of each command, on what was rehearsed before; nothing happens."""
    allowed = permitted(exchange)
    may_be = {index: each for index, each in enumerate(asked) if operation_type(each) in allowed}
    commands = list(may_be.values())
    came = await rehearsal.fold([order(exchange, each) for each in commands])
    flags = await verdicts(books, exchange, commands, came)
    told = dict(zip(may_be, came, strict=True))
    answered = [
        await told_of(books, exchange, command, told[index], flags)
        if index in told
        else (forbidden().status, document(exchange, command, forbidden()))
        for index, command in enumerate(asked)
    ]
    exchange.is_replay = are_replays([told.get(index) for index in range(len(asked))])
    return answered


async def told_of(
    books: Books,
    exchange: Exchange,
    command: Ask,
    came: Applied,
    flags: Mapping[str, list[FlagAnswer]] = NO_FLAGS,
) -> tuple[int, bytes]:
    """Return status and body of a command of which this came."""
    settled = _settled_as(came)
    return await _told(exchange, command, _answer(books, exchange, command, settled, flags))


async def _answer(
    books: Books,
    exchange: Exchange,
    command: Ask,
    settled: asyncio.Future[Settled],
    flags: Mapping[str, list[FlagAnswer]] = NO_FLAGS,
) -> MoneyAnswer | TransferAnswer:
    """Return what the command's single request would be answered; raises as that does."""
    if isinstance(command, DebitTransfer):
        return await desk.transferred(books, exchange, settled)
    answer = await desk.moved(exchange, settled)
    if exchange.is_rehearsal and isinstance(command, Withdraw):
        return replace(answer, flags=flags.get(answer.operation_id, []))
    return answer


def permitted(exchange: Exchange) -> frozenset[str]:
    """Return the kinds of commands that the caller might send as requests of their own."""
    return frozenset(
        kind for kind, single in _SINGLE.items() if reach(exchange.roles, single) is not None
    )


def order(exchange: Exchange, command: Ask) -> Order:
    return Order(command, exchange.trace_id, exchange.id, owner_id=exchange.owner_id)


async def _told(
    exchange: Exchange, command: Ask, answer: Awaitable[MoneyAnswer | TransferAnswer]
) -> tuple[int, bytes]:
    """Return the status and the body that the command's single request would get."""
    try:
        return CREATED, encode(await answer)
    except Exception as error:  # noqa: BLE001  # told in the result, and the log if it is ours
        problem = error if isinstance(error, Problem) else fault(error, exchange)
        return problem.status, document(exchange, command, problem)


def document(exchange: Exchange, command: Ask, problem: Problem) -> bytes:
    instance = f"/v1/wallets/{command.wallet_id}/{operation_type(command)}"
    return problem.document(instance, exchange.trace_id)
