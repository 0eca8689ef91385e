"""This module is where a caller is counted, told apart and let in, before any body is decoded."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from wallet_api import keys
from wallet_api.access import EVERYBODY, OPEN, Reach, Rule, reach, rule
from wallet_api.exchange import Exchange
from wallet_api.keys import Keys, KeysUnknown
from wallet_api.limits import Limits
from wallet_api.problems import Problem
from wallet_api.settings import ApiSettings
from wallet_api.tokens import NotProven, Verifier
from wallet_db_orm.database import Database

_CHALLENGE: Final = 'Bearer realm="wallet"'
# Of whom nobody is told apart, all are one.
_ANYBODY: Final = ""

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


class Door:
    """Lets requests in by the rule of their route; one per process."""

    def __init__(self, settings: ApiSettings, database: Database) -> None:
        self._limits = Limits(settings, database)
        self._verifier = None if settings.auth == "off" else _verifier(settings)

    async def admit(self, exchange: Exchange, route: str) -> None:
        """Let a request in, once, by the rule of its route, or raise as `admit_by` does."""
        needed = rule(exchange.method, route)
        if needed is not OPEN and not exchange.is_admitted:
            await self.admit_by(exchange, needed)

    async def count_client(self, exchange: Exchange) -> None:
        """Count a request of its address, whatever it asks for; raises a 429."""
        await self._limits.count_client(exchange.client_ip)

    async def admit_by(self, exchange: Exchange, needed: Rule | None) -> None:
        """
        Note on the exchange who asks and how far that one reaches.

        Raises a 401 or a 403 for who may not come in here, a 429 for who came too often, and a 503
        if that can not be told.
        """
        if self._verifier is None:
            exchange.roles = EVERYBODY
        else:
            await self._tell_apart(exchange, self._verifier)
        await self._limits.count_principal(exchange.principal or _ANYBODY)
        granted = reach(exchange.roles, needed)
        if granted is None:
            raise forbidden()
        exchange.is_admitted = True
        exchange.owner_id = None if granted is Reach.ALL else exchange.principal or _ANYBODY

    def guard(self) -> Guard:
        """Return the guard of every route of the framework's."""

        # A coroutine, because the framework sends plain functions to a thread.
        async def let_in(
            connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
        ) -> None:
            route: str = connection.scope["path_template"]
            await self.admit(connection.scope["state"]["exchange"], route)

        return let_in

    async def close(self) -> None:
        if self._verifier is not None:
            await self._verifier.close()

    async def _tell_apart(self, exchange: Exchange, verifier: Verifier) -> None:
        given = [value for name, value in exchange.headers if name == b"authorization"]
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise _unproven(_CHALLENGE)
        try:
            proven = await verifier.prove(token)
        except NotProven:
            raise _unproven(f'{_CHALLENGE}, error="invalid_token"') from None
        except KeysUnknown:
            raise Problem(
                503,
                "keys_unavailable",
                "The keys that prove tokens are not at hand; send the same request again.",
                headers={"Retry-After": "5"},
            ) from None
        exchange.principal = proven.subject
        exchange.roles = proven.roles
        exchange.expires_at = proven.expires_at


def forbidden(detail: str = "The token's roles do not allow this.") -> Problem:
    return Problem(403, "forbidden", detail)


def _unproven(challenge: str) -> Problem:
    return Problem(
        401,
        "unauthorized",
        "A valid bearer token is needed.",
        headers={"WWW-Authenticate": challenge},
    )


def _verifier(settings: ApiSettings) -> Verifier:
    return Verifier(
        _keys(settings),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_s=settings.jwt_leeway_seconds,
    )


def _keys(settings: ApiSettings) -> Keys:
    if settings.jwks_url is not None:
        return keys.from_url(settings.jwks_url)
    if settings.jwks_file is not None:
        return keys.from_file(Path(settings.jwks_file))
    assert settings.jwt_secret is not None, "settings refuse jwt without any key"
    return keys.SecretKey(settings.jwt_secret.get_secret_value())
