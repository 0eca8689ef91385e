"""This module is where the system accounts are read over HTTP."""

from decimal import Context, Decimal
from typing import Annotated, Final

from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from wallet_api.books import Books
from wallet_api.openapi import query, refusals
from wallet_api.past_schemas import AccountAnswer, AccountList
from wallet_api.problems import NO_CURRENCY, Problem, invalid
from wallet_api.reads import Instant
from wallet_api.schemas import CurrencyQuery
from wallet_api.strict import instant
from wallet_common import fx
from wallet_common.currencies import EXPONENTS, is_currency
from wallet_common.money import render
from wallet_common.wallet import COUNTER_ACCOUNTS
from wallet_db_orm import accounts
from wallet_db_orm.accounts import Balance

_ACCOUNTS: Final = (*sorted(set(COUNTER_ACCOUNTS.values())), "@rounding")
_FX: Final = fx.account("")
# What all wallets have, and a residue with at most 54 decimals.
_EXACTLY: Final = Context(prec=100)

Account = Annotated[str, PathParameter(max_length=128, description="`@external`, for one.")]


@get("/v1/accounts", responses=refusals(400), tags=["accounts"], **query("currency"))
async def list_accounts(
    books: NamedDependency[Books], currency: CurrencyQuery = None
) -> AccountList:
    """
    List every system account in every currency that was used, with its signed balance.

    Per currency they and all wallets sum to zero.
    """
    _check(currency)
    found = await accounts.balances(books.database.reads, currency=currency)
    used = sorted({each for _, each in found} | ({currency} if currency else set()))
    return AccountList(
        [
            _answer(account, each, found.get((account, each), Balance()))
            for each in used
            for account in (*_ACCOUNTS, fx.account(each))
        ]
    )


@get(
    "/v1/accounts/{account:str}",
    responses=refusals(400, 404),
    tags=["accounts"],
    **query("currency", "at"),
)
async def read_account(
    account: Account,
    books: NamedDependency[Books],
    currency: CurrencyQuery = None,
    at: Instant = None,
) -> AccountAnswer:
    """
    Return a system account in one currency, now or `at` a time.

    That is the currency of an `@fx:` account; of the others, the default one if none is named.
    """
    own = account.removeprefix(_FX) if account.startswith(_FX) else None
    if account not in _ACCOUNTS and not is_currency(own or ""):
        raise Problem(404, "account_not_found", "There is no such system account.")
    _check(currency)
    if own is not None and currency not in {None, own}:
        raise invalid("currency", f"must be {own}, in which the account is kept")
    asked = currency or own or books.settings.default_currency
    found = await accounts.balances(
        books.database.reads,
        currency=asked,
        account=account,
        at=None if at is None else instant("at", at),
    )
    return _answer(account, asked, found.get((account, asked), Balance()))


def _answer(account: str, currency: str, found: Balance) -> AccountAnswer:
    balance = render(found.minor, currency)
    if found.residue:
        whole, _, rest = f"{_EXACTLY.add(Decimal(balance), found.residue):f}".partition(".")
        rest = rest.rstrip("0").ljust(EXPONENTS[currency], "0")
        balance = f"{whole}.{rest}" if rest else whole
    return AccountAnswer(account=account, currency=currency, balance=balance)


def _check(currency: str | None) -> None:
    if currency is not None and not is_currency(currency):
        raise invalid("currency", NO_CURRENCY)


HANDLERS: Final = (list_accounts, read_account)
