"""This module is where secrets are put into every place of a request, and found in no record."""

import re
from typing import get_type_hints

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from wallet_api.app import describe
from wallet_api.redaction import PLACES, SHAPE, kept_address
from wallet_common.redaction import Part

CANARY = "CANARY-7f3a"
JSON = {"Content-Type": "application/json"}
DEPOSIT = "/v1/wallets/w/deposit"

# Each: path, body, headers.
HIDDEN: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "an unknown member": (DEPOSIT, b'{"amount":"1","pin":"%s"}', JSON),
    "a member of an amount": (DEPOSIT, b'{"amount":{"pin":"%s"}}', JSON),
    "an unknown member of a command": (
        "/v1/batches",
        b'{"commands":[{"type":"deposit","walletId":"w","amount":"1","pin":"%s"}]}',
        JSON,
    ),
    "a body that is a string": (DEPOSIT, b'"%s"', JSON),
    "a body that is no JSON": (DEPOSIT, b"pin=%s", JSON),
    "a form": (DEPOSIT, b"pin=%s", {"Content-Type": "application/x-www-form-urlencoded"}),
    "an unknown address": (f"/v1/{CANARY}", b'{"amount":"1"}', JSON),
    "a step too far": (f"{DEPOSIT}/{CANARY}", b'{"amount":"1"}', JSON),
    "a path parameter": (f"/v1/wallets/w;token={CANARY}/deposit", b'{"amount":"1"}', JSON),
    "an unknown query parameter": (f"{DEPOSIT}?token={CANARY}", b'{"amount":"1"}', JSON),
    "a query without a name": (f"{DEPOSIT}?{CANARY}", b'{"amount":"1"}', JSON),
    "Authorization": (DEPOSIT, b'{"amount":"1"}', JSON | {"Authorization": f"Bearer {CANARY}"}),
    "Cookie": (DEPOSIT, b'{"amount":"1"}', JSON | {"Cookie": f"session={CANARY}"}),
    "any other header": (DEPOSIT, b'{"amount":"1"}', JSON | {"X-Api-Key": CANARY}),
    "a reflected method": ("/v1/admin/dead-letters/a/discard", b'{"pin":"%s"}', JSON),
}


@pytest.mark.parametrize("place", HIDDEN)
async def test_no_table_keeps_a_secret(
    api: httpx.AsyncClient, sql: asyncpg.Connection, place: str
) -> None:
    """The request is audited; the secret is in no column of any table."""
    path, body, headers = HIDDEN[place]
    content = body.replace(b"%s", CANARY.encode())

    await api.post(path, content=content, headers=headers)

    assert await sql.fetchval("SELECT count(*) FROM api_audit") == 1
    tables = await sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in tables:
        rows = await sql.fetch(f"SELECT * FROM {table['tablename']}")
        assert CANARY not in str(rows), table
        assert CANARY.encode() not in b"".join(
            value for row in rows for value in row.values() if isinstance(value, bytes)
        )


async def test_a_body_that_was_understood_is_kept_as_it_came(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """To the byte: nothing in it is anybody's secret."""
    body = b'{ "amount": 1.50, "metadata": {"b": 1, "a": "\xc3\xa9"} }'

    await api.post(DEPOSIT, content=body, headers=JSON)

    assert bytes(await sql.fetchval("SELECT body FROM api_audit")) == body


def test_every_body_and_address_of_ours_is_known() -> None:
    """A member of a schema, a word or an id of a route that the audit would drop is named here."""
    app = describe()
    for route in app.routes:
        spelled = re.sub(r"\{[^}]*\}", "some-id", route.path)
        if not route.path.startswith(("/docs", "/schema")):
            assert kept_address(spelled) == spelled
    for body in _bodies(app):
        for name in get_type_hints(body):
            wire = body.__struct_encode_fields__[body.__struct_fields__.index(name)]
            assert wire in SHAPE, f"{body.__name__}.{wire}"
    assert SHAPE["metadata"] is Part.METADATA
    assert not PLACES.parameters & {"token", "access_token", "metadata"}


def _bodies(app: Litestar) -> list[type[msgspec.Struct]]:
    found = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            data = handler.parsed_fn_signature.parameters.get("data")
            if data is not None:
                found.append(data.annotation)
    assert found
    return found
