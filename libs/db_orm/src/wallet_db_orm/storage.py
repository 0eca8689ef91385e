"""This module is where tables get what columns cannot say: refusals, partitions, vacuum."""

from collections.abc import Mapping
from typing import Final

APPEND_ONLY: Final = ("ledger_entries", "events", "api_audit", "operations")
# And with them what operators did, what was archived, and what makes changes show.
NEVER_CHANGED: Final = (
    *APPEND_ONLY,
    *("archived_partitions", "operator_log", "discarded_letters", "reversals", "fx_rates"),
    *("fee_schedules", "batches"),
    *("audit_seals", "checkpoints", "checkpoint_heads", "proofs"),
)

# The parent of the monthly partitions, and the one that takes whatever no month claims.
AUDIT: Final = "api_audit"
AUDIT_REST: Final = "api_audit_rest"
# Every name that a partition may have; `api_audit_first` is what was there before there were any.
AUDIT_PARTITION: Final = r"api_audit_(first|rest|\d{4}_\d{2})"
# A running month's rows are moved out of the rest while its writers wait: some tenths of a second.
MOVED_MAX: Final = 50_000
# Rows of the rest that may be read while its writers wait: 300 000 took 0.09 s.
READ_MAX: Final = 2_000_000
MONTHS_AHEAD_MAX: Final = 120
LOCK_TIMEOUT_MS: Final = 200

Settings = Mapping[str, str]

# Rows are changed in place over and over. A share of the table would mean: the bigger, the later.
CHANGED: Final[Settings] = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "100000",
}
# Every row is deleted soon: each round of the autovacuum finds work here and is not slowed down.
CHURNED: Final[Settings] = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
}
# Rows are only added: new pages are frozen once, soon, and never visited again; statistics are
# taken early, when plans still depend on them, then each time the table has grown by a fiftieth.
ADDED: Final[Settings] = {
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "500000",
    "autovacuum_freeze_min_age": "0",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "1000",
}

REFUSE_CHANGE: Final = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
"""
_ROWS: Final = "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
_TABLE: Final = "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"


def append_only(table: str) -> tuple[str, ...]:
    """Return the statements that make `table` refuse changes, even to a replica-mode session."""
    return (
        f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table} {_ROWS}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_rows",
        *_never_emptied(table),
    )


def audit_partition(name: str) -> tuple[str, ...]:
    """
    Return the statements that make an empty table, ready to be attached to `api_audit`.

    `name` may also be a place in a string for PostgreSQL's format().

    The refusal of UPDATE and DELETE comes with being attached; that of TRUNCATE does not.
    """
    settings = ", ".join(f"{key} = {value}" for key, value in ADDED.items())
    parts = f"LIKE {AUDIT} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
    return (
        f"CREATE TABLE {name} ({parts}, CONSTRAINT pk_{name} PRIMARY KEY (id)) WITH ({settings})",
        *_never_emptied(name),
    )


def _never_emptied(table: str) -> tuple[str, ...]:
    return (
        f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table} {_TABLE}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_table",
    )


def make_audit_month() -> str:
    """
    Return the function that makes a month's partition and moves the rest's rows of it there.

    It runs with the rights of the tables' owner, whoever calls it: so the services need none to
    create or alter anything. It answers `made`, `there`, or `postponed`: too many rows to move
    while their writers wait. Raises if the month is neither coming nor one that the rest has rows
    of, or has been archived.
    """
    made = "\n    ".join(
        f"EXECUTE format('{statement}', part);" for statement in audit_partition("%1$I")
    )
    return _MAKE_MONTH.replace("MAKE_PARTITION", made)


# All of the rest is read under its lock, and what of it is the month's is moved: writers to the
# rest wait meanwhile. Where that takes long it is done once nothing comes for the month. The first
# lock keeps out others who want to attach, no writers.
_MAKE_MONTH: Final = f"""
CREATE FUNCTION make_audit_month(month date) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '{LOCK_TIMEOUT_MS}ms' AS $$
DECLARE
    today CONSTANT timestamp := now() AT TIME ZONE 'UTC';
    next_month CONSTANT date := month + interval '1 month';
    is_past CONSTANT boolean := next_month <= today;
    part CONSTANT text := 'api_audit_' || to_char(month, 'YYYY_MM');
    first_id CONSTANT uuid := rpad(
        lpad(to_hex(extract(epoch FROM month)::bigint * 1000), 12, '0'), 32, '0');
    end_id CONSTANT uuid := rpad(
        lpad(to_hex(extract(epoch FROM next_month)::bigint * 1000), 12, '0'), 32, '0');
    waiting bigint;
    copied bigint;
    deleted bigint;
BEGIN
    IF month <> date_trunc('month', month) OR month > today + interval '{MONTHS_AHEAD_MAX} months'
    THEN
        RAISE EXCEPTION '% is no month to make', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE ONLY api_audit IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 'there';
    END IF;
    LOCK TABLE api_audit_rest IN ACCESS EXCLUSIVE MODE;
    SELECT count(*) INTO waiting FROM (
        SELECT FROM api_audit_rest WHERE id >= first_id AND id < end_id LIMIT {MOVED_MAX + 1}
    ) AS found;
    IF is_past AND waiting = 0 OR EXISTS (
        SELECT FROM archived_partitions WHERE from_id <= first_id AND first_id < to_id
    ) THEN
        RAISE EXCEPTION '% is over', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_past AND (
        waiting > {MOVED_MAX} OR EXISTS (SELECT FROM api_audit_rest OFFSET {READ_MAX})
    ) THEN
        RETURN 'postponed';
    END IF;
    MAKE_PARTITION
    IF waiting > 0 THEN
        EXECUTE format('INSERT INTO %I SELECT * FROM api_audit_rest WHERE id >= $1 AND id < $2',
            part) USING first_id, end_id;
        GET DIAGNOSTICS copied = ROW_COUNT;
        ALTER TABLE api_audit_rest DISABLE TRIGGER append_only_rows;
        DELETE FROM api_audit_rest WHERE id >= first_id AND id < end_id;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        ALTER TABLE api_audit_rest ENABLE ALWAYS TRIGGER append_only_rows;
        ASSERT copied = deleted, 'a row is moved, never lost';
    END IF;
    EXECUTE format('ALTER TABLE api_audit ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, first_id, end_id);
    RETURN 'made';
END
$$
"""  # noqa: S608  # constants
