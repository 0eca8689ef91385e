"""This module is where the tables are declared: columns, constraints, triggers; no behaviour."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.evidence_models import (
    archived_partitions,
    audit_seals,
    checkpoint_heads,
    checkpoints,
    unsealed_audit,
)
from wallet_db_orm.hold_models import holds
from wallet_db_orm.limit_models import rate_limits
from wallet_db_orm.private_models import owner_keys, pii_index
from wallet_db_orm.schema import INSTANT, NO_HASH, NOW, metadata, required
from wallet_db_orm.worker_models import (
    dead_letters,
    discarded_letters,
    fraud_flags,
    operator_log,
    processed_events,
    settlements,
    wallet_stats,
)

__all__ = [
    "api_audit",
    "archived_partitions",
    "audit_seals",
    "checkpoint_heads",
    "checkpoints",
    "dead_letters",
    "discarded_letters",
    "events",
    "feed",
    "fraud_flags",
    "holds",
    "ledger_entries",
    "metadata",
    "operations",
    "operator_log",
    "outbox",
    "owner_keys",
    "pii_index",
    "processed_events",
    "rate_limits",
    "settlements",
    "transfers",
    "unsealed_audit",
    "wallet_stats",
    "wallets",
]

# One row per wallet, changed only under its lock. Room on each page keeps updates in place.
wallets: Final = sa.Table(
    "wallets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text),
    required("currency", sa.Text),
    required("balance_minor", sa.BigInteger),
    required("held_minor", sa.BigInteger),
    required("status", sa.Text),
    required("version", sa.BigInteger),
    sa.Column("metadata", JSON),
    required("created_at", INSTANT),
    required("updated_at", INSTANT),
    # The hash of its newest entry; zeros before the first.
    required("head", sa.LargeBinary, server_default=NO_HASH),
    sa.CheckConstraint("balance_minor >= 0", name="balance_not_negative"),
    sa.CheckConstraint("held_minor >= 0 AND held_minor <= balance_minor", name="held_is_covered"),
    sa.CheckConstraint("version >= 1", name="version_positive"),
    sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_code"),
    sa.CheckConstraint("status IN ('active', 'frozen', 'closed')", name="status_known"),
    sa.CheckConstraint("octet_length(head) = 32", name="head_is_a_hash"),
    sa.Index(
        "uq_wallets_owner_id_currency",
        "owner_id",
        "currency",
        unique=True,
        postgresql_where=sa.text("owner_id IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": "60", **storage.CHANGED},
)

# The idempotency key, what was asked with it, and what came of it. Append-only.
operations: Final = sa.Table(
    "operations",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    required("operation_id", UUID),
    required("type", sa.Text),
    required("meaning", JSON),
    required("outcome", JSON),
    required("trace_id", sa.Text),
    sa.Column("audit_id", UUID),
    required("occurred_at", INSTANT),
    sa.CheckConstraint("length(request_id) BETWEEN 1 AND 128", name="request_id_length"),
    postgresql_with=storage.ADDED,
)

# One signed line per movement; the counter account names the other leg. Append-only.
ledger_entries: Final = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("wallet_version", sa.BigInteger, primary_key=True),
    required("type", sa.Text),
    required("amount_minor", sa.BigInteger),
    required("balance_after_minor", sa.BigInteger),
    required("currency", sa.Text),
    required("counter_account", sa.Text),
    required("operation_id", UUID),
    sa.Column("transfer_id", UUID),
    required("request_id", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("metadata", JSON),
    required("occurred_at", INSTANT),
    sa.Column("audit_id", UUID),
    required("trace_id", sa.Text),
    # Chains all of the above to the wallet's entry before: wallet_common/chain.py.
    required("hash", sa.LargeBinary),
    sa.CheckConstraint("octet_length(hash) = 32", name="hash_is_a_hash"),
    sa.CheckConstraint("balance_after_minor >= 0", name="balance_not_negative"),
    sa.CheckConstraint(
        "CASE type"
        " WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'"
        " WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'"
        " WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'"
        " WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'"
        " ELSE false END",
        name="type_sign_and_counter",
    ),
    sa.CheckConstraint(
        "(transfer_id IS NOT NULL) = (counter_account = '@transit')", name="transfer_named"
    ),
    postgresql_with=storage.ADDED,
)

# Money between two wallets; the key leads with the sender, whose lock guards the row.
# `audit` is the audit record of the request until the transfer's end writes it to api_audit.
transfers: Final = sa.Table(
    "transfers",
    metadata,
    sa.Column("from_wallet_id", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    required("to_wallet_id", sa.Text),
    required("amount_minor", sa.BigInteger),
    required("currency", sa.Text),
    required("state", sa.Text),
    required("request_id", sa.Text),
    required("from_balance_minor", sa.BigInteger),
    sa.Column("to_balance_minor", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("metadata", JSON),
    required("trace_id", sa.Text),
    sa.Column("audit_id", UUID),
    sa.Column("audit", JSON),
    required("initiated_at", INSTANT),
    sa.Column("finished_at", INSTANT),
    # The transfer whose money this one brings back.
    sa.Column("reverses", UUID),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
    sa.CheckConstraint("from_wallet_id <> to_wallet_id", name="two_wallets"),
    sa.CheckConstraint(
        "CASE state"
        " WHEN 'debited' THEN finished_at IS NULL"
        " WHEN 'completed' THEN finished_at IS NOT NULL AND coalesce(to_balance_minor, -1) >= 0"
        " WHEN 'failed' THEN finished_at IS NOT NULL AND reason IS NOT NULL"
        " ELSE false END",
        name="state_is_told",
    ),
    sa.Index("ix_transfers_id", "id"),
    sa.Index(
        "ix_transfers_unfinished", "initiated_at", postgresql_where=sa.text("state = 'debited'")
    ),
    postgresql_with={"fillfactor": "80", **storage.CHANGED},
)

# The facts, gap-free by wallet version; a verdict about a wallet has no version. Append-only.
events: Final = sa.Table(
    "events",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    sa.Column("wallet_version", sa.BigInteger),
    required("type", sa.Text),
    sa.Column("transfer_id", UUID),
    sa.Column("audit_id", UUID),
    sa.Column("trace_id", sa.Text),
    required("payload", JSON),
    required("occurred_at", INSTANT),
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

# Every changing HTTP request and how it was answered. Append-only, partitioned by month: an id is
# drawn when the request arrives and grows with time, so a month is a range of ids.
api_audit: Final = sa.Table(
    "api_audit",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("recorded_at", INSTANT, server_default=sa.text("clock_timestamp()")),
    required("method", sa.Text),
    required("url", sa.Text),
    required("body", sa.LargeBinary),
    required("headers", JSON),
    sa.Column("client_ip", sa.Text),
    required("status", sa.SmallInteger),
    sa.Column("principal", sa.Text),
    sa.Column("wallet_id", sa.Text),
    sa.Column("request_id", sa.Text),
    required("trace_id", sa.Text),
    required("duration_us", sa.BigInteger),
    sa.CheckConstraint("status BETWEEN 100 AND 599", name="status_is_http"),
    postgresql_partition_by="RANGE (id)",
)


def _attach_ddl() -> None:
    # DDL() formats with %, the function's body has its own.
    for function in (storage.REFUSE_CHANGE, storage.make_audit_month()):
        sa.event.listen(metadata, "before_create", _ddl(function.replace("%", "%%")))
    for name in storage.NEVER_CHANGED:
        for statement in storage.append_only(name):
            sa.event.listen(metadata.tables[name], "after_create", _ddl(statement))
    attached = f"ALTER TABLE {api_audit.name} ATTACH PARTITION {storage.AUDIT_REST} DEFAULT"
    for statement in (*storage.audit_partition(storage.AUDIT_REST), attached):
        sa.event.listen(api_audit, "after_create", _ddl(statement))


def _ddl(statement: str) -> sa.DDL:
    return sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


_attach_ddl()
