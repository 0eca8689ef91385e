"""This module is where an administrator reads the audit over HTTP."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from wallet_api import cursors
from wallet_api.books import Books
from wallet_api.openapi import query, refusals
from wallet_api.reads import Cursor, Limit, SinceInstant, UntilInstant
from wallet_api.schemas import WalletQuery
from wallet_api.strict import instant
from wallet_db_orm import audit_log
from wallet_db_orm.audit_log import ListedRow, Wanted

_KEY = r"^[!-~]{1,128}$(?!\n)"
StatusQuery = Annotated[int | None, QueryParameter(ge=100, le=599)]
MethodQuery = Annotated[str | None, QueryParameter(pattern=r"^[A-Z]{1,16}$(?!\n)", max_length=16)]
PrincipalQuery = Annotated[
    str | None, QueryParameter(pattern=r"^[^\x00-\x1f\x7f]{1,256}$(?!\n)", max_length=256)
]
RequestQuery = Annotated[str | None, QueryParameter(name="requestId", pattern=_KEY, max_length=128)]
TraceQuery = Annotated[
    str | None,
    QueryParameter(name="traceId", pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)", max_length=64),
]


class AuditPage(msgspec.Struct, rename="camel"):
    items: list[ListedRow]
    next_cursor: str | None


@get(
    "/v1/admin/audit",
    responses=refusals(400),
    tags=["admin"],
    **query(
        *("walletId", "principal", "status", "method", "requestId", "traceId", "from", "to"),
        *("limit", "cursor"),
    ),
)
async def read_audit(  # noqa: PLR0913, PLR0917  # a filter each
    books: NamedDependency[Books],
    wallet_id: WalletQuery = None,
    principal: PrincipalQuery = None,
    status: StatusQuery = None,
    method: MethodQuery = None,
    request_id: RequestQuery = None,
    trace_id: TraceQuery = None,
    since: SinceInstant = None,
    until: UntilInstant = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditPage:
    """
    Return what was asked of the service, newest first; a time counts by when a request arrived.

    A page looks at 10 000 rows at most: with filters it may have few items or none although more
    come later. As long as `nextCursor` is not null there is more to look at.
    Of a body it has 65 536 bytes at most, and `bodyBytes` says how many there are.
    """
    wanted = Wanted(
        wallet_id=wallet_id,
        principal=principal,
        status=status,
        method=method,
        request_id=request_id,
        trace_id=trace_id,
        since=None if since is None else instant("from", since),
        until=None if until is None else instant("to", until),
    )
    scope = f"audit:{wanted!r}"
    below = None if cursor is None else _place(scope, cursor)
    found = await audit_log.page(books.database.reads, wanted, below=below, limit=limit)
    following = None if found.below is None else cursors.encode(scope, str(found.below))
    return AuditPage(list(found.items), following)


def _place(scope: str, cursor: str) -> UUID:
    """Return the place; anybody can make one, so it is checked again."""
    try:
        return UUID(cursors.decode(scope, cursor))
    except ValueError:
        raise cursors.foreign() from None


HANDLERS: Final = (read_audit,)
