"""This module is where the API is put together from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, ValidationException
from litestar.routes import HTTPRoute
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope
from pydantic import SecretStr

from wallet_api import (
    accounts,
    admin_audit,
    admin_books,
    admin_letters,
    admin_owners,
    batch_streams,
    batches,
    explain,
    feed,
    fees,
    fx,
    health,
    holds,
    lists,
    metrics,
    openapi,
    reads,
    reversals,
    routes,
    standing,
    statements,
    wallet_limits,
)
from wallet_api.books import Books, open_books
from wallet_api.edge import Edge
from wallet_api.exchange import Exchange
from wallet_api.problems import MEDIA_TYPE, Problem, fault
from wallet_api.settings import ApiSettings
from wallet_api.shortcut import Shortcut
from wallet_api.strict import StrictRequest, invalid_form
from wallet_db_orm.database import Database

AnyRequest = Request[Any, Any, Any]

# What knows which query parameters it has.
_STRICT: Final = tuple(
    handler
    for module in (
        *(routes, standing, wallet_limits, holds, reversals, fx, fees, batches, batch_streams),
        *(lists, reads, statements, explain, accounts, feed),
        *(admin_audit, admin_books, admin_letters, admin_owners),
    )
    for handler in module.HANDLERS
)
_CODES: Final = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not know that method."),
    413: ("body_too_large", "The body is too large."),
}


def create_app(settings: ApiSettings) -> Edge:
    """Return the whole ASGI application; nothing connects before its first request."""
    replica = settings.read_database_url
    database = Database(
        settings.database_url.get_secret_value(),
        application_name="wallet-api",
        read_url=replica.get_secret_value() if replica else None,
        lane_count=settings.lane_count,
    )
    books = open_books(settings, database)
    shortcut = Shortcut({**routes.PLAIN, **reads.PLAIN}, books)
    return Edge(create_litestar(settings, books), shortcut, books)


def describe() -> Litestar:
    """Return an application that serves nothing: its routes are there to be documented."""
    settings = ApiSettings.model_construct(
        database_url=SecretStr("postgresql://unused"),
        auth="jwt",
        jwt_secret=SecretStr(""),
        enable_swagger=True,
    )
    database = Database("postgresql://unused", application_name="wallet-openapi")
    books = open_books(settings, database)
    return create_litestar(settings, books)


def create_litestar(settings: ApiSettings, books: Books) -> Litestar:
    """Return the framework's part of the application."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        await books.streams.stop()
        await books.door.close()
        await books.lanes.close()
        await books.refusals.close()
        await books.database.dispose()

    strict = Router(path="/", route_handlers=_STRICT, guards=[openapi.strict_query])
    handlers: list[Any] = [strict, *health.HANDLERS, *metrics.HANDLERS]
    if settings.enable_swagger:
        handlers.append(
            create_static_files_router(path=openapi.ASSETS_PATH, directories=[openapi.ASSETS])
        )
    return Litestar(
        handlers,
        # Here and nowhere else: a route that is added later is closed until it has a rule.
        guards=[books.door.guard()],
        request_class=StrictRequest,
        dependencies={
            "books": Provide(lambda: books, sync_to_thread=False),
            "exchange": Provide(_exchange_of, sync_to_thread=False),
        },
        lifespan=[lifespan],
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_problem,
            Exception: _fault,
        },
        openapi_config=(
            openapi.config(secured=settings.auth == "jwt") if settings.enable_swagger else None
        ),
        before_send=[_every_method],
        plugins=[openapi.RawJson()],
        logging_config=None,
        request_max_body_size=None,  # The edge has read and bounded it.
    )


async def _every_method(message: Message, scope: Scope) -> None:
    """Complete the answer to OPTIONS: where handlers share a path it knows the first's methods."""
    is_asked = scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS"
    if not is_asked or message["type"] != "http.response.start":
        return
    for route in scope["litestar_app"].routes:
        if isinstance(route, HTTPRoute) and route.path == scope.get("path_template"):
            MutableScopeHeaders.from_message(message)["allow"] = ", ".join(sorted(route.methods))


def _exchange_of(request: AnyRequest) -> Exchange:
    exchange: Exchange = request.scope["state"]["exchange"]
    return exchange


def _fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    return _problem(request, fault(error, _exchange_of(request)))


def _problem(request: AnyRequest, problem: Problem) -> Response[bytes]:
    exchange = _exchange_of(request)
    return Response(
        problem.document(exchange.path, exchange.trace_id),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def _http_problem(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Translate what the framework itself refuses."""
    if error.status_code >= 500:  # noqa: PLR2004  # the class of server faults
        return _fault(request, error)
    if isinstance(error, ValidationException):
        faults = error.extra if isinstance(error.extra, list) else []
        fault = faults[0] if faults and isinstance(faults[0], dict) else {}
        if fault.get("key") == "data":
            return _problem(request, Problem(400, "malformed_json", "The body is empty."))
        field, message = fault.get("key", "request"), fault.get("message", error.detail)
        return _problem(request, invalid_form(str(field), str(message)))
    code, detail = _CODES.get(error.status_code, ("refused", error.detail))
    return _problem(request, Problem(error.status_code, code, detail, headers=error.headers))
