"""Reversals: how much of an operation was taken back."""

from typing import Final

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_REVERSALS: Final = """
    CREATE TABLE reversals (
        wallet_id TEXT NOT NULL,
        operation_id UUID NOT NULL,
        reversal_id UUID NOT NULL,
        amount_minor BIGINT NOT NULL,
        original_minor BIGINT NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_reversals PRIMARY KEY (wallet_id, operation_id, reversal_id),
        CONSTRAINT ck_reversals_part_of_the_original
            CHECK (amount_minor > 0 AND amount_minor <= original_minor)
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 500000,
        autovacuum_freeze_min_age = 0,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000
    )
"""
# NOT VALID, then VALIDATE: the long look at all rows is taken without keeping anybody from writing.
_ENTRY_SIGNS: Final = """
    ALTER TABLE ledger_entries ADD CONSTRAINT ck_ledger_entries_type_sign_and_counter CHECK (
        CASE type
        WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw_reversal' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'
        WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'
        WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'
        ELSE false END
    )
"""
_ENTRY_SIGNS_BEFORE: Final = _ENTRY_SIGNS.replace(
    "WHEN 'withdraw_reversal' THEN amount_minor > 0 AND counter_account = '@external'", ""
)
_DROP_SIGNS: Final = (
    "ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_type_sign_and_counter"
)


def upgrade() -> None:
    """Add what reversals need. The index takes a short look at all operations."""
    op.execute(_REVERSALS)
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON reversals FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON reversals FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE reversals ENABLE ALWAYS TRIGGER {name}")
    op.execute(_DROP_SIGNS)
    op.execute(f"{_ENTRY_SIGNS} NOT VALID")
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        "CREATE INDEX ix_operations_operation_id ON operations USING brin (operation_id)"
        " WITH (pages_per_range = 32, autosummarize = on)"
    )
    op.execute(
        "ALTER TABLE ledger_entries VALIDATE CONSTRAINT ck_ledger_entries_type_sign_and_counter"
    )


def downgrade() -> None:
    """Refused while something was taken back."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM reversals) THEN
                RAISE EXCEPTION 'operations were reversed here: no way back';
            END IF;
        END $$
    """)
    op.execute("DROP INDEX ix_operations_operation_id")
    op.execute("DROP TABLE reversals")
    op.execute(_DROP_SIGNS)
    op.execute(_ENTRY_SIGNS_BEFORE)
