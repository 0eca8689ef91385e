"""Promises about the personal data of wallets that are frozen: it is told, and decides nothing."""

from collections.abc import Callable
from typing import Any

import asyncpg

from wallet_api.settings import ApiSettings

FREEZE = {"direction": "out", "reason": "asked", "requestId": "f"}
ADA = {"email": "ada@example.org", "tier": 1}
SPOILT = """
UPDATE owner_keys SET wrapped = (SELECT wrapped FROM owner_keys WHERE owner_id = 'cid')
WHERE owner_id = 'bob'
"""


async def test_what_cannot_be_read_keeps_no_wallet_from_being_frozen(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    sql: asyncpg.Connection,
) -> None:
    """It is marked in the answer; a repetition does not tell again what was erased since."""
    key = bytes(range(32)).hex()
    settings = configured(WALLET_PII_METADATA_KEYS="email", WALLET_MASTER_KEY=key)
    async with client_of(settings) as api:
        for owner in ("ada", "bob", "cid"):
            body = {"id": f"{owner}s", "ownerId": owner, "metadata": ADA}
            assert (await api.post("/v1/wallets", json=body)).status_code == 201
        first = await api.post("/v1/wallets/adas/freeze", json=FREEZE)
        await api.post("/v1/admin/owners/ada/erase", json={"reason": "asked"})
        await sql.execute(SPOILT)

        again = await api.post("/v1/wallets/adas/freeze", json=FREEZE)
        marked = await api.post("/v1/wallets/bobs/freeze", json=FREEZE)
        recorded = await api.get("/v1/wallets/bobs/operations/f")

    assert first.json()["metadata"] == ADA
    assert again.json() == first.json() | {"metadata": ADA | {"email": "[erased]"}}
    assert (marked.status_code, marked.json()["status"]) == (201, "frozen")
    assert marked.json()["metadata"] == ADA | {"email": "[unreadable]"}
    assert recorded.json()["response"] == marked.json()
