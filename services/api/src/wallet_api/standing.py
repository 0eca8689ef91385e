"""This module is where wallets are frozen, opened again and closed over HTTP."""

from typing import Final

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec.structs import replace

from wallet_api import personal, strict
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.intake import submit
from wallet_api.openapi import rehearsable
from wallet_api.problems import rejected
from wallet_api.schemas import DryRun, WalletAnswer, WalletPath
from wallet_api.standing_schemas import FreezeBody, StandingBody
from wallet_common.commands import CloseWallet, FreezeWallet, Stand, UnfreezeWallet
from wallet_common.wallet import Rejected, Wallet
from wallet_db_orm import queries


@post(
    "/v1/wallets/{wallet_id:str}/freeze",
    tags=["wallets"],
    **rehearsable(WalletAnswer, 400, 404, 422),
)
async def freeze_wallet(
    wallet_id: WalletPath,
    data: JSONBody[FreezeBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> WalletAnswer:
    """Let no money move in, out or both ways; refunds and reversals find their way all the same."""
    command = FreezeWallet(wallet_id=wallet_id, direction=data.direction, reason=data.reason)
    return await _stands(exchange, books, command, data.request_id, dry_run)


@post(
    "/v1/wallets/{wallet_id:str}/unfreeze",
    tags=["wallets"],
    **rehearsable(WalletAnswer, 400, 404, 422),
)
async def unfreeze_wallet(
    wallet_id: WalletPath,
    data: JSONBody[StandingBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> WalletAnswer:
    """Let money move again."""
    command = UnfreezeWallet(wallet_id=wallet_id, reason=data.reason)
    return await _stands(exchange, books, command, data.request_id, dry_run)


@post(
    "/v1/wallets/{wallet_id:str}/close",
    tags=["wallets"],
    **rehearsable(WalletAnswer, 400, 404, 422),
)
async def close_wallet(
    wallet_id: WalletPath,
    data: JSONBody[StandingBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> WalletAnswer:
    """Close an empty wallet for ever: it has no balance, no hold and no transfer on its way."""
    command = CloseWallet(wallet_id=wallet_id, reason=data.reason)
    return await _stands(exchange, books, command, data.request_id, dry_run)


async def _stands(
    exchange: Exchange, books: Books, command: Stand, key: str | None, dry_run: str | None
) -> WalletAnswer:
    # Only its form is looked at: what is asked for is so, or becomes so, whatever the key.
    strict.idempotency_key(exchange.headers, key)
    came = await submit(exchange, books, command, dry_run)
    exchange.is_audited = True
    if isinstance(came, Rejected):
        raise rejected(came)
    assert isinstance(came, Wallet)
    told = await personal.answer(books, await queries.wallet(books.database.fresh, came.id))
    if exchange.is_rehearsal:
        return replace(told, status=came.status.value, version=came.version)
    return told


HANDLERS: Final = (freeze_wallet, unfreeze_wallet, close_wallet)
