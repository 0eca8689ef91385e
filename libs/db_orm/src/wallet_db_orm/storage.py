"""This module is where tables get what columns cannot say: refusals, partitions, vacuum."""

from collections.abc import Mapping
from typing import Final

APPEND_ONLY: Final = ("ledger_entries", "events", "api_audit", "operations")

# The parent of the monthly partitions, and the one that takes whatever no month claims.
AUDIT: Final = "api_audit"
AUDIT_REST: Final = "api_audit_rest"
# Every name that a partition may have; `api_audit_first` is what was there before there were any.
AUDIT_PARTITION: Final = r"api_audit_(first|rest|\d{4}_\d{2})"

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
