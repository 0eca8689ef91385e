"""Holds: money that is bound until it is captured or freed."""

from typing import Final

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_HOLDS: Final = """
    CREATE TABLE holds (
        wallet_id TEXT NOT NULL,
        id UUID NOT NULL,
        currency TEXT NOT NULL,
        amount_minor BIGINT NOT NULL,
        captured_minor BIGINT NOT NULL,
        released_minor BIGINT NOT NULL,
        expired_minor BIGINT NOT NULL,
        status TEXT NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        request_id TEXT NOT NULL,
        reference TEXT,
        metadata JSON,
        trace_id TEXT NOT NULL,
        placed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_holds PRIMARY KEY (wallet_id, id),
        CONSTRAINT ck_holds_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT ck_holds_parts_not_negative
            CHECK (captured_minor >= 0 AND released_minor >= 0 AND expired_minor >= 0),
        CONSTRAINT ck_holds_parts_add_up CHECK (
            CASE status
            WHEN 'open' THEN captured_minor + released_minor + expired_minor < amount_minor
            WHEN 'captured' THEN captured_minor + released_minor + expired_minor = amount_minor
            WHEN 'released' THEN captured_minor + released_minor + expired_minor = amount_minor
            WHEN 'expired' THEN captured_minor + released_minor + expired_minor = amount_minor
            ELSE false END
        ),
        CONSTRAINT ck_holds_expired_is_told CHECK ((expired_minor > 0) = (status = 'expired'))
    ) WITH (
        fillfactor = 70,
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""
_INDEXES: Final = (
    "CREATE INDEX ix_holds_id ON holds (id)",
    "CREATE INDEX ix_holds_open ON holds (wallet_id, expires_at) WHERE status = 'open'",
    """
    CREATE INDEX ix_holds_due ON holds (expires_at)
    WHERE captured_minor + released_minor + expired_minor < amount_minor
    """,
    """
    CREATE INDEX ix_events_holds ON events (wallet_id, wallet_version)
    WHERE type IN ('HoldPlaced', 'HoldCaptured', 'HoldReleased', 'HoldExpired')
    """,
)
# NOT VALID, then VALIDATE: the long look at all rows is taken without keeping anybody from writing.
_ENTRY_SIGNS: Final = """
    ALTER TABLE ledger_entries ADD CONSTRAINT ck_ledger_entries_type_sign_and_counter CHECK (
        CASE type
        WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'
        WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'
        WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'
        ELSE false END
    )
"""
_ENTRY_SIGNS_BEFORE: Final = _ENTRY_SIGNS.replace(
    "WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'", ""
)
_DROP_SIGNS: Final = (
    "ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_type_sign_and_counter"
)


def upgrade() -> None:
    """Add what holds need. The index on events takes a look at all of them while writers wait."""
    op.execute(_HOLDS)
    op.execute(_DROP_SIGNS)
    op.execute(f"{_ENTRY_SIGNS} NOT VALID")
    op.execute("SET LOCAL statement_timeout = 0")
    for index in _INDEXES:
        op.execute(index)
    op.execute(
        "ALTER TABLE ledger_entries VALIDATE CONSTRAINT ck_ledger_entries_type_sign_and_counter"
    )


def downgrade() -> None:
    """Refused while there are holds, or entries of captured ones."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM holds) THEN
                RAISE EXCEPTION 'money was held here: no way back';
            END IF;
        END $$
    """)
    op.execute("DROP INDEX ix_events_holds")
    op.execute("DROP TABLE holds")
    op.execute(_DROP_SIGNS)
    op.execute(_ENTRY_SIGNS_BEFORE)
