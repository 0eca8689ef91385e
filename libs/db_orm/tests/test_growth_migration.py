"""This module is where a database with years of audit rows becomes one with partitions."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from alembic import command

from wallet_db_orm import migrations
from wallet_db_orm.ids import new_id
from wallet_db_orm.partitions import first_id, month_after
from wallet_tools.postgres import PostgresServer

NOW = datetime.now(UTC)
OLD = str(first_id(month_after(NOW, -30)))
FAR = "ffffffff-0000-7000-8000-000000000000"
ROW = "clock_timestamp(), 'POST', '/', '', '{}', NULL, 201, NULL, NULL, NULL, 't', 1"
INSERT = f"INSERT INTO api_audit SELECT $1, {ROW} ON CONFLICT DO NOTHING"


class Old:
    """A database at the first revision, with rows, and the way up from there."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self._admin_url = admin_url
        migrations.upgrade(url, "0001")

    def upgrade(self, revision: str = "head") -> None:
        migrations.upgrade(self.url, revision)

    def execute(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        return asyncio.run(self._execute(sql, arguments))

    def homes(self) -> dict[str, str]:
        """Return, by id, the table in which each row is."""
        rows = self.execute("SELECT id::text, tableoid::regclass::text AS home FROM api_audit")
        return {row["id"]: row["home"] for row in rows}

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._admin_url)

    async def _execute(self, sql: str, arguments: tuple[object, ...]) -> list[dict[str, Any]]:
        connection = await self.connect()
        try:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()


@pytest.fixture
def old(postgres_server: PostgresServer, empty_database_url: str) -> Old:
    """Return a database from before there were partitions."""
    name = empty_database_url.rpartition("/")[2]
    return Old(empty_database_url, postgres_server.url(name))


def test_rows_stay_where_they_are_and_a_wrong_clock_s_go_to_the_rest(old: Old) -> None:
    """Nothing is lost; the old table is the first partition; an id of the far future is no bar."""
    recent = new_id()
    for audit_id in (OLD, recent, FAR):
        old.execute(INSERT, audit_id)
    file = "SELECT pg_relation_filenode($1::regclass) AS node"
    before = old.execute(file, "api_audit")

    old.upgrade()

    assert old.homes() == {OLD: "api_audit_first", recent: "api_audit_first", FAR: "api_audit_rest"}
    assert old.execute(file, "api_audit_first") == before, "the rows were not copied"
    left = "SELECT conname FROM pg_constraint WHERE conname = 'all_is_before'"
    assert old.execute(left) == []


def test_what_is_there_is_read_once_and_not_under_the_lock(old: Old) -> None:
    """The old rows are looked at by the validation, which stops nobody; attaching trusts it."""
    many = f"INSERT INTO api_audit SELECT uuidv7(), {ROW} FROM generate_series(1, 1000)"
    old.execute(many)

    old.upgrade("0002")

    read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'api_audit_first'"
    assert 1000 <= old.execute(read)[0]["seq_tup_read"] < 2000
    assert old.execute("SELECT count(*) AS rows FROM api_audit") == [{"rows": 1000}]


def test_a_migration_that_was_broken_off_is_repeated(old: Old) -> None:
    """A constraint that an earlier attempt left behind, even one of another month, is replaced."""
    old.execute(INSERT, OLD)
    check = f"CHECK (id < '{first_id(month_after(NOW, 1))}') NOT VALID"
    old.execute(f"ALTER TABLE api_audit ADD CONSTRAINT all_is_before {check}")

    old.upgrade()

    assert old.homes() == {OLD: "api_audit_first"}


async def test_writers_go_on_while_the_migration_waits_for_a_reader(
    old: Old, until: Callable[..., Awaitable[bool]]
) -> None:
    """A long reader holds the migration up and nobody else: each attempt is given up soon."""
    reader, writer = await old.connect(), await old.connect()
    waits_s: list[float] = []
    try:
        await reader.execute("BEGIN")
        await reader.execute("SELECT count(*) FROM api_audit")
        migration = asyncio.create_task(asyncio.to_thread(old.upgrade))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        for _ in range(3):
            assert await until(lambda: writer.fetchval(waiting))
            began_s = time.monotonic()
            await writer.execute(INSERT, new_id())
            waits_s.append(time.monotonic() - began_s)
        await reader.execute("COMMIT")
        await migration
        await writer.execute(INSERT, new_id())
        assert await writer.fetchval("SELECT count(*) FROM api_audit") == 4
    finally:
        await reader.close()
        await writer.close()
    assert max(waits_s) < 1


def test_down_again_every_row_is_in_one_table(old: Old) -> None:
    """The way back keeps rows of the first partition, of a month and of the rest."""
    old.execute(INSERT, OLD)
    old.upgrade()
    later = str(first_id(month_after(NOW, 3)))
    for audit_id in (later, FAR):
        old.execute(INSERT, audit_id)
    assert old.homes()[later] == f"api_audit_{month_after(NOW, 3):%Y_%m}"

    command.downgrade(migrations.configuration(old.url), "0001")

    assert old.homes() == dict.fromkeys((OLD, later, FAR), "api_audit")
    with pytest.raises(asyncpg.RestrictViolationError):
        old.execute("DELETE FROM api_audit")


def test_a_new_database_has_no_first_partition(
    database_url: str, postgres_server: PostgresServer
) -> None:
    """Where there were no rows, months begin with this one."""
    tables = postgres_server.execute(
        "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'api_audit'::regclass",
        database_url.rpartition("/")[2],
    )
    months = [f"api_audit_{month_after(NOW, ahead):%Y_%m}" for ahead in range(4)]
    assert sorted(tables.split()) == sorted([*months, "api_audit_rest"])
