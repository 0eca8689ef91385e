"""This module is where a server that keeps its promises no longer is seen, and what it lacks."""

from typing import TYPE_CHECKING, Any

from wallet_db_orm.database import statement
from wallet_db_orm.roles import API, OWNER, READONLY, WORKER

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger

OFF = {"walletId": None, "setting": "synchronous_commit", "value": "off"}
HERE = OFF | {"role": "this session"}

# What is done to the schema, how it is undone, and what L6 tells.
LOOSENED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a check that is dropped": (
        "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_version_positive",
        "ALTER TABLE wallets ADD CONSTRAINT ck_wallets_version_positive CHECK (version >= 1)",
        {"table": "wallets", "constraint": "ck_wallets_version_positive", "is": "missing"},
    ),
    "a check of new rows only": (
        (
            "ALTER TABLE transfers DROP CONSTRAINT ck_transfers_amount_positive, ADD CONSTRAINT"
            " ck_transfers_amount_positive CHECK (amount_minor > 0) NOT VALID"
        ),
        "ALTER TABLE transfers VALIDATE CONSTRAINT ck_transfers_amount_positive",
        {"table": "transfers", "constraint": "ck_transfers_amount_positive", "is": "not enforced"},
    ),
    "a key that is dropped": (
        "ALTER TABLE feed DROP CONSTRAINT pk_feed",
        "ALTER TABLE feed ADD CONSTRAINT pk_feed PRIMARY KEY (position)",
        {"table": "feed", "constraint": "pk_feed", "is": "missing"},
    ),
    "a refusal that is disabled": (
        "ALTER TABLE ledger_entries DISABLE TRIGGER append_only_rows",
        "ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only_rows",
        {"table": "ledger_entries", "trigger": "append_only_rows", "is": "not enforced"},
    ),
    "a refusal that a replica's session passes": (
        "ALTER TABLE events ENABLE TRIGGER append_only_table",
        "ALTER TABLE events ENABLE ALWAYS TRIGGER append_only_table",
        {"table": "events", "trigger": "append_only_table", "is": "not enforced"},
    ),
    "a refusal that is not there": (
        "ALTER TRIGGER append_only_rows ON proofs RENAME TO other",
        "ALTER TRIGGER other ON proofs RENAME TO append_only_rows",
        {"table": "proofs", "trigger": "append_only_rows", "is": "missing"},
    ),
    "a partition whose rows may be changed": (
        "ALTER TABLE api_audit_rest DISABLE TRIGGER append_only_rows",
        "ALTER TABLE api_audit_rest ENABLE ALWAYS TRIGGER append_only_rows",
        {"table": "api_audit_rest", "trigger": "append_only_rows", "is": "not enforced"},
    ),
    "a partition that may be emptied": (
        "ALTER TABLE api_audit_rest DISABLE TRIGGER append_only_table",
        "ALTER TABLE api_audit_rest ENABLE ALWAYS TRIGGER append_only_table",
        {"table": "api_audit_rest", "trigger": "append_only_table", "is": "not enforced"},
    ),
    "an amount that is numeric": (
        "ALTER TABLE transfers ALTER amount_minor TYPE numeric",
        (
            "ALTER TABLE transfers DROP CONSTRAINT ck_transfers_amount_positive,"
            " ALTER amount_minor TYPE bigint,"
            " ADD CONSTRAINT ck_transfers_amount_positive CHECK (amount_minor > 0)"
        ),
        {"table": "transfers", "column": "amount_minor", "type": "numeric"},
    ),
    "an amount that is narrower": (
        "ALTER TABLE wallet_stats ALTER total_deposited_minor TYPE integer",
        "ALTER TABLE wallet_stats ALTER total_deposited_minor TYPE bigint",
        {"table": "wallet_stats", "column": "total_deposited_minor", "type": "integer"},
    ),
    "a check that checks nothing": (
        (
            "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_above_its_floor,"
            " ADD CONSTRAINT ck_wallets_above_its_floor CHECK (true)"
        ),
        (
            "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_above_its_floor,"
            " ADD CONSTRAINT ck_wallets_above_its_floor"
            " CHECK (balance_minor - held_minor >= floor_minor AND floor_minor <= 0)"
        ),
        {
            "table": "wallets",
            "constraint": "ck_wallets_above_its_floor",
            "is": "not what was declared",
        },
    ),
    "a column that is a float": (
        "ALTER TABLE rate_limits ADD COLUMN price double precision",
        "ALTER TABLE rate_limits DROP COLUMN price",
        {"table": "rate_limits", "column": "price", "type": "double precision"},
    ),
    "an application that owns a table": (
        f"ALTER TABLE wallets OWNER TO {API}; GRANT ALL ON wallets TO {OWNER}",
        f"ALTER TABLE wallets OWNER TO {OWNER}",
        {"role": API, "has": "owns wallets"},
    ),
    "an application with a superuser's powers": (
        f"ALTER ROLE {WORKER} SUPERUSER",
        f"ALTER ROLE {WORKER} NOSUPERUSER",
        {"role": WORKER, "has": "is a superuser"},
    ),
    "an application that row security does not bind": (
        f"ALTER ROLE {READONLY} BYPASSRLS",
        f"ALTER ROLE {READONLY} NOBYPASSRLS",
        {"role": READONLY, "has": "bypasses row security"},
    ),
    "a refusal on no condition": (
        (
            "CREATE OR REPLACE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON ledger_entries"
            " FOR EACH ROW WHEN (false) EXECUTE FUNCTION refuse_change();"
            " ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only_rows"
        ),
        (
            "CREATE OR REPLACE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON ledger_entries"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change();"
            " ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only_rows"
        ),
        {"table": "ledger_entries", "trigger": "append_only_rows", "is": "not what was declared"},
    ),
    "a stranger's trigger": (
        (
            "CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER discard BEFORE INSERT ON unsealed_audit"
            " FOR EACH ROW EXECUTE FUNCTION discard()"
        ),
        "DROP FUNCTION discard() CASCADE",
        {"table": "unsealed_audit", "trigger": "discard", "is": "not declared"},
    ),
    "a rule": (
        "CREATE RULE nothing AS ON INSERT TO fraud_flags DO INSTEAD NOTHING",
        "DROP RULE nothing ON fraud_flags",
        {"table": "fraud_flags", "rule": "nothing", "is": "not declared"},
    ),
    "row security": (
        "ALTER TABLE settlements ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE settlements DISABLE ROW LEVEL SECURITY",
        {"table": "settlements", "row security": "settlements", "is": "not declared"},
    ),
    "a column that may be empty": (
        "ALTER TABLE ledger_entries ALTER hash DROP NOT NULL",
        "ALTER TABLE ledger_entries ALTER hash SET NOT NULL",
        {"table": "ledger_entries", "column": "hash", "is": "not what was declared"},
    ),
    "an index that made owners have one wallet": (
        "DROP INDEX uq_wallets_owner_id_currency",
        (
            "CREATE UNIQUE INDEX uq_wallets_owner_id_currency ON wallets (owner_id, currency)"
            " WHERE owner_id IS NOT NULL"
        ),
        {"table": "wallets", "index": "uq_wallets_owner_id_currency", "is": "missing"},
    ),
    "an application that may change a column": (
        f"GRANT UPDATE (amount_minor) ON ledger_entries TO {API}",
        f"REVOKE UPDATE (amount_minor) ON ledger_entries FROM {API}",
        {"table": "ledger_entries", "role": API, "may": "UPDATE (amount_minor)"},
    ),
    "an application that may delete": (
        f"GRANT DELETE ON ledger_entries TO {WORKER}",
        f"REVOKE DELETE ON ledger_entries FROM {WORKER}",
        {"table": "ledger_entries", "role": WORKER, "may": "DELETE"},
    ),
    "everybody, who may read": (
        "GRANT SELECT ON owner_keys TO PUBLIC",
        "REVOKE SELECT ON owner_keys FROM PUBLIC",
        {"table": "owner_keys", "role": "PUBLIC", "may": "SELECT"},
    ),
    "an application that may become a superuser": (
        f"CREATE ROLE almighty SUPERUSER; GRANT almighty TO {API}",
        "DROP ROLE almighty",
        {"role": API, "has": "is a member of almighty"},
    ),
    "an application that may write whatever there is": (
        f"GRANT pg_write_all_data TO {WORKER}",
        f"REVOKE pg_write_all_data FROM {WORKER}",
        {"role": WORKER, "has": "is a member of pg_write_all_data"},
    ),
    "an application that may make roles": (
        f"ALTER ROLE {API} CREATEROLE",
        f"ALTER ROLE {API} NOCREATEROLE",
        {"role": API, "has": "may create databases or roles"},
    ),
}

# What else some of these are told by.
ALSO: dict[str, dict[str, Any]] = {
    "an amount that is numeric": {"constraint": "ck_transfers_amount_positive"},
    "an application that owns a table": {"table": "wallets", "role": API},
    "a refusal that is not there": {"trigger": "other", "is": "not declared"},
}


async def test_a_looser_schema_is_seen(breakable: "Ledger", books: "Books") -> None:
    """What no longer refuses, counts exactly, or is kept from powers is named, and nothing else."""
    for name, (loosen, tighten, place) in LOOSENED.items():
        # Roles are the whole server's.
        await books.execute(loosen)
        try:
            violations = await breakable.violations()
        finally:
            await books.execute(tighten)
        told = violations.pop("L6")
        assert violations == {}, name
        told.remove({"walletId": None} | place)
        # A column of another type is another check too, a key an index, and an owner may all.
        assert all(each.items() >= ALSO[name].items() for each in told), told
    assert await breakable.violations() == {}


async def test_a_refusal_that_refuses_nothing_is_seen(breakable: "Ledger", books: "Books") -> None:
    """The triggers may be as declared: what they call has to be it, too."""
    await books.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'"
    )

    told = {"walletId": None, "function": "refuse_change", "is": "not what was declared"}
    assert await breakable.violations() == {"L6": [told]}


async def test_a_commit_that_is_not_awaited_is_seen_wherever_it_was_set(
    breakable: "Ledger", books: "Books"
) -> None:
    """For a role, a database or all: named there, and in each session that came under it since."""
    database = await books.value("SELECT current_database()")
    for whose, role, where, is_here in (
        (f"ROLE {API}", API, "every database", False),
        (f"ROLE {API} IN DATABASE {database}", API, database, False),
        (f"ROLE {OWNER}", OWNER, "every database", True),
        (f"DATABASE {database}", "every role", database, True),
        ("ROLE ALL", "every role", "every database", True),
    ):
        # Roles are the whole server's.
        await books.execute(f"ALTER {whose} SET synchronous_commit = off")
        try:
            await breakable.database.dispose()
            violations = await breakable.violations()
        finally:
            await books.execute(f"ALTER {whose} RESET synchronous_commit")
        told = OFF | {"role": role, "database": where}
        assert violations == {"L5": [HERE, told] if is_here else [told]}, whose
    await breakable.database.dispose()
    assert await breakable.violations() == {}


async def test_a_session_that_does_not_await_its_commits_is_seen(breakable: "Ledger") -> None:
    """What only the session itself has set is seen in it."""
    engine = breakable.database.primary
    async with statement(engine) as one, statement(engine) as other:
        for each in (one, other):
            await each.execute("SET synchronous_commit = off")

    assert await breakable.violations() == {"L5": [HERE]}


async def test_another_databases_settings_are_its_own(breakable: "Ledger", books: "Books") -> None:
    """What is set for a database that has none of our tables is no fault of these books."""
    await books.execute("ALTER DATABASE postgres SET synchronous_commit = off")
    try:
        assert await breakable.violations() == {}
    finally:
        await books.execute("ALTER DATABASE postgres RESET synchronous_commit")
