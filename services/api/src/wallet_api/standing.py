"""This module is where wallets are frozen, opened again and closed over HTTP."""

from typing import Final

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from wallet_api import desk
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.intake import key, submit
from wallet_api.openapi import rehearsable
from wallet_api.schemas import DryRun, WalletPath
from wallet_api.standing_schemas import FreezeBody, StandingAnswer, StandingBody
from wallet_common.commands import CloseWallet, FreezeWallet, UnfreezeWallet
from wallet_db_orm.ids import new_id


@post(
    "/v1/wallets/{wallet_id:str}/freeze",
    tags=["wallets"],
    **rehearsable(StandingAnswer, 400, 404, 422),
)
async def freeze_wallet(
    wallet_id: WalletPath,
    data: JSONBody[FreezeBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> StandingAnswer:
    """Let no money move in, out or both ways; refunds and reversals find their way all the same."""
    command = FreezeWallet(
        wallet_id=wallet_id,
        request_id=key(exchange, data.request_id),
        operation_id=new_id(),
        direction=data.direction,
        reason=data.reason,
    )
    return await desk.stands(books, exchange, await submit(exchange, books, command, dry_run))


@post(
    "/v1/wallets/{wallet_id:str}/unfreeze",
    tags=["wallets"],
    **rehearsable(StandingAnswer, 400, 404, 422),
)
async def unfreeze_wallet(
    wallet_id: WalletPath,
    data: JSONBody[StandingBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> StandingAnswer:
    """Let money move again."""
    command = UnfreezeWallet(
        wallet_id=wallet_id,
        request_id=key(exchange, data.request_id),
        operation_id=new_id(),
        reason=data.reason,
    )
    return await desk.stands(books, exchange, await submit(exchange, books, command, dry_run))


@post(
    "/v1/wallets/{wallet_id:str}/close",
    tags=["wallets"],
    **rehearsable(StandingAnswer, 400, 404, 422),
)
async def close_wallet(
    wallet_id: WalletPath,
    data: JSONBody[StandingBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> StandingAnswer:
    """Close an empty wallet for ever: it has no balance, no hold and no transfer on its way."""
    command = CloseWallet(
        wallet_id=wallet_id,
        request_id=key(exchange, data.request_id),
        operation_id=new_id(),
        reason=data.reason,
    )
    return await desk.stands(books, exchange, await submit(exchange, books, command, dry_run))


HANDLERS: Final = (freeze_wallet, unfreeze_wallet, close_wallet)
