"""This module is where events are read over HTTP: the feed of all, and a wallet's as they come."""

import re
from typing import Annotated, Any, Final

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, QueryParameter

from wallet_api import cursors
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import query, refusals
from wallet_api.past_answers import feed_item
from wallet_api.problems import invalid
from wallet_api.reads import theirs
from wallet_api.schemas import FeedPage, WalletPath, WalletQuery
from wallet_api.streams import EventStream
from wallet_common.facts import EventType
from wallet_db_orm import feed, queries

# What the cursors of the feed are for.
POSITIONS: Final = "events"
_NUMBER: Final = re.compile(r"\A(0|[1-9][0-9]{0,17})\Z")

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many items at most.")]
Place = Annotated[
    str | None,
    QueryParameter(max_length=1_000, description="A `position`, or the `next` of a page."),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", max_length=100, description="The last `walletVersion` that was seen."
    ),
]
AfterVersion = Annotated[
    str | None,
    QueryParameter(name="after", max_length=100, description="The same, for a first connection."),
]


@get(
    "/v1/events",
    responses=refusals(400),
    tags=["events"],
    **query("after", "walletId", "type", "limit"),
)
async def read_events(
    books: NamedDependency[Books],
    after: Place = None,
    wallet_id: WalletQuery = None,
    type: FromQuery[EventType | None] = None,  # noqa: A002  # the wire's name
    limit: Limit = 50,
) -> FeedPage:
    """
    Return events in the order in which they left, from the beginning or behind `after`.

    `next` is where to go on, also when there is nothing yet; with `type`, a page may have few items
    or none although more come later.
    """
    found = await feed.page(
        books.database.reads,
        after=0 if after is None else _position(after),
        wallet_id=wallet_id,
        event_type=type,
        limit=limit,
    )
    items = [feed_item(each.event, _told(each.position)) for each in found.items]
    return FeedPage(items, _told(found.position))


@get(
    "/v1/wallets/{wallet_id:str}/events/stream",
    responses={
        **refusals(400, 404),
        200: ResponseSpec(
            str,
            media_type="text/event-stream",
            generate_examples=False,
            description="`id` is the walletVersion, `event` the type, `data` the envelope",
        ),
    },
    tags=["events"],
    **query("after"),
)
async def stream_events(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    last_event_id: LastEventId = None,
    after: AfterVersion = None,
) -> EventStream:
    """
    Send the wallet's events as they are committed (Server-Sent Events), from now on.

    With `Last-Event-ID`, or else `after`, from the one behind it. The stream ends when the process
    stops, with the token, after an hour, or if its client does not keep up: connect again to
    resume.
    """
    wallet = theirs(exchange, await queries.wallet(books.database.fresh, wallet_id))
    until = exchange.expires_at
    if last_event_id is not None:
        # A client that connects again still has the address it began with.
        version = _version("Last-Event-ID", last_event_id, wallet.version)
    elif after is not None:
        version = _version("after", after, wallet.version)
    else:
        # Told at once, so that a client that is cut off before the first event knows where it was.
        first = b"id: %d\n\n" % wallet.version
        return EventStream(books.streams, wallet_id, wallet.version, first, until)
    return EventStream(books.streams, wallet_id, version, b":\n\n", until)


def _told(position: int) -> str:
    return cursors.encode(POSITIONS, str(position))


def _position(after: str) -> int:
    """Return the place; anybody can make one, so it is checked again."""
    place = cursors.decode(POSITIONS, after, name="after")
    if _NUMBER.match(place) is None:
        raise cursors.foreign("after")
    return int(place)


def _version(name: str, text: str, newest: int) -> int:
    if _NUMBER.match(text) is None or int(text) > newest:
        raise invalid(name, "must be a walletVersion that this wallet has reached")
    return int(text)


HANDLERS: Final[tuple[Any, ...]] = (read_events, stream_events)
