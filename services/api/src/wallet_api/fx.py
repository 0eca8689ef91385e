"""This module is where rates are set, quotes made and money converted over HTTP."""

from datetime import timedelta
from typing import Final

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from wallet_api import desk, strict
from wallet_api.answers import quote_answer
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.fx_schemas import (
    ConversionAnswer,
    ConvertBody,
    QuoteAnswer,
    QuoteBody,
    RateAnswer,
    RateBody,
)
from wallet_api.intake import key, submit
from wallet_api.openapi import query, refusals, rehearsable
from wallet_api.problems import NO_CURRENCY, Problem, invalid, rejected
from wallet_api.schemas import CurrencyPath, DryRun, WalletPath
from wallet_common.commands import DebitTransfer
from wallet_common.currencies import is_currency
from wallet_common.errors import InvalidAmount
from wallet_common.money import from_minor
from wallet_common.wallet import Rejected, RejectionReason
from wallet_db_orm import fx
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.fx import Rate
from wallet_db_orm.ids import new_id

_OK: Final = 200
_CREATED: Final = 201


@put(
    "/v1/fx/rates/{from_currency:str}/{to_currency:str}",
    responses=refusals(400, 408, 413, 415),
    tags=["exchange"],
    **query("dryRun"),
)
async def set_rate(
    from_currency: CurrencyPath,
    to_currency: CurrencyPath,
    data: JSONBody[RateBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> RateAnswer:
    """
    Set what one unit of a currency is worth in another; nothing follows for the way back.

    Of the rates that are in force the one that was set last counts. No rate is ever changed.
    """
    _check(from_currency, to_currency)
    valid_from, valid_to = data.valid_from, data.valid_to
    rate = Rate(
        from_currency=from_currency,
        to_currency=to_currency,
        rate=strict.amount(data.rate, "rate").canonical(),
        valid_from=(
            exchange.received_at if valid_from is None else strict.instant("validFrom", valid_from)
        ),
        valid_to=None if valid_to is None else strict.instant("validTo", valid_to),
    )
    if rate.valid_to is not None and rate.valid_to <= rate.valid_from:
        raise invalid("validTo", "must be later than validFrom")
    exchange.is_rehearsal = dry_run == "true"
    if not exchange.is_rehearsal:
        row = _record(exchange, books).row(_OK)
        from_now_on = valid_from is None
        rate = await fx.set_rate(books.database.primary, rate, row, from_now_on=from_now_on)
        exchange.is_audited = True
    return _rate_answer(rate)


@get(
    "/v1/fx/rates/{from_currency:str}/{to_currency:str}",
    responses=refusals(400, 404),
    tags=["exchange"],
)
async def read_rate(
    from_currency: CurrencyPath, to_currency: CurrencyPath, books: NamedDependency[Books]
) -> RateAnswer:
    """Return the rate that is in force now."""
    _check(from_currency, to_currency)
    found = await fx.current_rate(books.database.reads, from_currency, to_currency)
    if found is None:
        raise Problem(404, "rate_not_found", "No rate between these currencies is in force.")
    return _rate_answer(found)


@post("/v1/fx/quotes", tags=["exchange"], **rehearsable(QuoteAnswer, 400, 422))
async def make_quote(
    data: JSONBody[QuoteBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> QuoteAnswer:
    """
    Offer to change an amount at the rate in force now, for WALLET_FX_QUOTE_TTL_SECONDS.

    The offer is good once. What an owner asked for is good for the owner's wallets alone.
    """
    _check(data.from_currency, data.to_currency)
    exchange.is_rehearsal = dry_run == "true"
    record = None if exchange.is_rehearsal else _record(exchange, books)
    try:
        amount_minor = strict.amount(data.amount).to_minor(data.from_currency)
        quote = await fx.make_quote(
            books.database.primary,
            amount_minor,
            (data.from_currency, data.to_currency),
            lasts=timedelta(seconds=books.settings.fx_quote_ttl_seconds),
            owner_id=exchange.owner_id,
            audit=None if record is None else record.row(_CREATED),
        )
    except InvalidAmount as wrong:
        problem = invalid("amount", str(wrong))
        problem.code = "invalid_amount"
        raise problem from wrong
    if quote is None:
        raise Problem(422, "rate_unavailable", "No rate between these currencies is in force.")
    exchange.is_audited = record is not None
    return quote_answer(quote)


@post(
    "/v1/wallets/{wallet_id:str}/convert",
    tags=["exchange"],
    **rehearsable(ConversionAnswer, 400, 404, 422),
)
async def convert(
    wallet_id: WalletPath,
    data: JSONBody[ConvertBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> ConversionAnswer:
    """
    Change what a quote offers into another wallet of the same owner; answers when it is there.

    A transfer with a `quoteId` pays somebody else in another currency.
    """
    request_id = key(exchange, data.request_id)
    # What was offered never changes; whether it is still good is decided under its lock.
    quote = await fx.find_quote(books.database.fresh, str(data.quote_id))
    if quote is None:
        raise rejected(Rejected(RejectionReason.QUOTE_NOT_FOUND))
    command = DebitTransfer(
        wallet_id=wallet_id,
        request_id=request_id,
        operation_id=new_id(),
        amount=from_minor(quote.terms.from_minor, quote.terms.from_currency),
        to_wallet_id=data.to_wallet_id,
        quote_id=quote.terms.quote_id,
        is_conversion=True,
        pays_fees=True,
    )
    return await desk.converted(books, exchange, await submit(exchange, books, command, dry_run))


def _check(from_currency: str, to_currency: str) -> None:
    for name, currency in (("fromCurrency", from_currency), ("toCurrency", to_currency)):
        if not is_currency(currency):
            raise invalid(name, NO_CURRENCY)
    if from_currency == to_currency:
        raise invalid("toCurrency", "must be another currency")


def _record(exchange: Exchange, books: Books) -> AuditRecord:
    return exchange.audit_record(books.settings.pii_keys, is_understood=True)


def _rate_answer(rate: Rate) -> RateAnswer:
    return RateAnswer(
        from_currency=rate.from_currency,
        to_currency=rate.to_currency,
        rate=rate.rate,
        valid_from=rate.valid_from,
        valid_to=rate.valid_to,
    )


HANDLERS: Final = (set_rate, read_rate, make_quote, convert)
