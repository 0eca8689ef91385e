"""Roles apart: a month of the audit is made with its owner's rights, whoever asks for it."""

from typing import Final

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# One statement a line, and a line may be long there.
_MAKE_PARTITION: Final = (
    "EXECUTE format('CREATE TABLE %1$I (LIKE api_audit INCLUDING DEFAULTS INCLUDING CONSTRAINTS,"
    " CONSTRAINT pk_%1$I PRIMARY KEY (id)) WITH (autovacuum_vacuum_insert_scale_factor = 0,"
    " autovacuum_vacuum_insert_threshold = 500000, autovacuum_freeze_min_age = 0,"
    " autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000)', part);\n"
    "    EXECUTE format('CREATE TRIGGER append_only_table BEFORE TRUNCATE ON %1$I"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);\n"
    "    EXECUTE format('ALTER TABLE %1$I ENABLE ALWAYS TRIGGER append_only_table', part);"
)
# Who may do what is no part of this history: it is granted anew after each migration (`roles.py`).
_MAKE_MONTH: Final = """
CREATE FUNCTION make_audit_month(month date) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
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
    IF month <> date_trunc('month', month) OR month > today + interval '120 months'
    THEN
        RAISE EXCEPTION '% is no month to make', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE ONLY api_audit IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 'there';
    END IF;
    LOCK TABLE api_audit_rest IN ACCESS EXCLUSIVE MODE;
    SELECT count(*) INTO waiting FROM (
        SELECT FROM api_audit_rest WHERE id >= first_id AND id < end_id LIMIT 50001
    ) AS found;
    IF is_past AND waiting = 0 OR EXISTS (
        SELECT FROM archived_partitions WHERE from_id <= first_id AND first_id < to_id
    ) THEN
        RAISE EXCEPTION '% is over', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_past AND (
        waiting > 50000 OR EXISTS (SELECT FROM api_audit_rest OFFSET 2000000)
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
"""


def upgrade() -> None:
    """Add the function; the services' roles can neither create nor alter a table themselves."""
    op.execute(_MAKE_MONTH.replace("MAKE_PARTITION", _MAKE_PARTITION))


def downgrade() -> None:
    """Take the function away: only the tables' owner can make months again."""
    op.execute("DROP FUNCTION make_audit_month(date)")
