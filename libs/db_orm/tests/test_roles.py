"""This module is where each database role is shown to be able to do its work and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from wallet_db_orm import migrations, partitions, roles
from wallet_db_orm.database import Database
from wallet_db_orm.models import metadata
from wallet_db_orm.storage import APPEND_ONLY
from wallet_tools.postgres import PostgresServer

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

APPLICATIONS = (roles.API, roles.WORKER, roles.READONLY)
REFUSED = (
    "UPDATE {table} SET trace_id = 'forged'",
    "UPDATE {table} SET trace_id = trace_id WHERE false",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE false",
    "TRUNCATE {table}",
    "DROP TABLE {table}",
    "ALTER TABLE {table} DISABLE TRIGGER append_only_rows",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} ADD COLUMN more text",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "CREATE RULE nothing AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "CREATE TRIGGER own BEFORE INSERT ON {table} EXECUTE FUNCTION refuse_change()",
    "DROP TRIGGER append_only_table ON {table}",
    "CREATE INDEX own ON {table} (trace_id)",
    "SELECT FROM {table} FOR UPDATE",
    "DO $$ BEGIN LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; END $$",
)
REFUSED_ANYWHERE = (
    "SET session_replication_role = replica",
    "CREATE TABLE own (id int)",
    "CREATE TEMPORARY TABLE own (id int)",
    "CREATE SCHEMA own",
    "CREATE FUNCTION own() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "DROP FUNCTION make_audit_month(date)",
    "SET ROLE wallet_owner",
    "SET ROLE postgres",
    "CREATE ROLE own",
    "ALTER ROLE wallet_owner NOLOGIN",
    "COPY wallets TO PROGRAM 'true'",
    "ALTER SYSTEM SET fsync = off",
)
PER_TABLE = ("INSERT", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@pytest.fixture
async def enter(postgres_server: PostgresServer, database_url: str) -> Callable[[str], Any]:
    """Return the way into this test's database as one of its roles."""
    name = database_url.rpartition("/")[2]
    # Privileges on a database are not copied with its template.
    postgres_server.ensure_database(name)

    @asynccontextmanager
    async def entered(role: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(postgres_server.url(name, role))
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    return entered


@pytest.mark.parametrize("role", APPLICATIONS)
async def test_no_application_role_changes_the_past(
    ledger: "Ledger", books: "Books", a: "Builders", enter: Callable[[str], Any], role: str
) -> None:
    """Whatever would change an append-only table or its refusals raises, in its partitions too."""
    await ledger.post(a.deposit("w1", "5.00"), audited=True)
    months = await partitions.partitions(ledger.database.primary)
    tables = [*APPEND_ONLY, *(each.name for each in months)]
    before = {table: await books.rows(f"SELECT * FROM {table}") for table in tables}

    async with enter(role) as connection:
        for statement in [*(each.format(table=t) for t in tables for each in REFUSED)]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        for statement in REFUSED_ANYWHERE:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        for month in months:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"INSERT INTO {month.name} SELECT * FROM api_audit")

    assert {table: await books.rows(f"SELECT * FROM {table}") for table in tables} == before


async def test_each_role_may_do_exactly_what_is_declared(
    books: "Books", enter: Callable[[str], Any]
) -> None:
    """Tables, columns and functions: the catalogue says what PRIVILEGES says, and no more."""
    for role in APPLICATIONS:
        for table in roles.PRIVILEGES:
            declared = roles.PRIVILEGES[table].get(role, "")
            held = [each for each in PER_TABLE if await may(books, role, table, each)]
            assert held == [each for each in PER_TABLE if each in declared], (role, table)
            assert await may(books, role, table, "SELECT"), (role, table)
            updated = declared.partition("UPDATE (")[2].partition(")")[0]
            columns = await books.value(
                "SELECT coalesce(string_agg(attname, ', ' ORDER BY attname), '') FROM pg_attribute"
                " WHERE attrelid = $2::regclass AND attnum > 0"
                " AND has_column_privilege($1::text, $2::text, attnum, 'UPDATE')",
                *(role, table),
            )
            assert columns == ", ".join(sorted(filter(None, updated.split(", ")))), (role, table)
    functions = await books.rows(
        "SELECT rolname, proname FROM pg_roles CROSS JOIN pg_proc"
        " WHERE rolname = ANY($1) AND pronamespace = 'public'::regnamespace"
        " AND has_function_privilege(rolname, pg_proc.oid, 'EXECUTE')",
        APPLICATIONS,
    )
    assert {(row["rolname"], row["proname"]) for row in functions} == {
        (roles.API, "make_audit_month"),
        (roles.WORKER, "make_audit_month"),
    }


async def may(books: "Books", role: str, table: str, privilege: str) -> bool:
    asked = "SELECT has_table_privilege($1::text, $2::text, $3::text)"
    return bool(await books.value(asked, role, table, privilege))


def test_every_table_is_declared() -> None:
    """A new table needs an entry: who may do what with it."""
    assert roles.PRIVILEGES.keys() == {*metadata.tables, "alembic_version"}


async def test_no_role_has_more_than_its_name_says(
    books: "Books", enter: Callable[[str], Any]
) -> None:
    """No role is a superuser, creates anything, goes around row security or belongs to another."""
    rows = await books.rows(
        "SELECT rolname, rolcanlogin FROM pg_roles AS r WHERE rolname = ANY($1)"
        " AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
        " AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)",
        roles.ROLES,
    )

    assert {row["rolname"]: row["rolcanlogin"] for row in rows} == dict.fromkeys(roles.ROLES, True)


async def test_the_owner_owns_everything(books: "Books", enter: Callable[[str], Any]) -> None:
    """Database, schema, tables, partitions and functions belong to the role that migrates."""
    owned = await books.rows(
        "SELECT DISTINCT pg_get_userbyid(o) AS owner FROM ("
        " SELECT relowner AS o FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'public'"
        " UNION ALL SELECT datdba FROM pg_database WHERE datname = current_database()) AS all_of_it"
    )

    assert [row["owner"] for row in owned] == [roles.OWNER]


@pytest.mark.parametrize("role", [roles.API, roles.WORKER])
async def test_a_service_makes_the_coming_months(
    ledger: "Ledger",
    books: "Books",
    enter: Callable[[str], Any],
    postgres_server: PostgresServer,
    role: str,
) -> None:
    """Without any right to create a table; the months that come are closed to it as the others."""
    url = postgres_server.url(ledger.url.rpartition("/")[2], role)
    database = Database(url, application_name="wallet-test")
    try:
        made = await partitions.ensure(database.primary, months_ahead=5)
    finally:
        await database.dispose()

    assert len(made.created) == 2
    async with enter(role) as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {made.created[0]}") == 0
        for attempt in ("UPDATE {} SET trace_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attempt.format(made.created[0]))
        for month in ("2026-11-02", "2999-01-01", "1999-01-01"):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await connection.execute(f"SELECT make_audit_month('{month}')")


async def test_a_function_of_the_owners_reads_no_strangers_table(
    books: "Books", enter: Callable[[str], Any]
) -> None:
    """Its names mean our tables, whatever search path its caller has."""
    async with enter(roles.WORKER) as connection:
        await connection.execute("SET search_path = pg_temp, information_schema")

        month = "(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '7 months')::date"
        made = await connection.fetchval(f"SELECT public.make_audit_month({month})")

    assert made == "made"


def test_an_installation_of_another_owner_is_handed_over(
    postgres_server: PostgresServer, empty_database_url: str
) -> None:
    """Everything becomes the owner's, each thing is told, and a second time there is nothing."""
    name = empty_database_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} OWNER TO postgres")
    postgres_server.execute("ALTER SCHEMA public OWNER TO postgres", name)
    migrations.upgrade(postgres_server.url(name), "0003")
    postgres_server.execute("INSERT INTO feed VALUES (1, 'w', gen_random_uuid())", name)

    told: list[str] = []
    migrations.prepare(postgres_server.url(name), {}, told.append)
    again: list[str] = []
    migrations.prepare(postgres_server.url(name), {}, again.append)
    missing = migrations.upgrade(postgres_server.url(name))

    assert f"handed the database {name} to wallet_owner" in told
    assert "handed ledger_entries to wallet_owner" in told
    assert "handed refuse_change() to wallet_owner" in told
    assert again == []
    assert missing == ()
    owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert postgres_server.execute(owner, name) == roles.OWNER
    assert postgres_server.execute("SELECT count(*) FROM feed", name) == "1"
