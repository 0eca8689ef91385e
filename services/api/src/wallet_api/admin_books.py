"""This module is where an administrator has the books proved over HTTP, as `wallet verify` does."""

import asyncio
from typing import Final

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import refusals
from wallet_api.problems import Problem
from wallet_api.strict import StrictRequest
from wallet_db_orm import proving
from wallet_db_orm.proving import ProofRunning
from wallet_db_orm.verify import Report

# How long a request is kept waiting for its proof; bigger books are proved by the command.
PATIENCE_S: Final = 60.0
_UNGUARDED: Final = "unknown (auth is off)"


class VerifyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`incremental`: only what is behind the last clean proof, instead of everything."""

    incremental: bool = False


@post(
    "/v1/admin/verify",
    responses=refusals(400, 408, 409, 413, 415, 503),
    tags=["admin"],
)
async def verify_books(
    request: StrictRequest, exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> Response[Report]:
    """
    Prove the books in one snapshot, and keep the proof; a body is not needed.

    One proof at a time: 409 `proof_running` while another runs. What takes more than a minute is
    given up with 503 `proof_too_long`.
    """
    asked = await request.json_if_any(VerifyBody) or VerifyBody()
    who = exchange.principal or _UNGUARDED
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            proving.alone(books.database.primary),
        ):
            proved = await proving.prove(
                books.database, incremental=asked.incremental, asked_by=f"api: {who}"
            )
    except ProofRunning:
        detail = "The books are being proved just now; ask again when that is done."
        raise Problem(409, "proof_running", detail, headers={"Retry-After": "5"}) from None
    except TimeoutError:
        detail = "These books take longer than a request may: use `wallet verify`, or incremental."
        raise Problem(503, "proof_too_long", detail, headers={"Retry-After": "600"}) from None
    return Response(proved.report)


HANDLERS: Final = (verify_books,)
