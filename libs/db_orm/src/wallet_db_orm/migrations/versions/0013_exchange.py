"""Transfers between currencies: rates, quotes, and the terms on which money was changed."""

from typing import Final

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_RATES: Final = """
    CREATE TABLE fx_rates (
        from_currency TEXT NOT NULL,
        to_currency TEXT NOT NULL,
        id UUID NOT NULL,
        rate TEXT NOT NULL,
        valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
        valid_to TIMESTAMP WITH TIME ZONE,
        audit_id UUID NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_fx_rates PRIMARY KEY (from_currency, to_currency, id),
        CONSTRAINT ck_fx_rates_two_currencies CHECK (from_currency <> to_currency),
        CONSTRAINT ck_fx_rates_rate_is_positive CHECK (
            rate ~ '^(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$' AND rate ~ '[1-9]'
        ),
        CONSTRAINT ck_fx_rates_valid_for_a_while CHECK (valid_to > valid_from)
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 500000,
        autovacuum_freeze_min_age = 0,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000
    )
"""
_QUOTES: Final = """
    CREATE TABLE fx_quotes (
        id UUID NOT NULL,
        from_currency TEXT NOT NULL,
        to_currency TEXT NOT NULL,
        rate TEXT NOT NULL,
        from_minor BIGINT NOT NULL,
        to_minor BIGINT NOT NULL,
        residue TEXT NOT NULL,
        owner_id TEXT,
        audit_id UUID NOT NULL,
        quoted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        transfer_id UUID,
        CONSTRAINT pk_fx_quotes PRIMARY KEY (id),
        CONSTRAINT ck_fx_quotes_two_currencies CHECK (from_currency <> to_currency),
        CONSTRAINT ck_fx_quotes_rate_is_positive CHECK (
            rate ~ '^(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$' AND rate ~ '[1-9]'
        ),
        CONSTRAINT ck_fx_quotes_amounts_positive CHECK (from_minor > 0 AND to_minor > 0),
        CONSTRAINT ck_fx_quotes_residue_is_decimal CHECK (
            residue ~ '^(0|-?[0-9]+[.][0-9]*[1-9])$'
        ),
        CONSTRAINT ck_fx_quotes_good_for_a_while CHECK (expires_at > quoted_at)
    ) WITH (
        fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""
# NOT VALID, then VALIDATE: the long look at all rows is taken without keeping anybody from writing.
_CHECKS: Final = (
    (
        "ledger_entries",
        "type_sign_and_counter",
        """
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
        """,
    ),
    (
        "ledger_entries",
        "transfer_named",
        "(transfer_id IS NOT NULL) = (counter_account <> '@external')",
    ),
)
_CHECKS_BEFORE: Final = (
    (
        "ledger_entries",
        "type_sign_and_counter",
        _CHECKS[0][2].replace("IN ('@transit', '@fx:' || currency)", "= '@transit'"),
    ),
    (
        "ledger_entries",
        "transfer_named",
        "(transfer_id IS NOT NULL) = (counter_account = '@transit')",
    ),
)
_TERMS: Final = """
    ALTER TABLE transfers ADD CONSTRAINT ck_transfers_terms_whole CHECK (
        num_nonnulls(quote_id, rate, to_currency, to_amount_minor, residue) IN (0, 5)
        AND to_amount_minor > 0 IS NOT FALSE AND to_currency <> currency IS NOT FALSE
    ) NOT VALID
"""


def upgrade() -> None:
    """Add what exchanges need. The index takes a look at all transfers."""
    op.execute(_RATES)
    op.execute(_QUOTES)
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON fx_rates FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON fx_rates FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE fx_rates ENABLE ALWAYS TRIGGER {name}")
    op.execute("""
        ALTER TABLE transfers ADD COLUMN quote_id UUID, ADD COLUMN rate TEXT,
            ADD COLUMN to_currency TEXT, ADD COLUMN to_amount_minor BIGINT,
            ADD COLUMN residue TEXT
    """)
    op.execute(_TERMS)
    _replace(_CHECKS)
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        CREATE UNIQUE INDEX uq_transfers_quote_id ON transfers (quote_id)
        WHERE quote_id IS NOT NULL
    """)
    op.execute("ALTER TABLE transfers VALIDATE CONSTRAINT ck_transfers_terms_whole")
    for table, name, _ in _CHECKS:
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")


def _replace(checks: tuple[tuple[str, str, str], ...]) -> None:
    for table, name, rule in checks:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({rule}) NOT VALID")


def downgrade() -> None:
    """Refused while money was changed."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM transfers WHERE quote_id IS NOT NULL) THEN
                RAISE EXCEPTION 'money changed its currency here: no way back';
            END IF;
        END $$
    """)
    _replace(_CHECKS_BEFORE)
    for table, name, _ in _CHECKS_BEFORE:
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")
    op.execute("DROP INDEX uq_transfers_quote_id")
    op.execute("ALTER TABLE transfers DROP CONSTRAINT ck_transfers_terms_whole")
    op.execute("""
        ALTER TABLE transfers DROP COLUMN quote_id, DROP COLUMN rate, DROP COLUMN to_currency,
            DROP COLUMN to_amount_minor, DROP COLUMN residue
    """)
    op.execute("DROP TABLE fx_quotes")
    op.execute("DROP TABLE fx_rates")
