"""This module is where the past refuses to be changed, whoever asks."""

from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_db_orm.storage import APPEND_ONLY

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

ATTEMPTS = (
    "UPDATE {table} SET trace_id = 'forged'",
    "UPDATE {table} SET trace_id = trace_id",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "TRUNCATE wallets, {table} CASCADE",
)


async def test_append_only_tables_refuse_every_change(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """UPDATE, DELETE and TRUNCATE raise for owner, superuser and superuser in replica mode."""
    await ledger.post(a.deposit("w1", "5.00"), audited=True)
    before = {table: await books.rows(f"SELECT * FROM {table}") for table in APPEND_ONLY}

    for url, role in [
        (ledger.url.replace("+asyncpg", ""), None),
        *((books.url, "origin"), (books.url, "replica"), (books.url, "local")),
    ]:
        connection = await asyncpg.connect(url)
        try:
            if role is not None:
                await connection.execute(f"SET session_replication_role = {role}")
            for table in APPEND_ONLY:
                for attempt in ATTEMPTS:
                    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                        await connection.execute(attempt.format(table=table))
        finally:
            await connection.close()

    assert {table: await books.rows(f"SELECT * FROM {table}") for table in APPEND_ONLY} == before
    assert all(before.values())


async def test_the_service_role_cannot_switch_to_replica_mode(ledger: "Ledger") -> None:
    """The role that owns the books is no superuser: it may not turn triggers off by setting."""
    connection = await asyncpg.connect(ledger.url.replace("+asyncpg", ""))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SET session_replication_role = replica")
    finally:
        await connection.close()


async def test_an_upsert_changes_no_row_of_the_past(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """ON CONFLICT DO UPDATE is an update too."""
    await ledger.post(a.deposit("w1", "5.00"))

    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await books.execute(
            "INSERT INTO ledger_entries SELECT * FROM ledger_entries"
            " ON CONFLICT (wallet_id, wallet_version) DO UPDATE SET amount_minor = 1"
        )
