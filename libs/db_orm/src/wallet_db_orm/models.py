"""This module is where the tables are declared: columns, constraints, triggers; no behaviour."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, TIMESTAMP, UUID

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_INSTANT = TIMESTAMP(timezone=True)
_NOW: Final = sa.text("now()")


def _required(name: str, kind: object, **options: object) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False, **options)  # type: ignore[arg-type]  # sa's stubs


# One row per wallet, changed only under its lock. Room on each page keeps updates in place.
wallets: Final = sa.Table(
    "wallets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text),
    _required("currency", sa.Text),
    _required("balance_minor", sa.BigInteger),
    _required("held_minor", sa.BigInteger),
    _required("status", sa.Text),
    _required("version", sa.BigInteger),
    sa.Column("metadata", JSON),
    _required("created_at", _INSTANT),
    _required("updated_at", _INSTANT),
    sa.CheckConstraint("balance_minor >= 0", name="balance_not_negative"),
    sa.CheckConstraint("held_minor >= 0 AND held_minor <= balance_minor", name="held_is_covered"),
    sa.CheckConstraint("version >= 1", name="version_positive"),
    sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_code"),
    sa.CheckConstraint("status IN ('active', 'frozen', 'closed')", name="status_known"),
    sa.Index(
        "uq_wallets_owner_id_currency",
        "owner_id",
        "currency",
        unique=True,
        postgresql_where=sa.text("owner_id IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": "60"},
)

# The idempotency key, what was asked with it, and what came of it. Append-only.
operations: Final = sa.Table(
    "operations",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    _required("operation_id", UUID),
    _required("type", sa.Text),
    _required("meaning", JSON),
    _required("outcome", JSON),
    _required("trace_id", sa.Text),
    sa.Column("audit_id", UUID),
    _required("occurred_at", _INSTANT),
    sa.CheckConstraint("length(request_id) BETWEEN 1 AND 128", name="request_id_length"),
)

# One signed line per movement; the counter account names the other leg. Append-only.
ledger_entries: Final = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("wallet_version", sa.BigInteger, primary_key=True),
    _required("type", sa.Text),
    _required("amount_minor", sa.BigInteger),
    _required("balance_after_minor", sa.BigInteger),
    _required("currency", sa.Text),
    _required("counter_account", sa.Text),
    _required("operation_id", UUID),
    sa.Column("transfer_id", UUID),
    _required("request_id", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("metadata", JSON),
    _required("occurred_at", _INSTANT),
    sa.Column("audit_id", UUID),
    _required("trace_id", sa.Text),
    sa.CheckConstraint("balance_after_minor >= 0", name="balance_not_negative"),
    sa.CheckConstraint(
        "CASE type"
        " WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'"
        " WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'"
        " WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'"
        " WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'"
        " WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'"
        " ELSE false END",
        name="type_sign_and_counter",
    ),
    sa.CheckConstraint(
        "(transfer_id IS NOT NULL) = (counter_account = '@transit')", name="transfer_named"
    ),
)

# Money between two wallets; the key leads with the sender, whose lock guards the row.
# `audit` is the audit record of the request until the transfer's end writes it to api_audit.
transfers: Final = sa.Table(
    "transfers",
    metadata,
    sa.Column("from_wallet_id", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    _required("to_wallet_id", sa.Text),
    _required("amount_minor", sa.BigInteger),
    _required("currency", sa.Text),
    _required("state", sa.Text),
    _required("request_id", sa.Text),
    _required("from_balance_minor", sa.BigInteger),
    sa.Column("to_balance_minor", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("metadata", JSON),
    _required("trace_id", sa.Text),
    sa.Column("audit_id", UUID),
    sa.Column("audit", JSON),
    _required("initiated_at", _INSTANT),
    sa.Column("finished_at", _INSTANT),
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
    postgresql_with={"fillfactor": "80"},
)

# The facts, gap-free by wallet version; a verdict about a wallet has no version. Append-only.
events: Final = sa.Table(
    "events",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    sa.Column("wallet_version", sa.BigInteger),
    _required("type", sa.Text),
    sa.Column("transfer_id", UUID),
    sa.Column("audit_id", UUID),
    sa.Column("trace_id", sa.Text),
    _required("payload", JSON),
    _required("occurred_at", _INSTANT),
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
)

# Events not yet confirmed by the broker. `position` is drawn while the wallet is locked, so the
# visible rows of one wallet are in order in every snapshot. A published row is deleted.
outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _required("wallet_id", sa.Text),
    _required("event_id", UUID),
    _required("recorded_at", _INSTANT, server_default=_NOW),
)

# Every changing HTTP request and how it was answered. Append-only.
api_audit: Final = sa.Table(
    "api_audit",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    _required("recorded_at", _INSTANT, server_default=sa.text("clock_timestamp()")),
    _required("method", sa.Text),
    _required("url", sa.Text),
    _required("body", sa.LargeBinary),
    _required("headers", JSON),
    sa.Column("client_ip", sa.Text),
    _required("status", sa.SmallInteger),
    sa.Column("principal", sa.Text),
    sa.Column("wallet_id", sa.Text),
    sa.Column("request_id", sa.Text),
    _required("trace_id", sa.Text),
    _required("duration_us", sa.BigInteger),
    sa.CheckConstraint("status BETWEEN 100 AND 599", name="status_is_http"),
)

# The worker's inbox: events it has applied, written in the transaction of their effect.
processed_events: Final = sa.Table(
    "processed_events",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    _required("processed_at", _INSTANT, server_default=_NOW),
)

# What a wallet did so far. Totals rest at the 64-bit limit instead of failing beyond it.
wallet_stats: Final = sa.Table(
    "wallet_stats",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    _required("currency", sa.Text),
    _required("total_deposited_minor", sa.BigInteger),
    _required("total_withdrawn_minor", sa.BigInteger),
    _required("total_transferred_in_minor", sa.BigInteger),
    _required("total_transferred_out_minor", sa.BigInteger),
    _required("last_activity_at", _INSTANT),
    _required("suspicious", sa.Boolean),
    sa.Column("suspicious_reason", sa.Text),
    # Event time of the flag that the reason tells of.
    sa.Column("suspicious_at", _INSTANT),
    sa.CheckConstraint(
        "total_deposited_minor >= 0 AND total_withdrawn_minor >= 0"
        " AND total_transferred_in_minor >= 0 AND total_transferred_out_minor >= 0",
        name="totals_not_negative",
    ),
    postgresql_with={"fillfactor": "70"},
)

# One verdict per rule and event; `verdict` is the payload of the WalletFlagged event.
fraud_flags: Final = sa.Table(
    "fraud_flags",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("rule_id", sa.Text, primary_key=True),
    _required("rule_version", sa.Integer),
    _required("reason", sa.Text),
    _required("verdict", JSON),
    _required("occurred_at", _INSTANT),
    _required("flagged_at", _INSTANT),
)

# Letters that no retry could deliver, when there is no broker to hold them.
dead_letters: Final = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    _required("queue", sa.Text),
    _required("routing_key", sa.Text),
    _required("body", sa.LargeBinary),
    _required("error", sa.Text),
    _required("error_class", sa.Text),
    _required("attempts", sa.Integer),
    _required("replays", sa.Integer),
    _required("first_failed_at", _INSTANT),
    _required("last_failed_at", _INSTANT),
    sa.CheckConstraint("attempts >= 1 AND replays >= 0", name="counts"),
)

APPEND_ONLY: Final = ("ledger_entries", "events", "api_audit", "operations")

REFUSE_CHANGE: Final = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
"""


def append_only(table: str) -> tuple[str, ...]:
    """Return the statements that make `table` refuse changes, even to a replica-mode session."""
    run = "EXECUTE FUNCTION refuse_change()"
    return (
        f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {run}",
        f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {run}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_rows",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_table",
    )


def _attach_triggers() -> None:
    # DDL() formats with %, the function's body has its own.
    sa.event.listen(metadata, "before_create", _ddl(REFUSE_CHANGE.replace("%", "%%")))
    for name in APPEND_ONLY:
        for statement in append_only(name):
            sa.event.listen(metadata.tables[name], "after_create", _ddl(statement))


def _ddl(statement: str) -> sa.DDL:
    return sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


_attach_triggers()
