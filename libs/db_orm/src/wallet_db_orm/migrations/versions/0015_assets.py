"""Wallets kept in any asset, whose code tells its decimals."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ANY = "currency ~ '^([A-Z]{3}|[A-Z][A-Z0-9]{1,11}[.](0|[1-9]|1[0-8]))$'"
_ISO = "currency ~ '^[A-Z]{3}$'"


def upgrade() -> None:
    """Let other codes in. The check takes a look at all wallets, and keeps nobody from writing."""
    _replace(_ANY)


def downgrade() -> None:
    """Refused while a wallet is kept in another asset."""
    _replace(_ISO)


def _replace(rule: str) -> None:
    op.execute("ALTER TABLE wallets DROP CONSTRAINT ck_wallets_currency_code")
    op.execute(
        f"ALTER TABLE wallets ADD CONSTRAINT ck_wallets_currency_code CHECK ({rule}) NOT VALID"
    )
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE wallets VALIDATE CONSTRAINT ck_wallets_currency_code")
