"""This module is where reads come in over HTTP: wallets, their past, operations, transfers."""

from typing import Annotated, Any, Final
from urllib.parse import unquote
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from wallet_api import cursors, personal
from wallet_api.answers import (
    operation_answer,
    transfer_view,
)
from wallet_api.books import Books
from wallet_api.desk import as_seen, stood
from wallet_api.exchange import Exchange
from wallet_api.openapi import query, refusals
from wallet_api.past_answers import entry_answer, event_answer
from wallet_api.problems import Problem, rejected
from wallet_api.schemas import (
    EntryPage,
    EventPage,
    FlagAnswer,
    OperationAnswer,
    StatsAnswer,
    TransferView,
    WalletAnswer,
    WalletPath,
)
from wallet_api.shortcut import Plain
from wallet_api.strict import StrictRequest, instant, is_key
from wallet_api.verdicts import stats_answer
from wallet_common.operations import Receipt, StandingReceipt
from wallet_common.wallet import EntryType, Rejected, RejectionReason
from wallet_db_orm import instants, queries

LIMIT_DEFAULT: Final = 50
_FLAGS_MAX: Final = 100
_VERSION_DIGITS_MAX: Final = 18

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many items at most.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=1_000, description="`nextCursor` of a page.")
]
MetadataQuery = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[^:\x00-\x1f\x7f]+:[^\x00-\x1f\x7f]+$(?!\n)",
        max_length=1_000,
        description="A declared key of personal data and its value, `email:ada@example.org`.",
    ),
]
Instant = Annotated[str | None, QueryParameter(max_length=40, description="An RFC 3339 time.")]
SinceInstant = Annotated[
    str | None, QueryParameter(name="from", max_length=40, description="From this time on.")
]
UntilInstant = Annotated[
    str | None, QueryParameter(name="to", max_length=40, description="Before this time.")
]


@get(
    ["/v1/wallets/{wallet_id:str}", "/wallet/{wallet_id:str}"],
    responses=refusals(400, 404),
    tags=["wallets"],
    **query("at"),
)
async def read_wallet(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    at: Instant = None,
) -> WalletAnswer:
    """Return the wallet as it stands, or as it stood `at` a time."""
    if at is None:
        return await personal.answer(books, theirs(exchange, await books.wallets.wallet(wallet_id)))
    when = instant("at", at)
    owner_id = exchange.owner_id
    engine, _ = await instants.caught_up(books.database, wallet_id, when, owner_id=owner_id)
    row = await instants.wallet_at(engine, wallet_id, when)
    return await personal.answer(books, theirs(exchange, row))


@get(
    ["/v1/wallets/{wallet_id:str}/history", "/wallet/{wallet_id:str}/history"],
    responses=refusals(400, 404),
    tags=["past"],
    **query("limit", "cursor", "before"),
)
async def read_history(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
    before: Instant = None,
) -> EventPage:
    """Return the wallet's events, newest first."""
    scope = f"history:{wallet_id}:{before}"
    events = await queries.history(
        books.database.reads,
        wallet_id,
        below_version=position(scope, cursor),
        before=None if before is None else instant("before", before),
        limit=limit + 1,
        owner_id=exchange.owner_id,
    )
    if not events:
        await require(books, exchange, wallet_id)
    page = events[:limit]
    following = cursors.encode(scope, str(page[-1].wallet_version)) if len(events) > limit else None
    return EventPage([event_answer(event) for event in page], following)


@get(
    "/v1/wallets/{wallet_id:str}/ledger",
    responses=refusals(400, 404),
    tags=["past"],
    **query("limit", "cursor", "from", "to", "type"),
)
async def read_ledger(  # the query's parameters
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
    since: SinceInstant = None,
    until: UntilInstant = None,
    type: FromQuery[EntryType | None] = None,  # noqa: A002  # the wire's name
) -> EntryPage:
    """Return the wallet's ledger entries, newest first."""
    scope = f"ledger:{wallet_id}:{since}:{until}:{type}"
    rows = await queries.entries(
        books.database.reads,
        wallet_id,
        below_version=position(scope, cursor),
        since=None if since is None else instant("from", since),
        until=None if until is None else instant("to", until),
        entry_type=type,
        limit=limit + 1,
        owner_id=exchange.owner_id,
    )
    if not rows:
        await require(books, exchange, wallet_id)
    page = rows[:limit]
    following = cursors.encode(scope, str(page[-1].wallet_version)) if len(rows) > limit else None
    return EntryPage([entry_answer(row) for row in page], following)


@get(
    ["/v1/wallets/{wallet_id:str}/stats", "/wallet/{wallet_id:str}/stats"],
    responses=refusals(400, 404),
    tags=["past"],
)
async def read_stats(
    wallet_id: WalletPath, exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> StatsAnswer:
    """Return what the worker keeps of the wallet: totals, last activity, fraud flags."""
    reads = books.database.reads
    row = _there(await queries.stats(reads, wallet_id, owner_id=exchange.owner_id))
    flags = await queries.flags(books.database.reads, wallet_id, limit=_FLAGS_MAX)
    return stats_answer(row, [msgspec.json.decode(flag.verdict, type=FlagAnswer) for flag in flags])


@get(
    "/v1/wallets/{wallet_id:str}/operations/{request_id:path}",
    responses=refusals(400, 404),
    tags=["past"],
)
async def read_operation(
    wallet_id: WalletPath,
    request_id: FromPath[str],
    request: StrictRequest,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> OperationAnswer:
    """Return what came of a key: "did my payment happen?"."""
    # A key may hold slashes, which only the path as it was sent keeps apart from the others.
    del request_id
    raw_path: bytes = request.scope["raw_path"]
    key = unquote(raw_path.decode("latin-1").partition("/operations/")[2])
    operation, owner_id = None, exchange.owner_id
    if is_key(key):
        operation = await queries.operation(books.database.fresh, wallet_id, key, owner_id=owner_id)
    if operation is None:
        raise Problem(404, "operation_not_found", "Nothing is recorded under this key.")
    transfer = None
    if "toWalletId" in operation.meaning and isinstance(operation.outcome, Receipt):
        found = await queries.transfer(books.database.fresh, operation.operation_id)
        transfer = None if found is None else await as_seen(books, exchange, found[0].transfer)
    stands = isinstance(operation.outcome, StandingReceipt)
    wallet = await stood(books, operation) if stands else None
    return operation_answer(operation, transfer, wallet)


@get("/v1/transfers/{transfer_id:uuid}", responses=refusals(400, 404), tags=["past"])
async def read_transfer(
    transfer_id: FromPath[UUID], exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> TransferView:
    """Return the transfer's state and every step with its time; to a user, if it is the sender."""
    found = await queries.transfer(
        books.database.fresh, str(transfer_id), owner_id=exchange.owner_id
    )
    if found is None:
        raise Problem(404, "transfer_not_found", "There is no such transfer.")
    stored, row = found
    return transfer_view(await as_seen(books, exchange, stored.transfer), row)


def theirs(exchange: Exchange, row: Any) -> Any:  # noqa: ANN401  # a row of a wallet, or None
    """Return the row; raises the 404 of an unknown wallet also for one the caller has none of."""
    is_hidden = row is not None and exchange.owner_id not in {None, row.owner_id}
    return _there(None if is_hidden else row)


def _there(row: Any) -> Any:  # noqa: ANN401  # a row or None
    if row is None:
        raise rejected(Rejected(RejectionReason.WALLET_NOT_FOUND))
    return row


async def require(books: Books, exchange: Exchange, wallet_id: str) -> None:
    """Raise the 404 of an unknown wallet, also for one the caller has none of."""
    theirs(exchange, await books.wallets.wallet(wallet_id))


def position(scope: str, cursor: str | None) -> int | None:
    """Return the version that the cursor names; anybody can make one, so it is checked again."""
    if cursor is None:
        return None
    position = cursors.decode(scope, cursor)
    if not (position.isascii() and position.isdecimal() and len(position) <= _VERSION_DIGITS_MAX):
        raise cursors.foreign()
    return int(position)


HANDLERS: Final = (
    *(read_wallet, read_history, read_ledger, read_stats),
    *(read_operation, read_transfer),
)

PLAIN: Final = {("GET", ""): Plain(read_wallet.fn)}
