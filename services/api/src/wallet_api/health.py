"""This module is where a supervisor asks whether the process lives and can do its work."""

import asyncio
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from wallet_api.books import Books
from wallet_api.openapi import OPEN
from wallet_db_orm import outbox, queries

_CHECK_TIMEOUT_S: Final = 2.0
# Events that wait so long have no relay, or no receiver.
_LATE_S: Final = 30.0
# What a client of AMQP 0-9-1 says first. The port of a broker that hangs is open all the same: its
# system accepts for it. Only a living one has an answer.
_GREETING: Final = b"AMQP\x00\x00\x09\x01"


class Alive(msgspec.Struct):
    status: str


class Readiness(msgspec.Struct, rename="camel"):
    """`status` is ok, degraded (events wait) or unavailable; without a database some is null."""

    status: str
    database: str
    broker: str
    outbox_rows: int | None
    outbox_lag_seconds: float | None
    relay_active: bool | None
    pending_requests: int


@get("/healthz", tags=["operation"], media_type=MediaType.JSON, security=OPEN)
async def healthz() -> Alive:
    """Answer as long as the process lives."""
    return Alive("ok")


@get(
    "/readyz",
    tags=["operation"],
    security=OPEN,
    responses={503: ResponseSpec(Readiness, description="No database", generate_examples=False)},
)
async def readyz(books: NamedDependency[Books]) -> Response[Readiness]:
    """Answer 200 while requests can be served; a broker that is away only degrades."""
    database, broker = await asyncio.gather(_database(books), _broker(books))
    lag, is_active = await _relay(books) if database == "ok" else (None, None)
    is_late = lag is not None and lag.seconds > _LATE_S
    degraded = "degraded" if broker == "down" or is_late else "ok"
    status = "unavailable" if database != "ok" else degraded
    readiness = Readiness(
        status=status,
        database=database,
        broker=broker,
        outbox_rows=lag.rows if lag else None,
        outbox_lag_seconds=round(lag.seconds, 3) if lag else None,
        relay_active=is_active,
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


async def _relay(books: Books) -> tuple[outbox.Lag, bool] | tuple[None, None]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            engine = books.database.fresh
            return await outbox.lag(engine), await outbox.is_active(engine)
    except Exception:  # noqa: BLE001  # as above
        return None, None


async def _broker(books: Books) -> str:
    """Look whether somebody answers a greeting; more is said only for an administrator."""
    url = books.settings.rabbitmq_url
    if url is None:
        return "not_configured"
    address = urlsplit(url.get_secret_value())
    is_secure = address.scheme == "amqps"
    port = address.port or (5671 if is_secure else 5672)
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            tls = _any_certificate() if is_secure else None
            reader, writer = await asyncio.open_connection(address.hostname, port, ssl=tls)
            try:
                writer.write(_GREETING)
                answer = await reader.read(1)
            finally:
                writer.close()
    except OSError:
        return "down"
    return "ok" if answer else "down"


def _any_certificate() -> ssl.SSLContext:
    # Nothing is said that a stranger must not hear.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


HANDLERS: Final[tuple[Any, ...]] = (healthz, readyz)
