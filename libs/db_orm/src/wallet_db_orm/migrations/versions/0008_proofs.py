"""Proofs: what each one saw, and from where the next one may go on."""

from typing import Final

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_PROOFS: Final = """
    CREATE TABLE proofs (
        id UUID NOT NULL,
        snapshot_at TIMESTAMP WITH TIME ZONE NOT NULL,
        mode TEXT NOT NULL,
        ok BOOLEAN NOT NULL,
        took_ms BIGINT NOT NULL,
        position BIGINT NOT NULL,
        asked_by TEXT NOT NULL,
        checked JSON NOT NULL,
        violations JSON NOT NULL,
        CONSTRAINT pk_proofs PRIMARY KEY (id),
        CONSTRAINT ck_proofs_mode_known CHECK (mode IN ('whole', 'incremental')),
        CONSTRAINT ck_proofs_counts CHECK (position >= 0 AND took_ms >= 0)
    )
"""
_PROVEN_WALLETS: Final = """
    CREATE TABLE proven_wallets (
        wallet_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        balance_minor BIGINT NOT NULL,
        CONSTRAINT pk_proven_wallets PRIMARY KEY (wallet_id)
    ) WITH (
        fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""


def upgrade() -> None:
    op.execute(_PROOFS)
    op.execute(_PROVEN_WALLETS)
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON proofs FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON proofs FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE proofs ENABLE ALWAYS TRIGGER {name}")


def downgrade() -> None:
    op.execute("DROP TABLE proofs")
    op.execute("DROP TABLE proven_wallets")
