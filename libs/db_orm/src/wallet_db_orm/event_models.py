"""This module is where the tables of events are declared: what happened, what waits, what left."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, NOW, metadata, required

# The facts, gap-free by wallet version; a verdict about a wallet has no version. Append-only.
events: Final = sa.Table(
    "events",
    metadata,
    required("wallet_id", sa.Text),
    required("id", UUID),
    sa.Column("wallet_version", sa.BigInteger),
    required("type", sa.Text),
    sa.Column("transfer_id", UUID),
    sa.Column("audit_id", UUID),
    sa.Column("trace_id", sa.Text),
    required("payload", JSON),
    required("occurred_at", INSTANT),
    # It begins with what grows with time, so that a new event goes to the index's end.
    sa.PrimaryKeyConstraint("id", "wallet_id"),
    sa.UniqueConstraint("wallet_id", "wallet_version"),
    sa.CheckConstraint(
        "(wallet_version IS NULL) = (type = 'WalletFlagged')", name="steps_are_versioned"
    ),
    # The fraud window, without a walk through a busy wallet's other events.
    sa.Index(
        "ix_events_withdrawals",
        "wallet_id",
        "occurred_at",
        postgresql_where=sa.text("type = 'FundsWithdrawn'"),
    ),
    # How a wallet stood at an instant, without a walk through all that happened since.
    sa.Index(
        "ix_events_standing",
        "wallet_id",
        "wallet_version",
        postgresql_where=sa.text("type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')"),
    ),
    # What a wallet might do at an instant, in the same way.
    sa.Index(
        "ix_events_limits",
        "wallet_id",
        "wallet_version",
        postgresql_where=sa.text("type = 'LimitsChanged'"),
    ),
    # What was held at an instant, without a walk through all that moved since.
    sa.Index(
        "ix_events_holds",
        "wallet_id",
        "wallet_version",
        postgresql_where=sa.text(
            "type IN ('HoldPlaced', 'HoldCaptured', 'HoldReleased', 'HoldExpired')"
        ),
    ),
    postgresql_with=storage.ADDED,
)

# Events not yet confirmed by the broker. `position` is drawn while the wallet is locked, so the
# visible rows of one wallet are in order in every snapshot. A published row is deleted. `answer` is
# what goes out instead of an event: to another service, about a transaction of its own.
outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    required("wallet_id", sa.Text),
    required("event_id", UUID),
    required("recorded_at", INSTANT, server_default=NOW),
    sa.Column("answer", JSON),
    # So often an operator has put it back after it died; the feed has it already.
    required("replays", sa.SmallInteger, server_default=sa.text("0")),
    sa.CheckConstraint("replays >= 0", name="replays_counted"),
    postgresql_with=storage.CHURNED,
)

# Every event that has left, in the order in which it did: `position` is 1, 2, 3 … without a gap,
# given by the one relay in the transaction that removes the event from the outbox.
feed: Final = sa.Table(
    "feed",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    required("wallet_id", sa.Text),
    required("event_id", UUID),
    required("published_at", INSTANT, server_default=sa.text("clock_timestamp()")),
    sa.Index("ix_feed_wallet_id_position", "wallet_id", "position"),
    postgresql_with=storage.ADDED,
)
