"""Wallets with limits of their own, which may owe money if those say so."""

from typing import Final

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# NOT VALID, then VALIDATE: the long look at all rows is taken without keeping anybody from writing.
_CHECKS: Final = (
    ("wallets", "held_not_negative", "held_minor >= 0"),
    (
        "wallets",
        "above_its_floor",
        "balance_minor - held_minor >= floor_minor AND floor_minor <= 0",
    ),
    (
        "transfers",
        "state_is_told",
        (
            "CASE state WHEN 'debited' THEN finished_at IS NULL WHEN 'completed'"
            " THEN finished_at IS NOT NULL AND to_balance_minor IS NOT NULL WHEN 'failed'"
            " THEN finished_at IS NOT NULL AND reason IS NOT NULL ELSE false END"
        ),
    ),
)
_STATE_BEFORE: Final = """
    ALTER TABLE transfers ADD CONSTRAINT ck_transfers_state_is_told CHECK (
        CASE state
        WHEN 'debited' THEN finished_at IS NULL
        WHEN 'completed' THEN finished_at IS NOT NULL AND coalesce(to_balance_minor, -1) >= 0
        WHEN 'failed' THEN finished_at IS NOT NULL AND reason IS NOT NULL
        ELSE false END
    )
"""


def upgrade() -> None:
    """Add what limits need. The index takes a look at all events."""
    op.execute("ALTER TABLE wallets ADD COLUMN floor_minor BIGINT NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE wallets ADD COLUMN limits JSON")
    op.execute("ALTER TABLE wallets DROP CONSTRAINT ck_wallets_balance_not_negative")
    op.execute("ALTER TABLE wallets DROP CONSTRAINT ck_wallets_held_is_covered")
    op.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_balance_not_negative")
    op.execute("ALTER TABLE transfers DROP CONSTRAINT ck_transfers_state_is_told")
    for table, name, rule in _CHECKS:
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({rule}) NOT VALID")
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        CREATE INDEX ix_events_limits ON events (wallet_id, wallet_version)
        WHERE type = 'LimitsChanged'
    """)
    for table, name, _ in _CHECKS:
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name}")


def downgrade() -> None:
    """Refused while a wallet has limits, or has ever owed anything."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM events WHERE type = 'LimitsChanged')
                OR EXISTS (SELECT FROM ledger_entries WHERE balance_after_minor < 0)
            THEN
                RAISE EXCEPTION 'wallets have limits, or have owed money: no way back';
            END IF;
        END $$
    """)
    op.execute("DROP INDEX ix_events_limits")
    for table, name, _ in _CHECKS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
    op.execute(_STATE_BEFORE)
    op.execute(
        "ALTER TABLE ledger_entries"
        " ADD CONSTRAINT ck_ledger_entries_balance_not_negative CHECK (balance_after_minor >= 0)"
    )
    op.execute(
        "ALTER TABLE wallets ADD CONSTRAINT ck_wallets_held_is_covered"
        " CHECK (held_minor >= 0 AND held_minor <= balance_minor)"
    )
    op.execute(
        "ALTER TABLE wallets"
        " ADD CONSTRAINT ck_wallets_balance_not_negative CHECK (balance_minor >= 0)"
    )
    op.execute("ALTER TABLE wallets DROP COLUMN limits")
    op.execute("ALTER TABLE wallets DROP COLUMN floor_minor")
