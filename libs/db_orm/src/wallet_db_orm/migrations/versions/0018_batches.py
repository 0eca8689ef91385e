"""Batches: what was asked for under a batch's own key."""

from typing import Final

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BATCHES: Final = """
    CREATE TABLE batches (
        principal TEXT NOT NULL,
        id UUID NOT NULL,
        meaning JSON NOT NULL,
        audit_id UUID NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_batches PRIMARY KEY (principal, id)
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 500000,
        autovacuum_freeze_min_age = 0,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000
    )
"""


def upgrade() -> None:
    """Add the table. Batches of before are not in it, and are met as if for the first time."""
    op.execute(_BATCHES)
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON batches FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON batches FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE batches ENABLE ALWAYS TRIGGER {name}")


def downgrade() -> None:
    """Forget them; their commands are remembered all the same."""
    op.execute("DROP TABLE batches")
