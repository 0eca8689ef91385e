"""Limits: the buckets from which every API process draws its requests."""

from typing import Final

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RATE_LIMITS: Final = """
    CREATE UNLOGGED TABLE rate_limits (
        id TEXT NOT NULL,
        full_at TIMESTAMP WITH TIME ZONE NOT NULL,
        granted INTEGER NOT NULL,
        CONSTRAINT pk_rate_limits PRIMARY KEY (id)
    ) WITH (
        fillfactor = 50,
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0
    )
"""


def upgrade() -> None:
    op.execute(_RATE_LIMITS)


def downgrade() -> None:
    op.execute("DROP TABLE rate_limits")
