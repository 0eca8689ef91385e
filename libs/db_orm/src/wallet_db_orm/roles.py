"""This module is where it is said who may do what with which table: the database's roles."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import asyncpg

from wallet_db_orm.storage import AUDIT

OWNER: Final = "wallet_owner"
API: Final = "wallet_api"
WORKER: Final = "wallet_worker"
READONLY: Final = "wallet_readonly"
ROLES: Final = (OWNER, API, WORKER, READONLY)
# Those that read every table, and do beside that what PRIVILEGES says.
_READERS: Final = (API, WORKER, READONLY)
_LISTED: Final = ", ".join(_READERS)
# Any fixed number: migrations and grants of one database come one after the other.
MIGRATION_LOCK: Final = 7_302_118_001
_TIMEOUT_S: Final = 10


def _both(privileges: str) -> Mapping[str, str]:
    return {API: privileges, WORKER: privileges}


# Every table, and what its users may do with it beside SELECT. What is not said here is refused:
# no role here owns a table, so none can alter, truncate or drop one, nor switch its triggers off.
# The worker also drives transfers and settles, so it writes the books as the API does. The API
# foretells what a dead letter would change (`preview.py`) by doing it in a transaction that is
# rolled back, so it may write the projections as the worker does.
PRIVILEGES: Final[Mapping[str, Mapping[str, str]]] = {
    "alembic_version": {},
    "api_audit": _both("INSERT"),
    "archived_partitions": {},
    "audit_seals": {WORKER: "INSERT"},
    "batches": {API: "INSERT"},
    "checkpoint_heads": {WORKER: "INSERT"},
    "checkpoints": {WORKER: "INSERT"},
    "dead_letters": {
        API: "DELETE",
        WORKER: "INSERT, UPDATE (error, error_class, attempts, replays, last_failed_at)",
    },
    "discarded_letters": {API: "INSERT"},
    "events": _both("INSERT"),
    "feed": {WORKER: "INSERT"},
    "fraud_flags": _both("INSERT"),
    "fee_schedules": {API: "INSERT"},
    "fx_quotes": {API: "INSERT, UPDATE (transfer_id)"},
    "fx_rates": {API: "INSERT"},
    "holds": _both("INSERT, UPDATE (captured_minor, released_minor, expired_minor, status)"),
    "ledger_entries": _both("INSERT"),
    "operations": _both("INSERT"),
    "operator_log": {API: "INSERT"},
    "outbox": {API: "INSERT", WORKER: "INSERT, DELETE"},
    "owner_keys": {API: "INSERT, UPDATE (master_id, wrapped, erased_at)"},
    "pii_index": {API: "INSERT, UPDATE (digest, master_id), DELETE"},
    "processed_events": _both("INSERT"),
    "rate_limits": {API: "INSERT, UPDATE (full_at, granted), DELETE"},
    "proofs": _both("INSERT"),
    "proven_wallets": _both("INSERT, UPDATE (version, balance_minor)"),
    "reversals": _both("INSERT"),
    "settlements": {
        WORKER: "INSERT, UPDATE (state, reason, completion_answered_at, failure_answered_at)",
    },
    "transfers": _both(
        "INSERT, UPDATE (state, from_balance_minor, to_balance_minor, reason, audit, finished_at)"
    ),
    "unsealed_audit": {API: "INSERT", WORKER: "INSERT, DELETE"},
    "wallet_stats": _both(
        "INSERT, UPDATE (total_deposited_minor, total_withdrawn_minor, total_transferred_in_minor,"
        " total_transferred_out_minor, last_activity_at, suspicious, suspicious_reason,"
        " suspicious_at)"
    ),
    "wallets": _both(
        "INSERT, UPDATE (balance_minor, held_minor, status, frozen, floor_minor, limits, version,"
        " updated_at, head)"
    ),
}
# Whatever else is there is executed by nobody but the owner.
_EXECUTED: Final = {"make_audit_month(date)": (API, WORKER)}


async def prepare(
    url: str, passwords: Mapping[str, str], tell: Callable[[str], None] = print
) -> None:
    """
    Create the roles that lack, make `wallet_owner` the owner of all there is, set the passwords.

    Safe to repeat. Needs the rights of an administrator of the server; `tell` hears what changed.
    """
    connection = await asyncpg.connect(_plain(url), timeout=_TIMEOUT_S)
    connection.add_log_listener(lambda _, message: tell(message.message))
    try:
        async with connection.transaction():
            await connection.execute(PREPARE)
            for role, password in passwords.items():
                spelled = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
                await connection.execute(await connection.fetchval(spelled, role, password))
    finally:
        await connection.close(timeout=_TIMEOUT_S)


async def may_prepare(url: str) -> bool:
    """Whether the role of `url` may create roles."""
    connection = await asyncpg.connect(_plain(url), timeout=_TIMEOUT_S)
    try:
        asked = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        return bool(await connection.fetchval(asked))
    finally:
        await connection.close(timeout=_TIMEOUT_S)


def grant(url: str) -> tuple[str, ...]:
    """
    Give each role what PRIVILEGES says and nothing else; return the roles that do not exist.

    Done after each migration, as the owner of the tables, in one transaction: whoever works
    meanwhile notices nothing.
    """
    return asyncio.run(_grant(url))


async def _grant(url: str) -> tuple[str, ...]:
    connection = await asyncpg.connect(_plain(url), timeout=_TIMEOUT_S)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1::bigint)", MIGRATION_LOCK)
            await connection.execute(BECOME_OWNER)
            rows = await connection.fetch(_THERE, ROLES)
            there = [row["rolname"] for row in rows]
            parts = [row["name"] for row in await connection.fetch(_PARTS)]
            await connection.execute(";\n".join(_grants(there, parts)))
    finally:
        await connection.close(timeout=_TIMEOUT_S)
    return tuple(role for role in ROLES if role not in there)


def _grants(there: list[str], parts: list[str]) -> list[str]:
    """Return the statements; a role that does not exist gets nothing yet."""
    readers = [role for role in _READERS if role in there]
    everybody = ", ".join([*readers, "PUBLIC"])
    statements = [
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        f"REVOKE ALL ON {', '.join([*PRIVILEGES, *parts])} FROM {everybody}",
    ]
    if not readers:
        return statements
    tables, listed = ", ".join([*PRIVILEGES, *parts]), ", ".join(readers)
    statements += [
        f"GRANT SELECT ON {tables} TO {listed}",
        # Partitions of later months, too.
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {listed}",
    ]
    statements += [
        f"GRANT {privileges} ON {table} TO {role}"
        for table, by_role in PRIVILEGES.items()
        for role, privileges in by_role.items()
        if role in readers
    ]
    statements += [
        f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
        for function, roles in _EXECUTED.items()
        for role in roles
        if role in readers
    ]
    return statements


def _plain(url: str) -> str:
    """Return `url` as the driver spells it."""
    return url.replace("+asyncpg", "", 1)


_THERE: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[])"
_PARTS: Final = f"""
SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = '{AUDIT}'::regclass
"""  # noqa: S608  # a constant

# An administrator who migrates does it as the owner, once the owner has everything.
BECOME_OWNER: Final = f"""
DO $$ BEGIN
    IF current_user <> '{OWNER}'
        AND EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}')
        AND NOT EXISTS (
            SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind IN ('r', 'p') AND pg_get_userbyid(relowner) <> '{OWNER}'
        )
        AND pg_has_role(current_user, '{OWNER}', 'MEMBER')
        AND has_schema_privilege('{OWNER}', 'public', 'CREATE')
    THEN
        SET LOCAL ROLE {OWNER};
    END IF;
END $$
"""  # noqa: S608  # constants

# What an administrator runs, in the database itself: `wallet roles --print-sql` prints it.
PREPARE: Final = f"""
DO $$
DECLARE
    wanted text;
    thing record;
BEGIN
    PERFORM pg_advisory_xact_lock({MIGRATION_LOCK});
    FOREACH wanted IN ARRAY ARRAY['{OWNER}', '{API}', '{WORKER}', '{READONLY}'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', wanted);
            RAISE NOTICE 'created the role %', wanted;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- Somebody prepares another database of this server.
        END;
    END LOOP;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT {OWNER} TO %I', current_user);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_database WHERE datname = current_database() AND datdba = '{OWNER}'::regrole
    ) THEN
        EXECUTE format('ALTER DATABASE %I OWNER TO {OWNER}', current_database());
        RAISE NOTICE 'handed the database % to {OWNER}', current_database();
    END IF;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {_LISTED}', current_database());
    ALTER SCHEMA public OWNER TO {OWNER};
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO {_LISTED};
    FOR thing IN
        SELECT 'TABLE' AS kind, oid::regclass::text AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND relowner <> '{OWNER}'::regrole AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
            )
        UNION ALL
        SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> '{OWNER}'::regrole
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
            )
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO {OWNER}', thing.kind, thing.name);
        RAISE NOTICE 'handed % to {OWNER}', thing.name;
    END LOOP;
END $$;
"""  # noqa: S608  # constants
