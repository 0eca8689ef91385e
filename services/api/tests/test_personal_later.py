"""Promises about personal data whose key was declared when some of it had been stored already."""

from collections.abc import Callable
from typing import Any

import asyncpg

from wallet_api.settings import ApiSettings
from wallet_db_orm import late_seals
from wallet_db_orm.database import Database
from wallet_db_orm.vault import Vault

ADA = {"email": "ada@example.org", "phone": 123, "tier": 1}
ERASED = {"email": "[erased]", "phone": "[erased]", "tier": 1}


async def test_what_was_stored_before_reads_the_same_once_sealed(
    configured: Callable[..., ApiSettings],
    client_of: Callable[[ApiSettings], Any],
    sql: asyncpg.Connection,
) -> None:
    """Plain, then declared, then sealed: shown as ever, found, and gone with its owner's key."""
    async with client_of(configured()) as client:
        body = {"id": "w", "ownerId": "ada", "metadata": ADA}
        assert (await client.post("/v1/wallets", json=body)).status_code == 201
    settings = configured(
        WALLET_PII_METADATA_KEYS="email,phone", WALLET_MASTER_KEY=bytes(range(32)).hex()
    )
    async with client_of(settings) as client:

        async def shown() -> Any:  # noqa: ANN401  # JSON
            return (await client.get("/v1/wallets/w")).json()["metadata"]

        assert await shown() == ADA
        await seal(settings)

        assert "ada@" not in await sql.fetchval("SELECT metadata::text FROM wallets")
        assert await shown() == ADA
        found = await client.get("/v1/wallets", params={"metadata": "email:ada@example.org"})
        assert [each["walletId"] for each in found.json()["items"]] == ["w"]
        erased = await client.post("/v1/admin/owners/ada/erase", json={"reason": "a test"})
        assert erased.status_code == 201
        assert await shown() == ERASED


async def seal(settings: ApiSettings) -> None:
    """Do what `wallet keys seal` does."""
    database = Database(settings.database_url.get_secret_value(), application_name="wallet-cli")
    vault = Vault(settings.master_keys)
    await late_seals.seal(database.primary, vault, settings.pii_keys, after="", limit=9)
    await database.dispose()
