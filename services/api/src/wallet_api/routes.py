"""This module is where a write comes in over HTTP: request in, command, outcome, answer out."""

from typing import Any, Final

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from wallet_api import desk, strict
from wallet_api.answers import wallet_answer
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import refusals
from wallet_api.problems import invalid, rejected, status_of
from wallet_api.schemas import (
    MoneyAnswer,
    MoneyBody,
    OpenWalletBody,
    TransferAnswer,
    TransferBody,
    WalletAnswer,
    WalletPath,
)
from wallet_api.shortcut import Plain
from wallet_common.commands import Ask, DebitTransfer, Deposit, OpenWallet, Withdraw
from wallet_common.money import is_currency
from wallet_common.wallet import Rejected, Wallet
from wallet_db_orm import queries
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Audited, Order


@post("/v1/wallets", responses=refusals(400, 409), tags=["wallets"])
async def open_wallet(
    data: JSONBody[OpenWalletBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> WalletAnswer:
    """Open a wallet. The same id, owner and currency again answer with the wallet that is there."""
    currency = data.currency or books.settings.default_currency
    if not is_currency(currency):
        raise invalid("currency", "must be an ISO 4217 code with a minor unit")
    metadata, _ = strict.metadata(data.metadata)
    command = OpenWallet(data.id or new_id(), currency, data.owner_id, metadata)
    exchange.wallet_id = command.wallet_id
    settled = await books.lanes.submit(_order(exchange, command))
    exchange.is_audited = True
    if isinstance(settled, Rejected):
        raise rejected(settled)
    assert isinstance(settled, Wallet)
    row = await queries.wallet(books.database.fresh, settled.id)
    return wallet_answer(row)


@post(
    ["/v1/wallets/{wallet_id:str}/deposit", "/wallet/{wallet_id:str}/deposit"],
    responses=refusals(400, 404, 422),
    tags=["money"],
)
async def deposit(
    wallet_id: WalletPath,
    data: JSONBody[MoneyBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> MoneyAnswer:
    """Bring money in. The first deposit to an unknown wallet opens it (WALLET_AUTO_CREATE)."""
    command = Deposit(**_asked(exchange, wallet_id, data), opens_in=books.settings.opens_in)
    return await desk.moved(exchange, books.lanes.submit(_order(exchange, command)))


@post(
    ["/v1/wallets/{wallet_id:str}/withdraw", "/wallet/{wallet_id:str}/withdraw"],
    responses=refusals(400, 404, 422),
    tags=["money"],
)
async def withdraw(
    wallet_id: WalletPath,
    data: JSONBody[MoneyBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> MoneyAnswer:
    """Take money out, if it is there."""
    command = Withdraw(**_asked(exchange, wallet_id, data))
    return await desk.moved(exchange, books.lanes.submit(_order(exchange, command)))


@post(
    ["/v1/wallets/{wallet_id:str}/transfer", "/wallet/{wallet_id:str}/transfer"],
    responses=refusals(400, 404, 422),
    tags=["money"],
)
async def transfer(
    wallet_id: WalletPath,
    data: JSONBody[TransferBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> TransferAnswer:
    """Move money to another wallet of the same currency; answers when it has arrived."""
    asked = _asked(exchange, wallet_id, data)
    command = DebitTransfer(**asked, to_wallet_id=data.to_wallet_id)
    submitted = books.lanes.submit(_order(exchange, command))
    return await desk.transferred(books, exchange, submitted)


def _asked(exchange: Exchange, wallet_id: str, data: MoneyBody) -> dict[str, Any]:
    """Return what the command has; its key comes from body, header or here."""
    request_id = strict.idempotency_key(exchange.headers, data.request_id) or new_id()
    exchange.request_id = request_id
    return desk.asked(wallet_id, request_id, data)


def _order(exchange: Exchange, command: Ask | OpenWallet) -> Order:
    audit = Audited(exchange.audit_record(), status_of)
    return Order(command, exchange.trace_id, exchange.id, audit)


HANDLERS: Final = (open_wallet, deposit, withdraw, transfer)

PLAIN: Final = {
    ("POST", "/deposit"): Plain(deposit.fn, MoneyBody),
    ("POST", "/withdraw"): Plain(withdraw.fn, MoneyBody),
    ("POST", "/transfer"): Plain(transfer.fn, TransferBody),
}
