"""This module is where an administrator deals with dead letters over HTTP, as `wallet dlq` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.letter_schemas import DiscardBody, ReplayBody
from wallet_api.openapi import refusals
from wallet_api.problems import Problem, invalid
from wallet_api.strict import StrictRequest
from wallet_letters import acts
from wallet_letters.acts import Pace
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import (
    Bounds,
    Letter,
    LetterBox,
    LettersAway,
    NoSuchLetter,
    called,
    is_words,
    of_group,
)
from wallet_letters.table import TableBox
from wallet_letters.views import LetterList, ShownLetter, listed, shown

# What one request takes into the process's memory, and how many letters it lists.
_BOUNDS: Final = Bounds(letters=20_000, size=32 * 1024 * 1024)
_ITEMS_MAX: Final = 1_000
# How long a request waits for another operator, and puts letters back before it answers.
_PATIENCE_S: Final = 3.0
_REPLAY_S_MAX: Final = 10.0
_UNGUARDED: Final = "unknown (auth is off)"

LetterPath = Annotated[
    str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:~-]{0,159}$(?!\n)", max_length=160)
]


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a request may say that has nothing to say."""


class RefusedLetter(msgspec.Struct):
    id: str
    reason: str


class ReplayAnswer(msgspec.Struct):
    """How many letters are back in their queues, which could not be, and how many still wait."""

    replayed: int
    refused: list[RefusedLetter]
    remaining: int


class DiscardAnswer(msgspec.Struct):
    id: str
    discarded: bool


@get("/v1/admin/dead-letters", responses=refusals(400), tags=["admin"])
async def list_letters(books: NamedDependency[Books]) -> LetterList:
    """
    List the dead letters, oldest first, and the groups that died of the same.

    The oldest 1 000 are listed; `groups` counts those too that are not, and `beyond` says how many
    these are.
    """
    async with _letters(books) as box, box.opened() as held:
        return listed(held, _ITEMS_MAX)


@get("/v1/admin/dead-letters/{letter_id:str}", responses=refusals(400, 404), tags=["admin"])
async def show_letter(letter_id: LetterPath, books: NamedDependency[Books]) -> ShownLetter:
    """Return a letter whole, its wallet, and what a replay would make of the projection."""
    async with _letters(books) as box:
        letter = called(await acts.look(box), letter_id)
    settings = books.settings
    return await shown(books.database, letter, settings.topology.queue, settings.fraud_rules)


@post(
    "/v1/admin/dead-letters/{letter_id:str}/replay",
    responses=refusals(400, 404, 422),
    tags=["admin"],
)
async def replay_letter(
    letter_id: LetterPath,
    request: StrictRequest,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> ReplayAnswer:
    """Put the letter back into the queue where it came from; it takes no body."""
    await request.json_if_any(NoBody)
    answer = await _replay(books, exchange, lambda letters: [called(letters, letter_id)], Pace())
    if answer.refused:
        raise Problem(
            422, "letter_not_replayable", f"The letter stays: {answer.refused[0].reason}."
        )
    return answer


@post(
    "/v1/admin/dead-letters/replay",
    responses=refusals(400, 404, 408, 413, 415),
    tags=["admin"],
)
async def replay_letters(
    data: JSONBody[ReplayBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> ReplayAnswer:
    """
    Put letters back into the queues where they came from, oldest first, for ten seconds at most.

    What still waits then is `remaining`: ask again for those.
    """
    if data.all == (data.group is not None):
        raise invalid("all", 'give either "all": true or a "group"')

    def choose(letters: Sequence[Letter]) -> Sequence[Letter]:
        return letters if data.group is None else of_group(letters, data.group)

    pace = Pace(per_second=data.rate, seconds_max=_REPLAY_S_MAX)
    return await _replay(books, exchange, choose, pace)


@post(
    "/v1/admin/dead-letters/{letter_id:str}/discard",
    responses=refusals(400, 404, 408, 413, 415),
    tags=["admin"],
)
async def discard_letter(
    letter_id: LetterPath,
    data: JSONBody[DiscardBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> DiscardAnswer:
    """Throw the letter away; the archive keeps it whole, with the reason."""
    if not is_words(data.reason):
        raise invalid("reason", "must be a few words on one line, without control characters")
    who = exchange.principal or _UNGUARDED
    async with _letters(books) as box:
        letter = await acts.discard(box, books.database, who, letter_id, data.reason)
    return DiscardAnswer(letter.id, discarded=True)


async def _replay(
    books: Books, exchange: Exchange, choose: acts.Choose, pace: Pace
) -> ReplayAnswer:
    who = exchange.principal or _UNGUARDED
    async with _letters(books) as box:
        replayed = await acts.replay(box, books.database, who, choose, pace)
    refused = [RefusedLetter(name, reason) for name, reason in replayed.refused.items()]
    return ReplayAnswer(replayed.done, refused, replayed.remaining)


@asynccontextmanager
async def _letters(books: Books) -> AsyncIterator[LetterBox]:
    """Yield the box; what the block meets becomes a 404 or a 503."""
    url = books.settings.rabbitmq_url
    box: LetterBox = TableBox(books.database, _BOUNDS, patience_s=_PATIENCE_S)
    if url is not None:
        topology = books.settings.topology
        box = BrokerBox(url.get_secret_value(), topology, _BOUNDS, patience_s=_PATIENCE_S)
    try:
        yield box
    except NoSuchLetter as unknown:
        raise Problem(404, "letter_not_found", f"There is no such letter: {unknown}.") from unknown
    except LettersAway as away:
        detail = f"The letters are not at hand: {away}."
        raise Problem(503, "letters_unavailable", detail, headers={"Retry-After": "2"}) from away


HANDLERS: Final = (list_letters, show_letter, replay_letter, replay_letters, discard_letter)
