"""This module is where it is asked whether the database itself still keeps what it promised."""

from collections.abc import Sequence
from typing import Final

from wallet_db_orm import catalogue, storage
from wallet_db_orm.database import Driver
from wallet_db_orm.examination import Examination, Scope, Tally

# What a commit that was answered must survive; the second value of one is even stronger.
_DURABLE: Final = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "remote_apply"},
}

_SET_FOR_SOME: Final = """
SELECT coalesce(r.rolname, 'every role') AS role, coalesce(d.datname, 'every database') AS database,
    split_part(kept, '=', 1) AS name, split_part(kept, '=', 2) AS value
FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS kept
LEFT JOIN pg_roles AS r ON r.oid = s.setrole
LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
WHERE d.datname IS NULL OR d.datname = current_database()
"""
_TRIGGERS: Final = """
SELECT tgrelid::regclass::text AS table, tgname AS name, tgenabled = 'A' AS holds
FROM pg_trigger
WHERE NOT tgisinternal AND tgqual IS NULL AND tgfoid = (
    SELECT oid FROM pg_proc
    WHERE proname = 'refuse_change' AND pronamespace = 'public'::regnamespace
)
"""
# Each has triggers of its own: the parent's say nothing of a statement that names the partition.
_PARTITIONS: Final = f"""
SELECT inhrelid::regclass::text AS table FROM pg_inherits
WHERE inhparent = '{storage.AUDIT}'::regclass
"""  # noqa: S608  # a constant
_REFUSAL: Final = """
SELECT prosrc FROM pg_proc
WHERE proname = 'refuse_change' AND pronamespace = 'public'::regnamespace
"""
_INEXACT: Final = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
    AND NOT a.attisdropped AND (
        a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'money'::regtype, 'numeric'::regtype)
        OR (a.attname LIKE '%\\_minor' AND a.atttypid <> 'bigint'::regtype)
    )
"""
_POWERS: Final = """
SELECT DISTINCT r.rolname AS role,
    CASE WHEN r.rolsuper THEN 'is a superuser'
        WHEN r.rolbypassrls THEN 'bypasses row security'
        WHEN r.rolcreatedb OR r.rolcreaterole THEN 'may create databases or roles'
        ELSE 'owns ' || c.relname END AS has
FROM pg_roles AS r
LEFT JOIN pg_class AS c
    ON c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I')
        AND pg_has_role(r.oid, c.relowner, 'MEMBER')
WHERE r.rolname = ANY($1::text[]) AND (
    r.rolsuper OR r.rolbypassrls OR r.rolcreatedb OR r.rolcreaterole OR c.oid IS NOT NULL
)
UNION ALL
SELECT r.rolname, 'is a member of ' || g.rolname
FROM pg_roles AS r JOIN pg_roles AS g ON g.oid <> r.oid AND pg_has_role(r.oid, g.oid, 'MEMBER')
WHERE r.rolname = ANY($1::text[]) AND NOT r.rolsuper AND (
    g.rolsuper OR g.rolbypassrls OR g.rolname IN (
        'pg_write_all_data', 'pg_maintain', 'pg_write_server_files', 'pg_execute_server_program'
    )
)
"""


async def _durable(driver: Driver, _: Scope, tally: Tally) -> None:
    for name, good in _DURABLE.items():
        value = await driver.fetchval("SELECT current_setting($1)", name)
        tally.checked += 1
        if value not in good:
            tally.violated(None, setting=name, value=value, role="this session")
    for row in await driver.fetch(_SET_FOR_SOME):
        tally.checked += 1
        if row["value"] not in _DURABLE.get(row["name"], {row["value"]}):
            where = {"role": row["role"], "database": row["database"]}
            tally.violated(None, setting=row["name"], value=row["value"], **where)


async def _enforced(driver: Driver, _: Scope, tally: Tally) -> None:
    await catalogue.compare(driver, tally)
    await catalogue.compare_grants(driver, tally)
    partitions = [row["table"] for row in await driver.fetch(_PARTITIONS)]
    await _triggered(driver, tally, partitions)
    sources = {row["prosrc"].strip() for row in await driver.fetch(_REFUSAL)}
    if sources != {storage.REFUSE_CHANGE.split("$$")[1].strip()}:
        tally.violated(None, function="refuse_change", **{"is": "not what was declared"})
    for row in await driver.fetch(_INEXACT):
        tally.violated(None, table=row["table"], column=row["column"], type=row["type"])
    for row in await driver.fetch(_POWERS, list(catalogue.APPLICATION_ROLES)):
        tally.violated(None, role=row["role"], has=row["has"])


async def _triggered(driver: Driver, tally: Tally, partitions: Sequence[str]) -> None:
    there = {(row["table"], row["name"]): row["holds"] for row in await driver.fetch(_TRIGGERS)}
    for table in sorted(partitions):
        for name in ("append_only_rows", "append_only_table"):
            tally.checked += 1
            if not there.get((table, name), False):
                state = "not enforced" if (table, name) in there else "missing"
                tally.violated(None, table=table, trigger=name, **{"is": state})


OF_THE_SERVER: Final = (
    Examination("L5", "what was committed survives: nothing is traded for speed", _durable),
    Examination(
        "L6",
        "the schema enforces what it declares: checks, keys, append-only, exact money, plain roles",
        _enforced,
    ),
)
