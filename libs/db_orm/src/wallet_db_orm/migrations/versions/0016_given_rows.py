"""
Types of the rows that a batch gives, so that it is handed over as records and not by columns.

A type is never altered, for processes of before and after an upgrade write side by side: a row of
another form gets a type of another name, and the old one goes when nobody writes by it any more.
"""

from collections.abc import Mapping
from typing import Final

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_GIVEN: Final[Mapping[str, str]] = {
    "given_wallets": """
        id text, balance_minor bigint, held_minor bigint, version bigint, head bytea
    """,
    "given_operations": """
        wallet_id text, request_id text, operation_id uuid, type text, meaning json, outcome json,
        trace_id text, audit_id uuid
    """,
    "given_ledger_entries": """
        wallet_id text, wallet_version bigint, type text, amount_minor bigint,
        balance_after_minor bigint, currency text, counter_account text, operation_id uuid,
        transfer_id uuid, request_id text, reference text, metadata json, audit_id uuid,
        trace_id text, hash bytea
    """,
    "given_events": """
        wallet_id text, id uuid, wallet_version bigint, type text, transfer_id uuid, audit_id uuid,
        trace_id text, payload json
    """,
    "given_api_audit": """
        id uuid, method text, url text, body bytea, headers json, client_ip text, status smallint,
        principal text, wallet_id text, request_id text, trace_id text, duration_us bigint
    """,
}


def upgrade() -> None:
    """Add the types."""
    for name, columns in _GIVEN.items():
        op.execute(f"CREATE TYPE {name} AS ({columns})")


def downgrade() -> None:
    """Remove them."""
    for name in _GIVEN:
        op.execute(f"DROP TYPE {name}")
