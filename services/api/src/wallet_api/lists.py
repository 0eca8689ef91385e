"""This module is where wallets are listed over HTTP: all that the caller may read, or its own."""

from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from wallet_api import cursors, personal
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import query, refusals
from wallet_api.reads import LIMIT_DEFAULT, Cursor, Limit, MetadataQuery
from wallet_api.schemas import WALLET_ID, CurrencyQuery, OwnerQuery, WalletPage
from wallet_common.wallet import WalletStatus
from wallet_db_orm import queries


@get(
    "/v1/wallets",
    responses=refusals(400),
    tags=["wallets"],
    **query("ownerId", "currency", "status", "metadata", "limit", "cursor"),
)
async def list_wallets(
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    ownerId: OwnerQuery = None,  # noqa: N803  # the wire's name
    currency: CurrencyQuery = None,
    status: FromQuery[WalletStatus | None] = None,
    metadata: MetadataQuery = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> WalletPage:
    """
    List wallets in the order of their ids; a user's list holds its own alone.

    `metadata`, a declared key of personal data and a value, finds those that have just that value.
    """
    wanted = None if metadata is None else personal.digests(books, metadata)
    scope = f"wallets:{exchange.owner_id!r}:{ownerId!r}:{currency}:{status}:{wanted}"
    after = "" if cursor is None else _wallet_position(scope, cursor)
    if exchange.owner_id is not None and ownerId not in {None, exchange.owner_id}:
        return WalletPage([], None)
    rows = await queries.wallets(
        books.database.reads,
        owner_id=ownerId if exchange.owner_id is None else exchange.owner_id,
        currency=currency,
        status=status,
        wanted=wanted,
        after=after,
        limit=limit + 1,
    )
    return await _wallet_page(books, scope, rows, limit)


@get(
    ["/v1/me/wallets", "/api/v1/wallet/user"],
    responses=refusals(400),
    tags=["wallets"],
    **query("limit", "cursor"),
)
async def list_my_wallets(
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> WalletPage:
    """List the caller's wallets: those whose owner is the token's subject, whatever its roles."""
    assert exchange.owner_id is not None, "the rule of this route is for oneself"
    scope = f"my wallets:{exchange.owner_id!r}"
    rows = await queries.wallets(
        books.database.reads,
        owner_id=exchange.owner_id,
        currency=None,
        status=None,
        wanted=None,
        after="" if cursor is None else _wallet_position(scope, cursor),
        limit=limit + 1,
    )
    return await _wallet_page(books, scope, rows, limit)


async def _wallet_page(books: Books, scope: str, rows: queries.Rows, limit: int) -> WalletPage:
    page = rows[:limit]
    following = cursors.encode(scope, page[-1].id) if len(rows) > limit else None
    return WalletPage(await personal.answers(books, page), following)


def _wallet_position(scope: str, cursor: str) -> str:
    position = cursors.decode(scope, cursor)
    if WALLET_ID.match(position) is None:
        raise cursors.foreign()
    return position


HANDLERS: Final = (list_wallets, list_my_wallets)
