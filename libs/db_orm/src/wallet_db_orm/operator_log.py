"""This module is where it is written down what an operator is about to do, before it is done."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.database import statement
from wallet_db_orm.ids import new_id
from wallet_db_orm.statements import insert_many, transpose
from wallet_db_orm.worker_models import operator_log


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Who does what to which thing; `details` is whatever JSON tells it apart from others."""

    operator: str
    act: str
    subject: str
    details: Mapping[str, Any]


async def note(engine: AsyncEngine, acts: Sequence[Act]) -> None:
    """Write the acts down, in their order; they are committed when this returns."""
    rows = [
        (
            new_id(),
            each.operator,
            each.act,
            each.subject,
            msgspec.json.encode(each.details).decode(),
        )
        for each in acts
    ]
    if rows:
        async with statement(engine) as connection:
            await connection.execute(_NOTE, *transpose(rows, _COLUMNS))


_COLUMNS: Final = ("id", "operator", "act", "subject", "details")
_NOTE: Final = insert_many(operator_log, _COLUMNS)
