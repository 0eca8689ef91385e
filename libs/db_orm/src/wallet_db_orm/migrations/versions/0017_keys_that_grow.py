"""
Keys of events begin with the event's id, which grows with time, and no longer with the wallet.

A new event goes to the index's end, which is in memory, instead of somewhere into its middle. Reads
go on while the indexes are built; writes wait for about a second per million events.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_KEYS: Final[Mapping[str, Sequence[str]]] = {
    "events": ("id", "wallet_id"),
    "processed_events": ("event_id", "wallet_id"),
}


def upgrade() -> None:
    """Turn the keys round."""
    for table, columns in _KEYS.items():
        _replace(table, columns)


def downgrade() -> None:
    """Turn them back."""
    for table, columns in _KEYS.items():
        _replace(table, columns[::-1])


def _replace(table: str, columns: Sequence[str]) -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(f"CREATE UNIQUE INDEX pk_{table}_0017 ON {table} ({', '.join(columns)})")
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT pk_{table},"
        f" ADD CONSTRAINT pk_{table} PRIMARY KEY USING INDEX pk_{table}_0017"
    )
