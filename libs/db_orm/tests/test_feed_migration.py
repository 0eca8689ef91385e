"""This module is where a database whose events have left already gets its feed."""

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy.exc import DBAPIError

from wallet_db_orm import migrations
from wallet_tools.postgres import PostgresServer

EVENTS = """
    INSERT INTO events (wallet_id, id, wallet_version, type, payload, occurred_at)
    SELECT 'w' || wallet, gen_random_uuid(), version, 'FundsDeposited', '{}',
        timestamptz '2026-01-01' + (version / 2) * interval '1 second'
    FROM generate_series(1, 3) AS wallet, generate_series(1, 50) AS version
"""
WAITING = """
    INSERT INTO outbox (wallet_id, event_id)
    SELECT wallet_id, id FROM events WHERE wallet_version > 40 ORDER BY wallet_version
"""


class Old:
    """A database at the revision before the feed."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self._admin_url = admin_url
        migrations.upgrade(url, "0002")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async def fetch() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self._admin_url)
            try:
                return [tuple(row.values()) for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        return asyncio.run(fetch())


@pytest.fixture
def old(postgres_server: PostgresServer, empty_database_url: str) -> Old:
    name = empty_database_url.rpartition("/")[2]
    return Old(empty_database_url, postgres_server.url(name))


def test_what_has_left_gets_its_place_and_what_waits_does_not(old: Old) -> None:
    """Each event that is not in the outbox has one place, those of a wallet in their order."""
    old.rows(EVENTS)
    old.rows(WAITING)

    migrations.upgrade(old.url)

    fed = old.rows("""
        SELECT f.position, e.wallet_id, e.wallet_version FROM feed AS f
        JOIN events AS e ON e.wallet_id = f.wallet_id AND e.id = f.event_id ORDER BY 1
    """)
    assert [position for position, _, _ in fed] == list(range(1, 121))
    for wallet_id in ("w1", "w2", "w3"):
        versions = [version for _, name, version in fed if name == wallet_id]
        assert versions == list(range(1, 41))


def test_there_is_no_way_back_from_what_other_services_rely_on(old: Old) -> None:
    """A settled transaction must not be forgotten: it would be settled a second time."""
    migrations.upgrade(old.url)
    old.rows("INSERT INTO settlements (transaction_id, state) VALUES ('t1', 'failed')")

    with pytest.raises(DBAPIError, match="no way back"):
        command.downgrade(migrations.configuration(old.url), "0002")

    assert old.rows("SELECT transaction_id FROM settlements") == [("t1",)]
