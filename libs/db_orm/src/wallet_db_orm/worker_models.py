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
    required("wallet_id", sa.Text),
    required("event_id", sa.Text),
    required("processed_at", INSTANT, server_default=NOW),
    # As in `events`: what is new goes to the index's end.
    sa.PrimaryKeyConstraint("event_id", "wallet_id"),
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

# Transactions of other services, by their own id: what was asked and how it ended here. A row is
# there before any money moves; `type` and what belongs to it lack when a failure was told first.
settlements: Final = sa.Table(
    "settlements",
    metadata,
    sa.Column("transaction_id", sa.Text, primary_key=True),
    sa.Column("type", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("recipient_id", sa.Text),
    sa.Column("wallet_id", sa.Text),
    sa.Column("to_wallet_id", sa.Text),
    sa.Column("amount_minor", sa.BigInteger),
    sa.Column("currency", sa.Text),
    required("state", sa.Text),
    sa.Column("reason", sa.Text),
    required("first_seen_at", INSTANT, server_default=NOW),
    sa.Column("completion_answered_at", INSTANT),
    sa.Column("failure_answered_at", INSTANT),
    sa.CheckConstraint("state IN ('accepted', 'completed', 'failed')", name="state_known"),
    sa.CheckConstraint(
        "(type IS NULL) = (amount_minor IS NULL) AND (type IS NULL) = (currency IS NULL)",
        name="plan_is_whole",
    ),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
    postgresql_with={"fillfactor": "80", **storage.CHANGED},
)

# What operators did: written before it is done, so that nothing is done unseen. Append-only.
operator_log: Final = sa.Table(
    "operator_log",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("at", INSTANT, server_default=sa.text("clock_timestamp()")),
    required("operator", sa.Text),
    required("act", sa.Text),
    required("subject", sa.Text),
    required("details", JSON),
)

# Letters that an operator threw away, whole. Append-only.
discarded_letters: Final = sa.Table(
    "discarded_letters",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("letter_id", sa.Text),
    required("queue", sa.Text),
    required("routing_key", sa.Text),
    required("headers", JSON),
    required("body", sa.LargeBinary),
    required("error", sa.Text),
    required("error_class", sa.Text),
    required("attempts", sa.Integer),
    required("replays", sa.Integer),
    # As its headers told it, which anybody may have written.
    sa.Column("first_failed_at", sa.Text),
    sa.Column("last_failed_at", sa.Text),
    required("discarded_at", INSTANT, server_default=sa.text("clock_timestamp()")),
    required("operator", sa.Text),
    required("reason", sa.Text),
)
