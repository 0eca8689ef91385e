"""This module is where alembic meets the database; alembic runs it."""

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from wallet_db_orm.models import metadata
from wallet_db_orm.roles import BECOME_OWNER, MIGRATION_LOCK
from wallet_db_orm.storage import AUDIT_PARTITION


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        include_name=_is_declared,
    )
    with context.begin_transaction():
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        # Two starting processes may migrate at once: the second finds nothing left to do.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        connection.exec_driver_sql(BECOME_OWNER)
        context.run_migrations()


def _is_declared(name: str | None, kind: str, _: MutableMapping[Any, Any]) -> bool:
    """Whether the models are to know it; partitions come and go with the months."""
    return kind != "table" or re.fullmatch(AUDIT_PARTITION, name or "") is None


async def _run() -> None:
    engine = create_async_engine(context.config.attributes["database_url"], poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_run())
