"""This module is where holds come in over HTTP: placed, captured, released, read."""

from typing import Any, Final
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Raw, UnsetType

from wallet_api import cursors, desk, strict
from wallet_api.answers import hold_answer
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.hold_schemas import CaptureBody, HoldAnswer, HoldBody, HoldPage, ReleaseBody
from wallet_api.intake import asked, key, submit
from wallet_api.links import OfHold
from wallet_api.openapi import query, refusals, rehearsable
from wallet_api.problems import rejected
from wallet_api.reads import LIMIT_DEFAULT, Cursor, Limit, require
from wallet_api.schemas import DryRun, WalletPath
from wallet_common.commands import CaptureHold, PlaceHold, ReleaseHold
from wallet_common.holds import HoldStatus
from wallet_common.money import Amount
from wallet_common.wallet import Rejected, RejectionReason
from wallet_db_orm import holds
from wallet_db_orm.ids import new_id
from wallet_db_orm.rows import StoredHold, stored_hold_of


@post(
    "/v1/wallets/{wallet_id:str}/holds",
    tags=["holds"],
    operation_class=OfHold,
    **rehearsable(HoldAnswer, 400, 404, 422),
)
async def place_hold(
    wallet_id: WalletPath,
    data: JSONBody[HoldBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> HoldAnswer:
    """Bind available money: it stays in the balance until it is captured, released or expires."""
    expires_at = None if data.expires_at is None else strict.instant("expiresAt", data.expires_at)
    command = PlaceHold(**asked(exchange, books, wallet_id, data), expires_at=expires_at)
    came = await submit(exchange, books, command, dry_run)
    return await desk.hold_changed(books, exchange, came)


@post(
    "/v1/holds/{hold_id:uuid}/capture",
    tags=["holds"],
    operation_class=OfHold,
    **rehearsable(HoldAnswer, 400, 404, 422),
)
async def capture_hold(
    hold_id: FromPath[UUID],
    data: JSONBody[CaptureBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> HoldAnswer:
    """Take held money, all or a part, any number of times: out, or to another wallet."""
    stored, request_id = await _named(exchange, books, hold_id, data.request_id)
    command = CaptureHold(
        wallet_id=stored.hold.wallet_id,
        request_id=request_id,
        operation_id=new_id(),
        hold_id=stored.hold.id,
        amount=_amount(data.amount),
        to_wallet_id=data.to_wallet_id,
        reference=stored.reference,
        metadata=stored.metadata,
    )
    came = await submit(exchange, books, command, dry_run)
    return await desk.hold_changed(books, exchange, came)


@post(
    "/v1/holds/{hold_id:uuid}/release",
    tags=["holds"],
    operation_class=OfHold,
    **rehearsable(HoldAnswer, 400, 404, 422),
)
async def release_hold(
    hold_id: FromPath[UUID],
    data: JSONBody[ReleaseBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> HoldAnswer:
    """Make held money available again, all or a part; also where nothing else may move."""
    stored, request_id = await _named(exchange, books, hold_id, data.request_id)
    command = ReleaseHold(
        wallet_id=stored.hold.wallet_id,
        request_id=request_id,
        operation_id=new_id(),
        hold_id=stored.hold.id,
        amount=_amount(data.amount),
    )
    came = await submit(exchange, books, command, dry_run)
    return await desk.hold_changed(books, exchange, came)


@get("/v1/holds/{hold_id:uuid}", responses=refusals(400, 404), tags=["holds"])
async def read_hold(
    hold_id: FromPath[UUID], exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> HoldAnswer:
    """Return the hold as it is now: one whose time is over is expired, noted or not."""
    return _seen(await _row(exchange, books, hold_id))


@get(
    "/v1/wallets/{wallet_id:str}/holds",
    responses=refusals(400, 404),
    tags=["holds"],
    **query("status", "limit", "cursor"),
)
async def list_holds(
    wallet_id: WalletPath,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    status: FromQuery[HoldStatus | None] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> HoldPage:
    """List the wallet's holds, newest first."""
    scope = f"holds:{wallet_id}:{status}"
    rows = await holds.of_wallet(
        books.database.fresh,
        wallet_id,
        status=status,
        below=None if cursor is None else _position(scope, cursor),
        limit=limit + 1,
        owner_id=exchange.owner_id,
    )
    if not rows:
        await require(books, exchange, wallet_id)
    page = rows[:limit]
    following = cursors.encode(scope, str(page[-1].id)) if len(rows) > limit else None
    return HoldPage([_seen(row) for row in page], following)


async def _named(
    exchange: Exchange, books: Books, hold_id: UUID, in_body: str | None
) -> tuple[StoredHold, str]:
    """Return the hold and the key of a request about it, which belongs to the hold's wallet."""
    request_id = key(exchange, in_body)
    stored = stored_hold_of(await _row(exchange, books, hold_id))
    exchange.wallet_id = stored.hold.wallet_id
    return stored, request_id


async def _row(exchange: Exchange, books: Books, hold_id: UUID) -> Any:  # noqa: ANN401  # of holds.hold
    """Return the hold's row; raises the 404 of an unknown one also for a stranger's."""
    row = await holds.hold(books.database.fresh, str(hold_id))
    if row is None or exchange.owner_id not in {None, row.owner_id}:
        raise rejected(Rejected(RejectionReason.HOLD_NOT_FOUND))
    return row


def _amount(given: Raw | UnsetType) -> Amount | None:
    return None if isinstance(given, UnsetType) else strict.amount(given)


def _seen(row: Any) -> HoldAnswer:  # noqa: ANN401  # of holds.hold
    stored = stored_hold_of(row)
    return hold_answer(
        stored.hold.seen_at(row.now),
        stored.request_id,
        stored.hold.id,
        row.balance_minor,
        row.held_minor,
    )


def _position(scope: str, cursor: str) -> str:
    """Return the id that the cursor names; anybody can make one, so it is checked again."""
    try:
        return str(UUID(cursors.decode(scope, cursor)))
    except ValueError as wrong:
        raise cursors.foreign() from wrong


HANDLERS: Final = (place_hold, capture_hold, release_hold, read_hold, list_holds)
