"""This module is where a supervisor asks whether the process lives and can do its work."""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from wallet_api.books import Books
from wallet_db_orm import outbox, queries

_CHECK_TIMEOUT_S: Final = 2.0


class Alive(msgspec.Struct):
    status: str


class Readiness(msgspec.Struct, rename="camel"):
    """`status` is ok, degraded (events wait) or unavailable; lag is null without a database."""

    status: str
    database: str
    broker: str
    outbox_rows: int | None
    outbox_lag_seconds: float | None
    pending_requests: int


@get("/healthz", tags=["operation"], media_type=MediaType.JSON)
async def healthz() -> Alive:
    """Answer as long as the process lives."""
    return Alive("ok")


@get(
    "/readyz",
    tags=["operation"],
    responses={503: ResponseSpec(Readiness, description="No database", generate_examples=False)},
)
async def readyz(books: NamedDependency[Books]) -> Response[Readiness]:
    """Answer 200 while requests can be served; a broker that is away only degrades."""
    database, broker = await asyncio.gather(_database(books), _broker(books))
    lag = await _lag(books) if database == "ok" else None
    status = "unavailable" if database != "ok" else "degraded" if broker == "down" else "ok"
    readiness = Readiness(
        status=status,
        database=database,
        broker=broker,
        outbox_rows=lag.rows if lag else None,
        outbox_lag_seconds=round(lag.seconds, 3) if lag else None,
        pending_requests=books.lanes.pending,
    )
    return Response(readiness, status_code=503 if status == "unavailable" else 200)


async def _database(books: Books) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await queries.ping(books.database.fresh)
    except Exception:  # noqa: BLE001  # whatever it is, the database does not answer
        return "down"
    return "ok"


async def _lag(books: Books) -> outbox.Lag | None:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return await outbox.lag(books.database.primary)
    except Exception:  # noqa: BLE001  # as above
        return None


async def _broker(books: Books) -> str:
    """Look whether somebody listens; the API itself never talks to the broker."""
    url = books.settings.rabbitmq_url
    if url is None:
        return "not_configured"
    address = urlsplit(url.get_secret_value())
    default = 5671 if address.scheme == "amqps" else 5672
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.hostname, address.port or default)
            writer.close()
    except OSError:
        return "down"
    return "ok"


HANDLERS: Final[tuple[Any, ...]] = (healthz, readyz)
