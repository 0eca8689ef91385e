"""This module is where the schema that is there is compared with the one that was declared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from wallet_db_orm.database import Driver, Row
from wallet_db_orm.examination import Tally
from wallet_db_orm.roles import API, PRIVILEGES, READONLY, WORKER
from wallet_db_orm.storage import AUDIT

# Roles that only use the tables.
APPLICATION_ROLES: Final = (API, WORKER, READONLY)
DECLARED_FILE: Final = Path(__file__).with_name("declared.json")

# Partitions come and go, and repeat what their parent has.
_OURS: Final = """
SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT relispartition AND relname <> 'alembic_version'
"""
# By kind: each thing's table and name, its wording in the server's own words (18's), and whether
# it is in force. The index of a key is the key's.
DECLARED: Final = {
    "constraint": f"""
        SELECT conrelid::regclass::text AS table, conname AS name,
            pg_get_constraintdef(oid) AS definition, convalidated AND conenforced AS holds
        FROM pg_constraint WHERE contype IN ('c', 'p', 'u', 'f') AND conrelid IN ({_OURS})
    """,  # noqa: S608  # a constant
    "trigger": f"""
        SELECT tgrelid::regclass::text AS table, tgname AS name,
            pg_get_triggerdef(oid) AS definition, tgenabled = 'A' AS holds
        FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ({_OURS})
    """,  # noqa: S608  # a constant
    "index": f"""
        SELECT indrelid::regclass::text AS table, indexrelid::regclass::text AS name,
            pg_get_indexdef(indexrelid) AS definition, indisvalid AND indisready AS holds
        FROM pg_index WHERE indrelid IN ({_OURS})
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    """,  # noqa: S608  # a constant
    "column": f"""
        SELECT attrelid::regclass::text AS table, attname AS name,
            CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'NULL' END AS definition, true AS holds
        FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid IN ({_OURS})
    """,  # noqa: S608  # a constant
}
_Wordings = dict[str, dict[str, dict[str, str]]]
# What nobody declared, and what makes rows vanish or be others than was written.
_STRANGE: Final = f"""
SELECT tgrelid::regclass::text AS table, 'trigger' AS kind, tgname AS name FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid IN (SELECT inhrelid FROM pg_inherits)
    AND tgname NOT IN ('append_only_rows', 'append_only_table')
UNION ALL
SELECT ev_class::regclass::text, 'rule', rulename FROM pg_rewrite
JOIN pg_class AS c ON c.oid = ev_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
UNION ALL
SELECT polrelid::regclass::text, 'policy', polname FROM pg_policy
UNION ALL
SELECT oid::regclass::text, 'row security', relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND (relrowsecurity OR relforcerowsecurity)
UNION ALL
SELECT '{AUDIT}', 'event trigger', evtname FROM pg_event_trigger
"""  # noqa: S608  # a constant
_GRANTED: Final = """
SELECT c.relname AS table, coalesce(r.rolname, 'PUBLIC') AS role, a.privilege_type AS privilege,
    g.column, c.relispartition AS is_part
FROM pg_class AS c
CROSS JOIN LATERAL (
    SELECT NULL AS column, c.relacl AS acl
    UNION ALL
    SELECT attname, attacl FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped
) AS g
CROSS JOIN LATERAL aclexplode(g.acl) AS a
LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND (a.grantee = 0 OR r.rolname = ANY($1::text[]))
"""


async def compare(driver: Driver, tally: Tally) -> None:
    """Compare constraints, triggers, indexes and NOT NULL with what the migrations make."""
    declared = msgspec.json.decode(DECLARED_FILE.read_bytes(), type=_Wordings)
    for kind, query in DECLARED.items():
        there = {(row["table"], row["name"]): row for row in await driver.fetch(query)}
        wanted = {
            (table, name): definition
            for table, named in declared[kind].items()
            for name, definition in named.items()
        }
        for (table, name), definition in wanted.items():
            tally.checked += 1
            if trouble := _trouble(there.get((table, name)), definition):
                tally.violated(None, table=table, **{kind: name, "is": trouble})
        # A constraint more refuses more, and an index more is found by nobody's absence.
        for table, name in sorted(there.keys() - wanted.keys()) if kind == "trigger" else ():
            tally.violated(None, table=table, **{kind: name, "is": "not declared"})
    for row in await driver.fetch(_STRANGE):
        tally.violated(None, table=row["table"], **{row["kind"]: row["name"], "is": "not declared"})


def _trouble(found: Row | None, definition: str) -> str | None:
    if found is None:
        return "missing"
    if not found["holds"]:
        return "not enforced"
    return None if found["definition"] == definition else "not what was declared"


async def compare_grants(driver: Driver, tally: Tally) -> None:
    """Tell what a role of the application, or everybody, may do beyond what was declared."""
    for row in await driver.fetch(_GRANTED, list(APPLICATION_ROLES)):
        tally.checked += 1
        privilege, column = row["privilege"], row["column"]
        if row["role"] in APPLICATION_ROLES and privilege == "SELECT":
            continue
        granted = {} if row["is_part"] else PRIVILEGES.get(row["table"], {})
        if (privilege, column) not in set(_parsed(granted.get(row["role"], ""))):
            where = {"table": row["table"], "role": row["role"]}
            tally.violated(None, **where, may=f"{privilege} ({column})" if column else privilege)


def _parsed(privileges: str) -> Iterator[tuple[str, str | None]]:
    """Read `INSERT, UPDATE (a, b)`."""
    last = ""
    for part in privileges.replace(")", "").split(", "):
        verb, _, column = part.partition(" (")
        if verb.isupper():
            last = verb
            yield verb, column or None
        elif part:
            yield last, part
