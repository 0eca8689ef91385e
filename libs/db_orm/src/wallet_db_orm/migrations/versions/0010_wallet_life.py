"""Wallets that are frozen one way, and closed."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a wallet's standing needs. The index takes a look at all events."""
    op.execute("ALTER TABLE wallets ADD COLUMN frozen TEXT")
    op.execute("""
        ALTER TABLE wallets ADD CONSTRAINT ck_wallets_frozen_some_way CHECK (
            frozen IS NULL OR (status = 'frozen' AND frozen IN ('in', 'out', 'both'))
        ) NOT VALID
    """)
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        CREATE INDEX ix_events_standing ON events (wallet_id, wallet_version)
        WHERE type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')
    """)
    op.execute("ALTER TABLE wallets VALIDATE CONSTRAINT ck_wallets_frozen_some_way")


def downgrade() -> None:
    """Refused while a wallet is frozen one way only: it would be frozen both ways."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM wallets WHERE frozen IN ('in', 'out')) THEN
                RAISE EXCEPTION 'a wallet is frozen one way only: no way back';
            END IF;
        END $$
    """)
    op.execute("DROP INDEX ix_events_standing")
    op.execute("ALTER TABLE wallets DROP COLUMN frozen")
