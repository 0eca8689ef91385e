"""The first books: wallets, operations, entries, transfers, events, outbox, audit, projections."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE wallets (
        id TEXT NOT NULL,
        owner_id TEXT,
        currency TEXT NOT NULL,
        balance_minor BIGINT NOT NULL,
        held_minor BIGINT NOT NULL,
        status TEXT NOT NULL,
        version BIGINT NOT NULL,
        metadata JSON,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_wallets PRIMARY KEY (id),
        CONSTRAINT ck_wallets_balance_not_negative CHECK (balance_minor >= 0),
        CONSTRAINT ck_wallets_held_is_covered
            CHECK (held_minor >= 0
            AND held_minor <= balance_minor),
        CONSTRAINT ck_wallets_version_positive CHECK (version >= 1),
        CONSTRAINT ck_wallets_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_wallets_status_known CHECK (status IN ('active', 'frozen', 'closed'))
    )
     WITH (fillfactor = 60)
    """,
    """
    CREATE UNIQUE INDEX uq_wallets_owner_id_currency
        ON wallets (owner_id, currency)
        WHERE owner_id IS NOT NULL
    """,
    """
    CREATE TABLE operations (
        wallet_id TEXT NOT NULL,
        request_id TEXT NOT NULL,
        operation_id UUID NOT NULL,
        type TEXT NOT NULL,
        meaning JSON NOT NULL,
        outcome JSON NOT NULL,
        trace_id TEXT NOT NULL,
        audit_id UUID,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_operations PRIMARY KEY (wallet_id, request_id),
        CONSTRAINT ck_operations_request_id_length CHECK (length(request_id) BETWEEN 1 AND 128)
    )
    """,
    """
    CREATE TABLE ledger_entries (
        wallet_id TEXT NOT NULL,
        wallet_version BIGINT NOT NULL,
        type TEXT NOT NULL,
        amount_minor BIGINT NOT NULL,
        balance_after_minor BIGINT NOT NULL,
        currency TEXT NOT NULL,
        counter_account TEXT NOT NULL,
        operation_id UUID NOT NULL,
        transfer_id UUID,
        request_id TEXT NOT NULL,
        reference TEXT,
        metadata JSON,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        audit_id UUID,
        trace_id TEXT NOT NULL,
        CONSTRAINT pk_ledger_entries PRIMARY KEY (wallet_id, wallet_version),
        CONSTRAINT ck_ledger_entries_balance_not_negative CHECK (balance_after_minor >= 0),
        CONSTRAINT ck_ledger_entries_type_sign_and_counter CHECK (CASE type
            WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
            WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
            WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'
            WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'
            WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'
            ELSE false END),
        CONSTRAINT ck_ledger_entries_transfer_named
            CHECK ((transfer_id IS NOT NULL) = (counter_account = '@transit'))
    )
    """,
    """
    CREATE TABLE transfers (
        from_wallet_id TEXT NOT NULL,
        id UUID NOT NULL,
        to_wallet_id TEXT NOT NULL,
        amount_minor BIGINT NOT NULL,
        currency TEXT NOT NULL,
        state TEXT NOT NULL,
        request_id TEXT NOT NULL,
        from_balance_minor BIGINT NOT NULL,
        to_balance_minor BIGINT,
        reason TEXT,
        reference TEXT,
        metadata JSON,
        trace_id TEXT NOT NULL,
        audit_id UUID,
        audit JSON,
        initiated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_transfers PRIMARY KEY (from_wallet_id, id),
        CONSTRAINT ck_transfers_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT ck_transfers_two_wallets CHECK (from_wallet_id <> to_wallet_id),
        CONSTRAINT ck_transfers_state_is_told CHECK (CASE state
            WHEN 'debited' THEN finished_at IS NULL
            WHEN 'completed' THEN finished_at IS NOT NULL AND coalesce(to_balance_minor, -1) >= 0
            WHEN 'failed' THEN finished_at IS NOT NULL AND reason IS NOT NULL
            ELSE false END)
    )
     WITH (fillfactor = 80)
    """,
    """
    CREATE INDEX ix_transfers_id ON transfers (id)
    """,
    """
    CREATE INDEX ix_transfers_unfinished ON transfers (initiated_at) WHERE state = 'debited'
    """,
    """
    CREATE TABLE events (
        wallet_id TEXT NOT NULL,
        id UUID NOT NULL,
        wallet_version BIGINT,
        type TEXT NOT NULL,
        transfer_id UUID,
        audit_id UUID,
        trace_id TEXT,
        payload JSON NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_events PRIMARY KEY (wallet_id, id),
        CONSTRAINT uq_events_wallet_id_wallet_version UNIQUE (wallet_id, wallet_version),
        CONSTRAINT ck_events_steps_are_versioned
            CHECK ((wallet_version IS NULL) = (type = 'WalletFlagged'))
    )
    """,
    """
    CREATE INDEX ix_events_withdrawals
        ON events (wallet_id, occurred_at)
        WHERE type = 'FundsWithdrawn'
    """,
    """
    CREATE TABLE outbox (
        position BIGINT GENERATED ALWAYS AS IDENTITY,
        wallet_id TEXT NOT NULL,
        event_id UUID NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_outbox PRIMARY KEY (position)
    )
    """,
    """
    CREATE TABLE api_audit (
        id UUID NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        method TEXT NOT NULL,
        url TEXT NOT NULL,
        body BYTEA NOT NULL,
        headers JSON NOT NULL,
        client_ip TEXT,
        status SMALLINT NOT NULL,
        principal TEXT,
        wallet_id TEXT,
        request_id TEXT,
        trace_id TEXT NOT NULL,
        duration_us BIGINT NOT NULL,
        CONSTRAINT pk_api_audit PRIMARY KEY (id),
        CONSTRAINT ck_api_audit_status_is_http CHECK (status BETWEEN 100 AND 599)
    )
    """,
    """
    CREATE TABLE processed_events (
        wallet_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        processed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_processed_events PRIMARY KEY (wallet_id, event_id)
    )
    """,
    """
    CREATE TABLE wallet_stats (
        wallet_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        total_deposited_minor BIGINT NOT NULL,
        total_withdrawn_minor BIGINT NOT NULL,
        total_transferred_in_minor BIGINT NOT NULL,
        total_transferred_out_minor BIGINT NOT NULL,
        last_activity_at TIMESTAMP WITH TIME ZONE NOT NULL,
        suspicious BOOLEAN NOT NULL,
        suspicious_reason TEXT,
        suspicious_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_wallet_stats PRIMARY KEY (wallet_id),
        CONSTRAINT ck_wallet_stats_totals_not_negative
            CHECK (total_deposited_minor >= 0
            AND total_withdrawn_minor >= 0
            AND total_transferred_in_minor >= 0
            AND total_transferred_out_minor >= 0)
    )
     WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE fraud_flags (
        wallet_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        rule_id TEXT NOT NULL,
        rule_version INTEGER NOT NULL,
        reason TEXT NOT NULL,
        verdict JSON NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        flagged_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_fraud_flags PRIMARY KEY (wallet_id, event_id, rule_id)
    )
    """,
    """
    CREATE TABLE dead_letters (
        id UUID NOT NULL,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        body BYTEA NOT NULL,
        error TEXT NOT NULL,
        error_class TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        replays INTEGER NOT NULL,
        first_failed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        last_failed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_dead_letters PRIMARY KEY (id),
        CONSTRAINT ck_dead_letters_counts CHECK (attempts >= 1 AND replays >= 0)
    )
    """,
)

_REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
"""

_APPEND_ONLY = ("ledger_entries", "events", "api_audit", "operations")


def upgrade() -> None:
    """Make every table, and make the append-only ones refuse changes."""
    for statement in _TABLES:
        op.execute(statement)
    op.execute(_REFUSE_CHANGE)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_rows")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_table")


def downgrade() -> None:
    """Remove everything; for tests only, the ledger is not meant to be unmade."""
    for table in (
        *("dead_letters", "fraud_flags", "wallet_stats", "processed_events", "api_audit"),
        *("outbox", "events", "transfers", "ledger_entries", "operations", "wallets"),
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_change()")
