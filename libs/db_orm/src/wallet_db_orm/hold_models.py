"""This module is where the table of holds is declared."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# One row per hold, changed only under its wallet's lock; what became of it is told by events.
holds: Final = sa.Table(
    "holds",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    required("currency", sa.Text),
    required("amount_minor", sa.BigInteger),
    required("captured_minor", sa.BigInteger),
    required("released_minor", sa.BigInteger),
    required("expired_minor", sa.BigInteger),
    required("status", sa.Text),
    sa.Column("expires_at", INSTANT),
    required("request_id", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("metadata", JSON),
    required("trace_id", sa.Text),
    required("placed_at", INSTANT),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
    sa.CheckConstraint(
        "captured_minor >= 0 AND released_minor >= 0 AND expired_minor >= 0",
        name="parts_not_negative",
    ),
    # Never more than was bound, and open as long as something still is.
    sa.CheckConstraint(
        "CASE status"
        " WHEN 'open' THEN captured_minor + released_minor + expired_minor < amount_minor"
        " WHEN 'captured' THEN captured_minor + released_minor + expired_minor = amount_minor"
        " WHEN 'released' THEN captured_minor + released_minor + expired_minor = amount_minor"
        " WHEN 'expired' THEN captured_minor + released_minor + expired_minor = amount_minor"
        " ELSE false END",
        name="parts_add_up",
    ),
    sa.CheckConstraint("(expired_minor > 0) = (status = 'expired')", name="expired_is_told"),
    sa.Index("ix_holds_id", "id"),
    # A wallet's open holds, by when their time is over.
    sa.Index(
        "ix_holds_open", "wallet_id", "expires_at", postgresql_where=sa.text("status = 'open'")
    ),
    # Those of all wallets. So spelled that a plan made for an empty table uses it for nothing else.
    sa.Index(
        "ix_holds_due",
        "expires_at",
        postgresql_where=sa.text("captured_minor + released_minor + expired_minor < amount_minor"),
    ),
    postgresql_with={"fillfactor": "70", **storage.CHANGED},
)
