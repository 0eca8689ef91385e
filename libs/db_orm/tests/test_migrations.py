"""This module is where the schema's history is walked, and its end compared with the models."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from wallet_db_orm import migrations
from wallet_db_orm.catalogue import DECLARED, DECLARED_FILE
from wallet_db_orm.models import metadata
from wallet_db_orm.storage import APPEND_ONLY, AUDIT_PARTITION

# Each asks the catalogue for one kind of thing, as PostgreSQL itself would write it down.
CATALOGUE = {
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) AS place,
            a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'c')
            AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "storage": """
        SELECT relname, relkind, reloptions, pg_get_expr(relpartbound, oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": """
        SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace
    """,
    "triggers": """
        SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    """,
}

PASSING = re.compile(AUDIT_PARTITION.replace("rest|", "") + "|alembic_version")


def catalogue(url: str) -> dict[str, list[str]]:
    """
    Return everything in PostgreSQL's words, sorted.

    Left out are alembic's own table, and the partitions that depend on the day: of these the
    rest stands for all.
    """

    async def read() -> dict[str, list[str]]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            found = {kind: await connection.fetch(sql) for kind, sql in CATALOGUE.items()}
        finally:
            await connection.close()
        return {
            kind: sorted(text for row in rows if not PASSING.search(text := str(row)))
            for kind, rows in found.items()
        }

    return asyncio.run(read())


def create_all(url: str) -> None:
    async def create() -> None:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    asyncio.run(create())


def test_migrations_and_models_make_the_same_database(
    database_url: str, empty_database_url: str
) -> None:
    """Columns, records, constraints, triggers and functions are equal down to their text."""
    create_all(empty_database_url)

    modelled, migrated = catalogue(empty_database_url), catalogue(database_url)

    assert migrated == modelled
    assert all(migrated.values()), "an empty catalogue would equal anything"


def test_alembic_finds_nothing_left_to_migrate(database_url: str) -> None:
    """The autogenerator sees no difference either: the next revision starts empty."""
    command.check(migrations.configuration(database_url))


def test_every_revision_goes_up_and_down_and_up_again(empty_database_url: str) -> None:
    """Each revision can be undone and redone, and leaves the same database both times."""
    configuration = migrations.configuration(empty_database_url)
    empty = catalogue(empty_database_url)
    history = list(ScriptDirectory.from_config(configuration).walk_revisions())

    for revision in reversed(history):
        before = catalogue(empty_database_url)
        migrations.upgrade(empty_database_url, revision.revision)
        after = catalogue(empty_database_url)
        command.downgrade(configuration, "-1")
        assert catalogue(empty_database_url) == before
        migrations.upgrade(empty_database_url, revision.revision)
        assert catalogue(empty_database_url) == after

    command.downgrade(configuration, "base")
    assert catalogue(empty_database_url) == empty


def test_there_is_one_history(database_url: str) -> None:
    """The revisions form one line from the first to a single head."""
    scripts = ScriptDirectory.from_config(migrations.configuration(database_url))

    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert all(not revision.is_branch_point for revision in scripts.walk_revisions())


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    """Three migrations at once: one works, the others wait and find nothing to do."""
    start = "import sys; from wallet_db_orm import migrations; migrations.upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", start, empty_database_url], stderr=subprocess.PIPE)
        for _ in range(3)
    ]

    ends = [(process.communicate(timeout=30)[1], process.returncode) for process in processes]

    assert ends == [(b"", 0)] * 3
    assert any("ledger_entries" in column for column in catalogue(empty_database_url)["columns"])


def test_money_is_kept_in_whole_minor_units() -> None:
    """No column holds a fraction: what is money is a BIGINT whose name ends in `_minor`."""
    columns = [column for table in metadata.tables.values() for column in table.columns]

    kinds = {str(each.type) for each in columns}
    assert not kinds & {"NUMERIC", "FLOAT", "REAL", "DOUBLE", "DOUBLE PRECISION", "MONEY"}
    money = [each for each in columns if "amount" in each.name or "balance" in each.name]
    assert {(str(each.type), each.name[-6:]) for each in money} == {("BIGINT", "_minor")}


def test_append_only_tables_are_those_of_the_contract() -> None:
    """Entries, events, operations and audit rows are the ones that nobody may change."""
    assert set(APPEND_ONLY) == {"ledger_entries", "events", "operations", "api_audit"}


async def test_the_proof_knows_the_schema_by_its_wording(database_url: str, tmp_path: Path) -> None:
    """What L6 compares with is what the migrations make; a change of theirs is taken over there."""
    made: dict[str, dict[str, dict[str, str]]] = {}
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        for kind, query in DECLARED.items():
            rows = (await connection.execute(text(query))).all()
            made[kind] = {}
            for row in sorted(rows, key=lambda each: (each.table, each.name)):
                made[kind].setdefault(row.table, {})[row.name] = row.definition
    await engine.dispose()
    (tmp_path / "declared.json").write_text(json.dumps(made, indent=2) + "\n")

    kept = json.loads(DECLARED_FILE.read_text())
    assert kept == made, f"take over {tmp_path / 'declared.json'} as {DECLARED_FILE}"
    assert kept["column"].keys() == kept["constraint"].keys() == metadata.tables.keys()
