"""This module is where it is said and read over HTTP what operations cost."""

from typing import Final

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from wallet_api import strict
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.fee_schemas import FeesAnswer, FeesBody, FeesList, Operation
from wallet_api.openapi import query, refusals
from wallet_api.problems import NO_CURRENCY, invalid
from wallet_api.schemas import CurrencyPath, DryRun
from wallet_common.currencies import is_currency
from wallet_common.errors import InvalidAmount
from wallet_common.money import MAX_MINOR, parse_amount, render
from wallet_common.schedules import Charged, FeeSchedule
from wallet_db_orm import fees
from wallet_db_orm.fees import Priced
from wallet_db_orm.ids import new_id

_OK: Final = 200


@put(
    "/v1/fees/{operation:str}/{currency:str}",
    responses=refusals(400, 408, 413, 415),
    tags=["fees"],
    **query("dryRun"),
)
async def set_fees(
    operation: FromPath[Operation],
    currency: CurrencyPath,
    data: JSONBody[FeesBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> FeesAnswer:
    """
    Say what every such operation in a currency costs from now on, in place of what it did.

    The percentage is rounded half to even. No schedule is ever changed; with none of the parts the
    operation is free.
    """
    if not is_currency(currency):
        raise invalid("currency", NO_CURRENCY)
    percent = None if data.percent is None else _canonical(data.percent)
    schedule = FeeSchedule(
        id=new_id(),  # Of a rehearsal; a real one gets its own.
        flat_minor=_minor("flat", data.flat, currency) or 0,
        percent=percent,
        min_minor=_minor("min", data.min, currency) or 0,
        max_minor=_minor("max", data.max, currency, may_be_zero=False),
    )
    if schedule.max_minor is not None and schedule.max_minor < schedule.min_minor:
        raise invalid("max", "must not be less than min")
    priced = Priced(Charged(operation), currency, schedule)
    exchange.is_rehearsal = dry_run == "true"
    if not exchange.is_rehearsal:
        record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
        priced = await fees.set_fees(books.database.primary, priced, record.row(_OK))
        exchange.is_audited = True
    return _answer(priced)


@get("/v1/fees", responses=refusals(400), tags=["fees"])
async def list_fees(books: NamedDependency[Books]) -> FeesList:
    """List what operations cost now; what is not listed is free."""
    return FeesList([_answer(each) for each in await fees.in_force(books.database.reads)])


def _canonical(percent: str) -> str | None:
    try:
        return parse_amount(percent).canonical()
    except InvalidAmount:
        # The pattern lets pass nothing else that is no positive amount.
        return None


def _minor(
    field: str, raw: msgspec.Raw | msgspec.UnsetType, currency: str, *, may_be_zero: bool = True
) -> int | None:
    amount = strict.optional_amount(field, raw, may_be_zero=may_be_zero)
    if amount is None:
        return None
    try:
        minor = amount.to_minor(currency)
    except InvalidAmount as wrong:
        raise invalid(field, str(wrong)) from wrong
    if minor > MAX_MINOR:
        raise invalid(field, "is more than a wallet can hold")
    return minor


def _answer(priced: Priced) -> FeesAnswer:
    schedule, currency = priced.schedule, priced.currency
    return FeesAnswer(
        schedule_id=schedule.id,
        operation=priced.operation,
        currency=currency,
        flat=render(schedule.flat_minor, currency),
        percent=schedule.percent,
        min=render(schedule.min_minor, currency),
        max=None if schedule.max_minor is None else render(schedule.max_minor, currency),
    )


HANDLERS: Final = (set_fees, list_fees)
