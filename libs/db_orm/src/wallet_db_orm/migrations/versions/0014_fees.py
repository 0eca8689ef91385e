"""Fees: what operations cost, and what was paid for a transfer."""

from typing import Final

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SCHEDULES: Final = """
    CREATE TABLE fee_schedules (
        operation TEXT NOT NULL,
        currency TEXT NOT NULL,
        id UUID NOT NULL,
        flat_minor BIGINT NOT NULL,
        percent TEXT,
        min_minor BIGINT NOT NULL,
        max_minor BIGINT,
        audit_id UUID NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_fee_schedules PRIMARY KEY (operation, currency, id),
        CONSTRAINT ck_fee_schedules_operation_known CHECK (
            operation IN ('deposit', 'withdraw', 'transfer', 'conversion')
        ),
        CONSTRAINT ck_fee_schedules_percent_is_one CHECK (
            percent ~ '^(100|[1-9]?[0-9]([.][0-9]{1,18})?)$' AND percent ~ '[1-9]'
        ),
        CONSTRAINT ck_fee_schedules_bounds_make_sense CHECK (
            flat_minor >= 0 AND min_minor >= 0 AND max_minor >= min_minor IS NOT FALSE
        )
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 500000,
        autovacuum_freeze_min_age = 0,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000
    )
"""
_SIGNS: Final = """
        CASE type
        WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw_reversal' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'transfer_debit' THEN amount_minor < 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        WHEN 'transfer_credit' THEN amount_minor > 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        WHEN 'transfer_refund' THEN amount_minor > 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        WHEN 'fee' THEN amount_minor < 0 AND counter_account = '@fees'
        WHEN 'fee_refund' THEN amount_minor > 0 AND counter_account = '@fees'
        ELSE false END
"""
_NAMED: Final = """
        CASE counter_account WHEN '@external' THEN transfer_id IS NULL
        WHEN '@fees' THEN true ELSE transfer_id IS NOT NULL END
"""
_SIGNS_BEFORE: Final = """
        CASE type
        WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw_reversal' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'transfer_debit' THEN amount_minor < 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        WHEN 'transfer_credit' THEN amount_minor > 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        WHEN 'transfer_refund' THEN amount_minor > 0
            AND counter_account IN ('@transit', '@fx:' || currency)
        ELSE false END
"""
_NAMED_BEFORE: Final = "(transfer_id IS NOT NULL) = (counter_account <> '@external')"


def upgrade() -> None:
    """Add what fees need."""
    op.execute(_SCHEDULES)
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON fee_schedules FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON fee_schedules FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE fee_schedules ENABLE ALWAYS TRIGGER {name}")
    op.execute("ALTER TABLE transfers ADD COLUMN fee_minor BIGINT NOT NULL DEFAULT 0")
    op.execute(
        "ALTER TABLE transfers ADD CONSTRAINT ck_transfers_fee_not_negative"
        " CHECK (fee_minor >= 0) NOT VALID"
    )
    _replace(_SIGNS, _NAMED)
    op.execute("ALTER TABLE transfers VALIDATE CONSTRAINT ck_transfers_fee_not_negative")


def _replace(signs: str, named: str) -> None:
    # NOT VALID, then VALIDATE: the long look at all rows keeps nobody from writing.
    rules = (("type_sign_and_counter", signs), ("transfer_named", named))
    for name, rule in rules:
        op.execute(f"ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_{name}")
        op.execute(
            f"ALTER TABLE ledger_entries ADD CONSTRAINT ck_ledger_entries_{name}"
            f" CHECK ({rule}) NOT VALID"
        )
    op.execute("SET LOCAL statement_timeout = 0")
    for name, _ in rules:
        op.execute(f"ALTER TABLE ledger_entries VALIDATE CONSTRAINT ck_ledger_entries_{name}")


def downgrade() -> None:
    """Refused while fees were paid."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM ledger_entries WHERE counter_account = '@fees') THEN
                RAISE EXCEPTION 'fees were paid here: no way back';
            END IF;
        END $$
    """)
    _replace(_SIGNS_BEFORE, _NAMED_BEFORE)
    op.execute("ALTER TABLE transfers DROP CONSTRAINT ck_transfers_fee_not_negative")
    op.execute("ALTER TABLE transfers DROP COLUMN fee_minor")
    op.execute("DROP TABLE fee_schedules")
