"""This module is where a caller is told apart and let in: one guard, before any body is decoded."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import jwt
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from wallet_api.exchange import Exchange
from wallet_api.problems import Problem
from wallet_api.settings import ApiSettings

_ALGORITHMS: Final = ("HS256",)
# A subject is stored and shown.
_SUBJECT_MAX: Final = 256
_REQUIRED_CLAIMS: Final = ("iss", "aud", "exp", "sub")
_READ_METHODS: Final = frozenset({"GET", "HEAD"})
# Roles with rights over every wallet. A token for one's own wallets alone is not served yet.
_MAY_WRITE: Final = frozenset({"payments", "admin"})
_MAY_READ: Final = _MAY_WRITE | {"auditor"}

Authorize = Callable[[Exchange], None]
Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def authorizer(settings: ApiSettings) -> Authorize:
    """Return what notes who asks; it raises a 401 or a 403 for who may not."""

    def authorize(exchange: Exchange) -> None:
        if settings.auth == "off":
            return
        given = [value for name, value in exchange.headers if name == b"authorization"]
        claims = _claims([value.decode("latin-1") for value in given], settings)
        exchange.principal = claims["sub"]
        roles = claims.get("roles")
        needed = _MAY_READ if exchange.method in _READ_METHODS else _MAY_WRITE
        if not isinstance(roles, list) or needed.isdisjoint(r for r in roles if isinstance(r, str)):
            raise Problem(403, "forbidden", "The token's roles do not allow this.")

    return authorize


def guard(authorize: Authorize) -> Guard:
    """Return the guard of every route that touches a wallet."""

    # A coroutine, because the framework sends plain functions to a thread.
    async def let_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        authorize(connection.scope["state"]["exchange"])

    return let_in


def _claims(given: list[str], settings: ApiSettings) -> dict[str, Any]:
    """Return the claims of the one bearer token; raises a 401."""
    scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
    assert settings.jwt_secret is not None, "settings refuse jwt without a secret"
    try:
        if scheme.lower() != "bearer":
            raise jwt.InvalidTokenError
        claims: dict[str, Any] = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=_ALGORITHMS,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.jwt_leeway_seconds,
            options={"require": list(_REQUIRED_CLAIMS)},
        )
        subject = claims["sub"]
        if not (subject.isprintable() and 0 < len(subject) <= _SUBJECT_MAX):
            raise jwt.InvalidTokenError
    except (jwt.InvalidTokenError, ValueError):
        raise Problem(
            401,
            "unauthorized",
            "A valid bearer token is needed.",
            headers={"WWW-Authenticate": 'Bearer realm="wallet"'},
        ) from None
    return claims
