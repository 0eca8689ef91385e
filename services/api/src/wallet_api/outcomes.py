"""This module is where the commands of a batch come about, each as its single request would."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from time import monotonic
from typing import Final, TypeAlias

from msgspec.json import encode
from msgspec.structs import replace

from wallet_api import desk
from wallet_api.access import reach, rule
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.problems import Problem, busy, fault
from wallet_api.schemas import FlagAnswer, MoneyAnswer, TransferAnswer
from wallet_api.security import forbidden
from wallet_api.ties import tied
from wallet_api.verdicts import verdicts
from wallet_common.commands import Ask, DebitTransfer, Withdraw
from wallet_common.meanings import operation_type
from wallet_db_orm.orders import Applied, Order, Recorded
from wallet_db_orm.whole import PATIENCE_S, Rehearsal, carry_out_in_order

CREATED: Final = 201
BUSY: Final = 503
NO_FLAGS: Final[Mapping[str, list[FlagAnswer]]] = {}
_SINGLE: Final = {
    verb: rule("POST", f"/v1/wallets/{{wallet_id}}/{verb}")
    for verb in ("deposit", "withdraw", "transfer")
}
# What came of a command, or why nothing did or is known of it.
_Came: TypeAlias = Applied | Problem
# Status and body of a command that takes more steps than one.
_Told: TypeAlias = asyncio.Future[tuple[int, bytes]]
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
    came: dict[int, _Came] = {}
    # All others are queued before the first is awaited; only a transfer has more steps to take.
    submitted: dict[int, asyncio.Future[Applied]] = {}
    latest: dict[str, asyncio.Future[Applied]] = {}
    for index, command in enumerate(asked):
        if operation_type(command) not in allowed:
            came[index] = forbidden()
        elif index not in in_order:
            behind = latest.get(command.wallet_id)
            submitted[index] = books.lanes.submit(order(exchange, command), behind=behind)
            latest[command.wallet_id] = submitted[index]
    told: dict[int, _Told] = {
        index: asyncio.ensure_future(_ended(books, exchange, index, asked[index], each, came))
        for index, each in submitted.items()
        if isinstance(asked[index], DebitTransfer)
    }
    if exchange.owner_id is None:
        came |= await _group_by_group(books, exchange, groups)
    else:
        for group in groups:
            await _one_by_one(books, exchange, group, came, told)
    for index, each in submitted.items():
        if index not in told:
            came[index] = await _came_of(exchange, each)
    answered = [
        await asyncio.shield(told[index])
        if index in told
        else await told_of(books, exchange, command, came[index])
        for index, command in enumerate(asked)
    ]
    # What the commands have noted there is true of each, not of the batch.
    exchange.is_audited = True
    exchange.is_replay = are_replays(came.values(), answered)
    return answered


async def _group_by_group(
    books: Books, exchange: Exchange, groups: Sequence[Mapping[int, Ask]]
) -> Mapping[int, _Came]:
    """Carry out each group in its order, some of them side by side."""
    room = asyncio.Semaphore(_GROUPS_AT_ONCE)
    came: dict[int, _Came] = {}
    until_s = monotonic() + PATIENCE_S

    async def carried_out(group: Mapping[int, Ask]) -> None:
        async with room:
            if monotonic() < until_s:
                came.update(await _one_after_the_other(books, exchange, group))
            else:
                came.update(dict.fromkeys(group, busy()))

    await asyncio.gather(*map(carried_out, groups))
    return came


async def _one_by_one(
    books: Books,
    exchange: Exchange,
    group: Mapping[int, Ask],
    came: dict[int, _Came],
    told: dict[int, _Told],
) -> None:
    """
    Carry out a group as single requests: for an owner, who may name strangers' wallets.

    No lock on these is waited for, and none is held for others' commands. Notes what `came` of each
    and what it is `told`.
    """
    places = iter(group)
    for index in places:
        submitted = books.lanes.submit(order(exchange, group[index]))
        ending = _ended(books, exchange, index, group[index], submitted, came)
        told[index] = asyncio.ensure_future(ending)
        status, _ = await asyncio.shield(told[index])
        if status == BUSY:
            # Nobody waits for one lock after the other.
            came |= dict.fromkeys(places, busy())


async def _one_after_the_other(
    books: Books, exchange: Exchange, commands: Mapping[int, Ask]
) -> Mapping[int, _Came]:
    """
    Carry out what a transfer ties together.

    What comes behind something of which nothing is known is not carried out either.
    """
    came: dict[int, _Came] = {}
    places = iter(commands)
    while part := list(islice(places, _AT_ONCE)):
        orders = [order(exchange, commands[index]) for index in part]
        try:
            applied = await carry_out_in_order(books.database, orders)
        except Exception as error:  # noqa: BLE001  # told in each result, and the log if it is ours
            return came | dict.fromkeys((*part, *places), fault(error, exchange))
        came |= dict(zip(part, applied, strict=True))
        books.lanes.doorbell.ring()
    return came


async def _ended(
    books: Books,
    exchange: Exchange,
    index: int,
    command: Ask,
    submitted: asyncio.Future[Applied],
    came: dict[int, _Came],
) -> tuple[int, bytes]:
    """
    Take a submitted command to its end; return its status and body.

    Notes at its `index` what `came` of its first step.
    """
    came[index] = await _came_of(exchange, submitted)
    return await told_of(books, exchange, command, came[index])


async def _came_of(exchange: Exchange, submitted: asyncio.Future[Applied]) -> _Came:
    try:
        # Whoever leaves does not take one command out of the middle.
        return await asyncio.shield(submitted)
    except Exception as error:  # noqa: BLE001  # told in the result, and the log if it is ours
        return _problem(exchange, error)


def are_replays(came: Collection[_Came | None], told: Collection[tuple[int, bytes]]) -> bool:
    """Say whether a batch of which this came, and was told, was nothing but a repetition."""
    is_told = bool(came) and all(status != BUSY for status, _ in told)
    return is_told and all(isinstance(each, Recorded) and each.is_replay for each in came)


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
        await told_of(books, exchange, command, told.get(index, forbidden()), flags)
        for index, command in enumerate(asked)
    ]
    exchange.is_replay = are_replays([told.get(index) for index in range(len(asked))], answered)
    return answered


async def told_of(
    books: Books,
    exchange: Exchange,
    command: Ask,
    came: _Came,
    flags: Mapping[str, list[FlagAnswer]] = NO_FLAGS,
) -> tuple[int, bytes]:
    """Return status and body of a command of which this came: what its single request would get."""
    if isinstance(came, Problem):
        return _told(exchange, command, came)
    try:
        if isinstance(command, DebitTransfer):
            return _told(exchange, command, await desk.transferred(books, exchange, came))
        answer = desk.moved(exchange, came)
    except Exception as error:  # noqa: BLE001  # told in the result, and the log if it is ours
        return _told(exchange, command, _problem(exchange, error))
    if exchange.is_rehearsal and isinstance(command, Withdraw):
        answer = replace(answer, flags=flags.get(answer.operation_id, []))
    return _told(exchange, command, answer)


def permitted(exchange: Exchange) -> frozenset[str]:
    """Return the kinds of commands that the caller might send as requests of their own."""
    return frozenset(
        kind for kind, single in _SINGLE.items() if reach(exchange.roles, single) is not None
    )


def order(exchange: Exchange, command: Ask) -> Order:
    return Order(command, exchange.trace_id, exchange.id, owner_id=exchange.owner_id)


def _problem(exchange: Exchange, error: Exception) -> Problem:
    return error if isinstance(error, Problem) else fault(error, exchange)


def _told(
    exchange: Exchange, command: Ask, answer: MoneyAnswer | TransferAnswer | Problem
) -> tuple[int, bytes]:
    if isinstance(answer, Problem):
        return answer.status, document(exchange, command, answer)
    return CREATED, encode(answer)


def document(exchange: Exchange, command: Ask, problem: Problem) -> bytes:
    instance = f"/v1/wallets/{command.wallet_id}/{operation_type(command)}"
    return problem.document(instance, exchange.trace_id)
