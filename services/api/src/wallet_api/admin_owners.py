"""This module is where an administrator erases an owner's personal data over HTTP."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import refusals
from wallet_api.problems import Problem
from wallet_db_orm import owner_keys
from wallet_db_orm.operator_log import Act, note

_UNGUARDED: Final = "unknown (auth is off)"
# One line that is not all spaces; it does not look ahead, which generators of texts cannot bear.
_LINE = r"^ *[^\x00- \x7f][^\x00-\x1f\x7f-\x9f]*$(?!\n)"

OwnerPath = Annotated[str, PathParameter(pattern=r"^[!-~]{1,128}$(?!\n)", max_length=128)]


class EraseBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why the owner's personal data is destroyed; the operator log keeps it."""

    reason: Annotated[str, msgspec.Meta(pattern=_LINE, max_length=1_000)]


class EraseAnswer(msgspec.Struct, rename="camel"):
    """Whose personal data nobody can read any more, and since when."""

    owner_id: str
    erased_at: datetime


@post(
    "/v1/admin/owners/{owner_id:str}/erase",
    responses=refusals(400, 404, 408, 413, 415),
    tags=["admin"],
)
async def erase_owner(
    owner_id: OwnerPath,
    data: JSONBody[EraseBody],
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
) -> EraseAnswer:
    """
    Destroy the key of the owner's personal data: it can never be read again, in no process.

    The wallets, their money and their past stay as they are. Again: the same answer.
    """
    who = exchange.principal or _UNGUARDED
    # Written down before it is done, as every act of an operator.
    act = Act(operator=who, act="owner.erase", subject=owner_id, details={"reason": data.reason})
    await note(books.database.primary, [act])
    erased = await owner_keys.erase(books.database.primary, owner_id)
    if erased is None:
        raise Problem(404, "owner_not_found", "No personal data of such an owner was ever kept.")
    return EraseAnswer(erased.owner_id, erased.erased_at)


HANDLERS: Final = (erase_owner,)
