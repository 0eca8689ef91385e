"""This module is where the tables are declared: columns, constraints, triggers; no behaviour."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_common.currencies import PATTERN
from wallet_db_orm import storage
from wallet_db_orm.batch_models import batches
from wallet_db_orm.event_models import events, feed, outbox
from wallet_db_orm.evidence_models import (
    archived_partitions,
    audit_seals,
    checkpoint_heads,
    checkpoints,
    unsealed_audit,
)
from wallet_db_orm.fee_models import fee_schedules
from wallet_db_orm.fx_models import fx_quotes, fx_rates
from wallet_db_orm.hold_models import holds
from wallet_db_orm.limit_models import rate_limits
from wallet_db_orm.private_models import owner_keys, pii_index
from wallet_db_orm.reversal_models import reversals
from wallet_db_orm.schema import INSTANT, NO_HASH, metadata, required
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
    "batches",
    "checkpoint_heads",
    "checkpoints",
    "dead_letters",
    "discarded_letters",
    "events",
    "fee_schedules",
    "feed",
    "fraud_flags",
    "fx_quotes",
    "fx_rates",
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
    "reversals",
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
    # Which way the money of a frozen one may not move; without it: both.
    sa.Column("frozen", sa.Text),
    # How little may be available: what it may owe, or more where it owes that already.
    required("floor_minor", sa.BigInteger, server_default=sa.text("0")),
    # `wallet_common.limits.Limits`; none without.
    sa.Column("limits", JSON),
    sa.CheckConstraint("held_minor >= 0", name="held_not_negative"),
    sa.CheckConstraint(
        "balance_minor - held_minor >= floor_minor AND floor_minor <= 0", name="above_its_floor"
    ),
    sa.CheckConstraint("version >= 1", name="version_positive"),
    sa.CheckConstraint(f"currency ~ '^{PATTERN}$'", name="currency_code"),
    sa.CheckConstraint("status IN ('active', 'frozen', 'closed')", name="status_known"),
    sa.CheckConstraint("octet_length(head) = 32", name="head_is_a_hash"),
    sa.CheckConstraint(
        "frozen IS NULL OR (status = 'frozen' AND frozen IN ('in', 'out', 'both'))",
        name="frozen_some_way",
    ),
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
    # Ids grow with time, so a range of pages holds a range of ids: what finds an operation by its
    # id costs next to nothing to keep.
    sa.Index(
        "ix_operations_operation_id",
        "operation_id",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    ),
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
    sa.CheckConstraint(
        "CASE type"
        " WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'"
        " WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'withdraw_reversal' THEN amount_minor > 0 AND counter_account = '@external'"
        " WHEN 'hold_capture' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'transfer_debit' THEN amount_minor < 0 AND"
        " counter_account IN ('@transit', '@fx:' || currency)"
        " WHEN 'transfer_credit' THEN amount_minor > 0 AND"
        " counter_account IN ('@transit', '@fx:' || currency)"
        " WHEN 'transfer_refund' THEN amount_minor > 0 AND"
        " counter_account IN ('@transit', '@fx:' || currency)"
        " WHEN 'fee' THEN amount_minor < 0 AND counter_account = '@fees'"
        " WHEN 'fee_refund' THEN amount_minor > 0 AND counter_account = '@fees'"
        " ELSE false END",
        name="type_sign_and_counter",
    ),
    sa.CheckConstraint(
        "CASE counter_account WHEN '@external' THEN transfer_id IS NULL"
        " WHEN '@fees' THEN true ELSE transfer_id IS NOT NULL END",
        name="transfer_named",
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
    # The terms on which it changes currency, if it does: those of its quote.
    sa.Column("quote_id", UUID),
    sa.Column("rate", sa.Text),
    sa.Column("to_currency", sa.Text),
    sa.Column("to_amount_minor", sa.BigInteger),
    sa.Column("residue", sa.Text),
    # What the sender paid for it besides.
    required("fee_minor", sa.BigInteger, server_default=sa.text("0")),
    sa.CheckConstraint("fee_minor >= 0", name="fee_not_negative"),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
    sa.CheckConstraint(
        "num_nonnulls(quote_id, rate, to_currency, to_amount_minor, residue) IN (0, 5)"
        " AND to_amount_minor > 0 IS NOT FALSE AND to_currency <> currency IS NOT FALSE",
        name="terms_whole",
    ),
    sa.CheckConstraint("from_wallet_id <> to_wallet_id", name="two_wallets"),
    sa.CheckConstraint(
        "CASE state"
        " WHEN 'debited' THEN finished_at IS NULL"
        " WHEN 'completed' THEN finished_at IS NOT NULL AND to_balance_minor IS NOT NULL"
        " WHEN 'failed' THEN finished_at IS NOT NULL AND reason IS NOT NULL"
        " ELSE false END",
        name="state_is_told",
    ),
    sa.Index("ix_transfers_id", "id"),
    sa.Index(
        "uq_transfers_quote_id",
        "quote_id",
        unique=True,
        postgresql_where=sa.text("quote_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_transfers_unfinished", "initiated_at", postgresql_where=sa.text("state = 'debited'")
    ),
    postgresql_with={"fillfactor": "80", **storage.CHANGED},
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
