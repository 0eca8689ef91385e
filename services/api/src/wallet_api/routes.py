"""This module is where a write comes in over HTTP: request in, command, outcome, answer out."""

from typing import Final

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec.structs import replace

from wallet_api import desk, personal, strict
from wallet_api.answers import wallet_answer
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.intake import asked, submit
from wallet_api.links import MovesMoney, OpensWallet, Transfers
from wallet_api.openapi import rehearsable
from wallet_api.problems import NO_CURRENCY, invalid, rejected
from wallet_api.schemas import (
    OWNER_ID,
    DryRun,
    MoneyAnswer,
    MoneyBody,
    OpenWalletBody,
    TransferAnswer,
    TransferBody,
    WalletAnswer,
    WalletPath,
)
from wallet_api.security import forbidden
from wallet_api.shortcut import Plain
from wallet_api.verdicts import verdicts
from wallet_common.commands import DebitTransfer, Deposit, OpenWallet, Withdraw
from wallet_common.currencies import is_currency
from wallet_common.wallet import Rejected, Wallet
from wallet_db_orm import queries
from wallet_db_orm.ids import new_id


@post(
    "/v1/wallets",
    tags=["wallets"],
    operation_class=OpensWallet,
    **rehearsable(WalletAnswer, 400, 409),
)
async def open_wallet(
    data: JSONBody[OpenWalletBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> WalletAnswer:
    """Open a wallet. The same id, owner and currency again answer with the wallet that is there."""
    owner_id = _owner_of_new(exchange, data.owner_id)
    currency = data.currency or books.settings.default_currency
    if not is_currency(currency):
        raise invalid("currency", NO_CURRENCY)
    metadata, _ = strict.metadata(data.metadata)
    command = OpenWallet(data.id or new_id(), currency, owner_id, metadata)
    exchange.wallet_id = command.wallet_id
    # Of a rehearsal too, which is refused as the real one. At most an owner gets a key early.
    command = await personal.sealed(books, command)
    came = await submit(exchange, books, command, dry_run)
    exchange.is_audited = True
    if isinstance(came, Rejected):
        raise rejected(came)
    assert isinstance(came, Wallet)
    row = await queries.wallet(books.database.fresh, came.id)
    if row is None:
        assert exchange.is_rehearsal, "it has just been opened"
        at = exchange.received_at
        return wallet_answer(came, metadata, created_at=at, updated_at=at)
    return await personal.answer(books, row)


@post(
    ["/v1/wallets/{wallet_id:str}/deposit", "/wallet/{wallet_id:str}/deposit"],
    tags=["money"],
    operation_class=MovesMoney,
    **rehearsable(MoneyAnswer, 400, 404, 422),
)
async def deposit(
    wallet_id: WalletPath,
    data: JSONBody[MoneyBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> MoneyAnswer:
    """Bring money in. The first deposit to an unknown wallet opens it (WALLET_AUTO_CREATE)."""
    money = asked(exchange, books, wallet_id, data)
    command = Deposit(**money, opens_in=books.settings.opens_in)
    return desk.moved(exchange, await submit(exchange, books, command, dry_run))


@post(
    ["/v1/wallets/{wallet_id:str}/withdraw", "/wallet/{wallet_id:str}/withdraw"],
    tags=["money"],
    operation_class=MovesMoney,
    **rehearsable(MoneyAnswer, 400, 404, 422),
)
async def withdraw(
    wallet_id: WalletPath,
    data: JSONBody[MoneyBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> MoneyAnswer:
    """Take money out, if it is there. A rehearsal tells which fraud rules it would meet."""
    command = Withdraw(**asked(exchange, books, wallet_id, data))
    came = await submit(exchange, books, command, dry_run)
    answer = desk.moved(exchange, came)
    if not exchange.is_rehearsal:
        return answer
    flags = await verdicts(books, exchange, [command], [came])
    return replace(answer, flags=flags.get(answer.operation_id, []))


@post(
    ["/v1/wallets/{wallet_id:str}/transfer", "/wallet/{wallet_id:str}/transfer"],
    tags=["money"],
    operation_class=Transfers,
    **rehearsable(TransferAnswer, 400, 404, 422),
)
async def transfer(
    wallet_id: WalletPath,
    data: JSONBody[TransferBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> TransferAnswer:
    """
    Move money to another wallet; answers when it has arrived.

    Into a wallet of another currency it takes the `quoteId` of `/v1/fx/quotes`.
    """
    money = asked(exchange, books, wallet_id, data)
    quote_id = None if data.quote_id is None else str(data.quote_id)
    command = DebitTransfer(**money, to_wallet_id=data.to_wallet_id, quote_id=quote_id)
    came = await submit(exchange, books, command, dry_run)
    return await desk.transferred(books, exchange, came)


def _owner_of_new(exchange: Exchange, named: str | None) -> str | None:
    """Return whose the new wallet will be; raises a 403 if it would not be the caller's own."""
    if exchange.owner_id is None:
        return named
    if named not in {None, exchange.owner_id} or OWNER_ID.match(exchange.owner_id) is None:
        raise forbidden("The token allows wallets of its own sub only.")
    return exchange.owner_id


HANDLERS: Final = (open_wallet, deposit, withdraw, transfer)

PLAIN: Final = {
    ("POST", "/deposit"): Plain(deposit.fn, MoneyBody),
    ("POST", "/withdraw"): Plain(withdraw.fn, MoneyBody),
    ("POST", "/transfer"): Plain(transfer.fn, TransferBody),
}
