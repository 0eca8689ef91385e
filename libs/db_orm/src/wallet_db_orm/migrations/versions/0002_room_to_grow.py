"""Room to grow: the audit in monthly partitions, upkeep by vacuum per table, archived months."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MONTHS_AHEAD: Final = 3
# The first partition ends with the next month, not with this one: so the constraint that proves
# its end refuses nobody, even if this migration is broken off behind it and repeated days later.
_MONTHS_OF_FIRST: Final = 2

_ARCHIVED: Final = """
    CREATE TABLE archived_partitions (
        name TEXT NOT NULL,
        from_id UUID NOT NULL,
        to_id UUID NOT NULL,
        rows BIGINT NOT NULL,
        operations BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        archived_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        CONSTRAINT pk_archived_partitions PRIMARY KEY (name),
        CONSTRAINT ck_archived_partitions_range_not_empty CHECK (from_id < to_id),
        CONSTRAINT ck_archived_partitions_counts CHECK (rows >= 0 AND operations >= 0),
        CONSTRAINT ck_archived_partitions_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$')
    )
"""

_CHANGED: Final = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "100000",
}
_CHURNED: Final = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}
_ADDED: Final = {
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "500000",
    "autovacuum_freeze_min_age": "0",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "1000",
}
_STORAGE: Final = {
    "wallets": _CHANGED,
    "transfers": _CHANGED,
    "wallet_stats": _CHANGED,
    "outbox": _CHURNED,
    "operations": _ADDED,
    "ledger_entries": _ADDED,
    "events": _ADDED,
    "processed_events": _ADDED,
    "fraud_flags": _ADDED,
}

# The API must not stand behind us in the queue for a lock: we ask for a moment, then again.
_LOCK_AUDIT: Final = """
    SET LOCAL lock_timeout = '200ms';
    <<asking>>
    FOR attempt IN 1..500 LOOP
        BEGIN
            LOCK TABLE api_audit IN ACCESS EXCLUSIVE MODE;
            EXIT asking;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    LOCK TABLE api_audit IN ACCESS EXCLUSIVE MODE;
    SET LOCAL lock_timeout = '10s';
"""


def upgrade() -> None:
    """
    Partition the audit, without copying or scanning what is there while anybody waits.

    The old table becomes the first partition. That its rows belong there is proved beforehand, by
    a constraint that is validated while the API goes on; only renaming and attaching need the
    lock that stops it, for some milliseconds.
    """
    op.execute(_ARCHIVED)
    _refuse_changes("archived_partitions")
    for table, settings in _STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({_listed(settings)})")
    bound = _month(_MONTHS_OF_FIRST)
    is_proved = _prove_that_all_is_before(bound)
    # After the proof, which takes its time: until we commit the worker writes no flags.
    op.execute(
        "CREATE INDEX ix_fraud_flags_newest"
        " ON fraud_flags (wallet_id, occurred_at DESC, event_id DESC, rule_id)"
    )
    op.execute(f"DO $$ BEGIN {_LOCK_AUDIT} END $$")
    has_rows = op.get_bind().execute(sa.text("SELECT EXISTS (SELECT FROM api_audit)")).scalar_one()
    _set_aside()
    _make_parent()
    if has_rows:
        if not is_proved:
            _move_to_rest(bound)
        _attach_first(bound)
    else:
        op.execute("DROP TABLE api_audit_first")
    for ahead in range(_MONTHS_OF_FIRST if has_rows else 0, _MONTHS_AHEAD + 1):
        month = _month(ahead)
        _make_partition(
            f"api_audit_{month:%Y_%m}", f"FOR VALUES {_range(_first_id(month), _month(ahead + 1))}"
        )


def downgrade() -> None:
    """Put all audit rows that are still here into one table again; the API waits meanwhile."""
    op.execute("LOCK TABLE api_audit IN ACCESS EXCLUSIVE MODE")
    for table, settings in _STORAGE.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(settings)})")
    op.execute("DROP INDEX ix_fraud_flags_newest")
    # What it excuses would be missed for ever.
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM archived_partitions) THEN
                RAISE EXCEPTION 'months of the audit have left this database: there is no way back';
            END IF;
        END $$
    """)
    op.execute("DROP TABLE archived_partitions")
    op.execute(f"CREATE TABLE api_audit_all ({_audit_columns('api_audit_all')})")
    op.execute("INSERT INTO api_audit_all SELECT * FROM api_audit")
    op.execute("DROP TABLE api_audit")
    _rename("api_audit_all", "api_audit")
    _refuse_changes("api_audit")


def _prove_that_all_is_before(bound: datetime) -> bool:
    """
    Leave a validated constraint on api_audit, no id reaches `bound`; False if that is not so.

    On a connection of its own, because each step has to be committed: our own transaction holds
    the lock that keeps other migrations away. Where that sees no table, because it is being made
    just now, there is nothing to prove. Without the constraint attaching has to scan.
    """
    engine = op.get_bind().engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.exec_driver_sql("SELECT to_regclass('api_audit')").scalar_one() is None:
            return False
        last = "SELECT id FROM api_audit ORDER BY id DESC LIMIT 1"
        found = connection.exec_driver_sql(last).scalar_one_or_none()
        if found is None or found >= _first_id(bound):
            return False
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql(f"""
            DO $$ BEGIN {_LOCK_AUDIT}
                ALTER TABLE api_audit DROP CONSTRAINT IF EXISTS all_is_before;
                ALTER TABLE api_audit
                    ADD CONSTRAINT all_is_before CHECK ({_is_before(bound)}) NOT VALID;
            END $$
        """)
        connection.exec_driver_sql("ALTER TABLE api_audit VALIDATE CONSTRAINT all_is_before")
    return True


def _is_before(bound: datetime) -> str:
    """Return what a partition's bounds say: only a constraint with both of them spares the scan."""
    return f"id >= '{UUID(int=0)}' AND id < '{_first_id(bound)}'"


def _audit_columns(table: str) -> str:
    return f"""
        id UUID NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        method TEXT NOT NULL,
        url TEXT NOT NULL,
        body BYTEA NOT NULL,
        headers JSON NOT NULL,
        client_ip TEXT,
        status SMALLINT NOT NULL,
        principal TEXT,
        wallet_id TEXT,
        request_id TEXT,
        trace_id TEXT NOT NULL,
        duration_us BIGINT NOT NULL,
        CONSTRAINT pk_{table} PRIMARY KEY (id),
        CONSTRAINT ck_api_audit_status_is_http CHECK (status BETWEEN 100 AND 599)
    """


def _set_aside() -> None:
    # The parent brings its own refusal for rows.
    op.execute("DROP TRIGGER append_only_rows ON api_audit")
    _rename("api_audit", "api_audit_first")


def _rename(old: str, new: str) -> None:
    """Rename a table that is no partition, and those of its constraints that bear its name."""
    op.execute(f"ALTER TABLE {old} RENAME CONSTRAINT pk_{old} TO pk_{new}")
    op.execute(f"""
        DO $$
        DECLARE
            name text;
        BEGIN
            FOR name IN
                SELECT conname FROM pg_constraint
                WHERE conrelid = '{old}'::regclass AND contype = 'n'
            LOOP
                EXECUTE format('ALTER TABLE {old} RENAME CONSTRAINT %I TO %I',
                    name, replace(name, '{old}', '{new}'));
            END LOOP;
        END
        $$
    """)  # noqa: S608  # our own names
    op.execute(f"ALTER TABLE {old} RENAME TO {new}")


def _make_parent() -> None:
    op.execute(f"CREATE TABLE api_audit ({_audit_columns('api_audit')}) PARTITION BY RANGE (id)")
    _refuse_changes("api_audit")
    _make_partition("api_audit_rest", "DEFAULT")


def _make_partition(name: str, bounds: str) -> None:
    op.execute(
        f"CREATE TABLE {name} (LIKE api_audit INCLUDING DEFAULTS INCLUDING CONSTRAINTS,"
        f" CONSTRAINT pk_{name} PRIMARY KEY (id)) WITH ({_listed(_ADDED)})"
    )
    op.execute(
        f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER append_only_table")
    op.execute(f"ALTER TABLE api_audit ATTACH PARTITION {name} {bounds}")


def _move_to_rest(bound: datetime) -> None:
    op.execute("SET LOCAL enable_seqscan = off")
    beyond = f"id >= '{_first_id(bound)}'"
    op.execute(f"INSERT INTO api_audit_rest SELECT * FROM api_audit_first WHERE {beyond}")  # noqa: S608
    op.execute(f"DELETE FROM api_audit_first WHERE {beyond}")  # noqa: S608  # as above
    op.execute("SET LOCAL enable_seqscan = on")


def _attach_first(bound: datetime) -> None:
    op.execute(f"ALTER TABLE api_audit_first SET ({_listed(_ADDED)})")
    bounds = f"FOR VALUES {_range(UUID(int=0), bound)}"
    op.execute(f"ALTER TABLE api_audit ATTACH PARTITION api_audit_first {bounds}")
    op.execute("ALTER TABLE api_audit_first DROP CONSTRAINT IF EXISTS all_is_before")


def _refuse_changes(table: str) -> None:
    op.execute(
        f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_rows")
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_table")


def _month(ahead: int) -> datetime:
    """Return the start of the month that is so many after this one."""
    now = datetime.now(UTC)
    years, month = divmod(now.month - 1 + ahead, 12)
    return datetime(now.year + years, month + 1, 1, tzinfo=UTC)


def _first_id(instant: datetime) -> UUID:
    """Return the least UUIDv7 of that millisecond."""
    return UUID(int=int(instant.timestamp()) * 1000 << 80)


def _range(from_id: UUID, until: datetime) -> str:
    return f"FROM ('{from_id}') TO ('{_first_id(until)}')"


def _listed(settings: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
