"""This module is where a wallet's own limits are set and read over HTTP."""

from functools import cache
from typing import Final
from zoneinfo import available_timezones

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from wallet_api import strict
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.intake import submit
from wallet_api.openapi import query, refusals
from wallet_api.problems import invalid, rejected
from wallet_api.schemas import DryRun, WalletPath
from wallet_api.wallet_limit_schemas import LimitsAnswer, LimitsBody, VelocityAnswer, VelocityBody
from wallet_common.commands import SetLimits
from wallet_common.limits import AskedVelocity, Spent, span
from wallet_common.money import render
from wallet_common.wallet import Rejected, RejectionReason, Wallet
from wallet_db_orm.spending import Usage, limited, usage

_OK: Final = 200


@put(
    "/v1/wallets/{wallet_id:str}/limits",
    responses=refusals(400, 404, 422),
    tags=["wallets"],
    **query("dryRun"),
)
async def set_limits(
    wallet_id: WalletPath,
    data: JSONBody[LimitsBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> LimitsAnswer:
    """
    Give a wallet these limits, and no others: what it may owe, keep, and let go in a time.

    What it owes or has beyond them stays; nothing more leaves or comes until they are kept again.
    """
    strict.idempotency_key(exchange.headers, data.request_id)
    command = SetLimits(
        wallet_id=wallet_id,
        overdraft=strict.optional_amount("overdraft", data.overdraft, may_be_zero=True),
        max_balance=strict.optional_amount("maxBalance", data.max_balance),
        max_transaction=strict.optional_amount("maxTransaction", data.max_transaction),
        velocity=_velocity(data.velocity),
        time_zone=_time_zone(data.time_zone),
    )
    came = await submit(exchange, books, command, dry_run, done=_OK)
    exchange.is_audited = True
    if isinstance(came, Rejected):
        raise rejected(came)
    assert isinstance(came, Wallet)
    return _answer(await usage(books.database.fresh, came))


@get("/v1/wallets/{wallet_id:str}/limits", responses=refusals(400, 404), tags=["wallets"])
async def read_limits(
    wallet_id: WalletPath, exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> LimitsAnswer:
    """Return the wallet's limits, what is used of them, and when that ends."""
    wallet = await limited(books.database.reads, wallet_id)
    if wallet is None or exchange.owner_id not in {None, wallet.owner_id}:
        raise rejected(Rejected(RejectionReason.WALLET_NOT_FOUND))
    return _answer(await usage(books.database.reads, wallet))


def _velocity(asked: list[VelocityBody]) -> tuple[AskedVelocity, ...]:
    """Read the limits by period; raises a 400 for one that limits nothing, or comes twice."""
    if len({each.period for each in asked}) != len(asked):
        raise invalid("velocity", "has a period twice")
    found = tuple(
        AskedVelocity(
            period=each.period,
            amount=strict.optional_amount(f"velocity[{index}].amount", each.amount),
            count=each.count,
        )
        for index, each in enumerate(asked)
    )
    for index, each in enumerate(found):
        if each.amount is None and each.count is None:
            raise invalid(f"velocity[{index}]", "needs an amount, a count, or both")
    return found


def _time_zone(name: str) -> str:
    if name not in _time_zones():
        raise invalid("timeZone", "must be an IANA time zone such as Europe/Berlin")
    return name


@cache
def _time_zones() -> frozenset[str]:
    # What these mean depends on the machine.
    return frozenset(available_timezones()) - {"localtime", "Factory"}


def _answer(seen: Usage) -> LimitsAnswer:
    wallet, limits = seen.wallet, seen.wallet.limits

    def shown(minor: int | None) -> str | None:
        return None if minor is None else render(minor, wallet.currency)

    velocity = []
    for each in limits.velocity:
        since, frees_at = span(each.period, limits.time_zone, seen.now)
        spent = seen.spending.get(each.period, Spent())
        velocity.append(
            VelocityAnswer(
                period=each.period,
                amount=shown(each.amount_minor),
                used_amount=render(spent.amount_minor + wallet.held_minor, wallet.currency),
                count=each.count,
                used_count=spent.count,
                since=since,
                frees_at=frees_at,
            )
        )
    return LimitsAnswer(
        wallet_id=wallet.id,
        currency=wallet.currency,
        overdraft=render(limits.overdraft_minor, wallet.currency),
        max_balance=shown(limits.max_balance_minor),
        max_transaction=shown(limits.max_transaction_minor),
        velocity=velocity,
        time_zone=limits.time_zone,
    )


HANDLERS: Final = (set_limits, read_limits)
