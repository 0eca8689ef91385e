"""This module is where the worker's tables are declared: its inbox, what it concludes, letters."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, NOW, metadata, required

# The worker's inbox: events it has applied, written in the transaction of their effect.
processed_events: Final = sa.Table(
    "processed_events",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    required("processed_at", INSTANT, server_default=NOW),
    postgresql_with=storage.ADDED,
)

# What a wallet did so far. Totals rest at the 64-bit limit instead of failing beyond it.
wallet_stats: Final = sa.Table(
    "wallet_stats",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    required("currency", sa.Text),
    required("total_deposited_minor", sa.BigInteger),
    required("total_withdrawn_minor", sa.BigInteger),
    required("total_transferred_in_minor", sa.BigInteger),
    required("total_transferred_out_minor", sa.BigInteger),
    required("last_activity_at", INSTANT),
    required("suspicious", sa.Boolean),
    sa.Column("suspicious_reason", sa.Text),
    # Event time of the flag that the reason tells of.
    sa.Column("suspicious_at", INSTANT),
    sa.CheckConstraint(
        "total_deposited_minor >= 0 AND total_withdrawn_minor >= 0"
        " AND total_transferred_in_minor >= 0 AND total_transferred_out_minor >= 0",
        name="totals_not_negative",
    ),
    postgresql_with={"fillfactor": "70", **storage.CHANGED},
)

# One verdict per rule and event; `verdict` is the payload of the WalletFlagged event.
fraud_flags: Final = sa.Table(
    "fraud_flags",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("rule_id", sa.Text, primary_key=True),
    required("rule_version", sa.Integer),
    required("reason", sa.Text),
    required("verdict", JSON),
    required("occurred_at", INSTANT),
    required("flagged_at", INSTANT),
    # The newest of a wallet's flags, however many it has.
    sa.Index(
        "ix_fraud_flags_newest",
        "wallet_id",
        sa.text("occurred_at DESC"),
        sa.text("event_id DESC"),
        "rule_id",
    ),
    postgresql_with=storage.ADDED,
)

# Letters that no retry could deliver, when there is no broker to hold them.
dead_letters: Final = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("queue", sa.Text),
    required("routing_key", sa.Text),
    required("body", sa.LargeBinary),
    required("error", sa.Text),
    required("error_class", sa.Text),
    required("attempts", sa.Integer),
    required("replays", sa.Integer),
    required("first_failed_at", INSTANT),
    required("last_failed_at", INSTANT),
    sa.CheckConstraint("attempts >= 1 AND replays >= 0", name="counts"),
)
