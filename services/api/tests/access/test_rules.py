"""Promises about the rules: every route has one, and what has none is closed."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import product

import httpx
import pytest
from litestar import get
from litestar.routes import HTTPRoute

from wallet_api.access import (
    EVERYBODY,
    OPEN,
    RULES,
    Reach,
    Role,
    reach,
    roles_of,
    rule,
)
from wallet_api.app import create_litestar, describe
from wallet_api.books import open_books
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings
from wallet_api.shortcut import Shortcut
from wallet_db_orm.database import Database


def routes() -> set[tuple[str, str]]:
    """Return every method of every route that the application serves."""
    return {
        (str(method), route.path_format)
        for route in describe().routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
    }


def test_every_route_has_a_rule() -> None:
    """A route that somebody adds fails here until somebody says who may come in."""
    assert [route for route in routes() if rule(*route) is None] == []


def test_every_rule_has_a_route() -> None:
    """No rule speaks of a route that is not there, or no more."""
    assert RULES.keys() - routes() == set()


async def test_a_route_without_a_rule_is_closed(
    configured: Callable[..., ApiSettings],
    client_before: Callable[[Edge], AbstractAsyncContextManager[httpx.AsyncClient]],
) -> None:
    """Asked with every right there is, a handler that nobody gave a rule is not called."""

    @get("/v1/forgotten")
    async def forgotten() -> str:
        return "called"

    settings = configured()
    database = Database(settings.database_url.get_secret_value(), application_name="wallet-api")
    books = open_books(settings, database)
    app = create_litestar(settings, books)
    app.register(forgotten)
    async with client_before(Edge(app, Shortcut({}, books), books)) as client:
        refused = await client.get("/v1/forgotten")

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_what_needs_no_token_tells_nothing_of_money() -> None:
    """Open are the probes, the figures and the documents, and nothing below them."""
    is_open = {path for (_, path), each in RULES.items() if each is OPEN}

    assert {path.split("/")[1] for path in is_open} == {"healthz", "readyz", "metrics", "docs"}


@pytest.mark.parametrize("role", Role)
def test_the_short_address_has_the_same_rule(role: Role) -> None:
    """What answers without the version lets in whom the versioned one does."""
    for verb in ("", "/deposit", "/withdraw", "/transfer", "/history", "/stats"):
        for method in ("GET", "POST"):
            short = rule(method, f"/wallet/{{wallet_id}}{verb}")
            versioned = rule(method, f"/v1/wallets/{{wallet_id}}{verb}")
            assert short is versioned
            assert (role in (short or {})) == (reach({role}, versioned) is not None)


def test_an_auditor_writes_nothing_and_a_user_brings_nothing_in() -> None:
    """The two weak roles, over all rules; whoever has a second role has its rights too."""
    for (method, path), each in RULES.items():
        if each is not OPEN and method != "GET":
            assert reach({Role.AUDITOR}, each) is None
        if path.startswith("/v1/admin"):
            others = set(Role) - {Role.ADMIN}
            assert {reach({role}, each) for role in others} == {None}
        assert reach({Role.USER}, each) in {None, Reach.OWN}
    deposit = rule("POST", "/v1/wallets/{wallet_id}/deposit")
    transfer = rule("POST", "/v1/wallets/{wallet_id}/transfer")
    assert reach({Role.USER}, deposit) is None
    assert reach({Role.USER}, transfer) is Reach.OWN
    assert reach({Role.USER, Role.PAYMENTS}, transfer) is Reach.ALL
    assert reach(EVERYBODY, transfer) is Reach.ALL
    assert reach(EVERYBODY, None) is None


def test_roles_are_a_list_of_what_we_know() -> None:
    """Anything else in the claim, even beside a good role, gives no rights at all."""
    bad: list[object] = [None, "admin", {"admin": 1}, 7, [7], [None], [["admin"]], ["Admin"]]
    good = [[a.value, b.value] for a, b in product(Role, Role)]

    assert {roles_of(each) for each in [*bad, ["admin", "root"], []]} == {frozenset()}
    assert all(roles_of(each) == {Role(name) for name in each} for each in good)


async def test_only_an_administrator_forces_a_wallet_to_owe(
    guarded: httpx.AsyncClient,
    owned: Callable[..., Awaitable[str]],
    bearer: Callable[..., dict[str, str]],
) -> None:
    """`payments` reverses what is there; by force alone it may not, and nothing happens."""
    wallet_id = await owned("ada", "adas")
    ledger = await guarded.get(f"/v1/wallets/{wallet_id}/ledger", headers=bearer("ada"))
    address = f"/v1/operations/{ledger.json()['items'][0]['operationId']}/reverse"

    refused = await guarded.post(address, json={"force": True}, headers=bearer("till", "payments"))
    done = await guarded.post(address, json={"force": True}, headers=bearer("root", "admin"))

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (done.status_code, done.json()["balance"]) == (201, "0.00")
