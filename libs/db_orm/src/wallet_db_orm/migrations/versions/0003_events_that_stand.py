"""Events that stand: the feed, other services' transactions, what operators did with letters."""

from typing import Final

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FEED: Final = """
    CREATE TABLE feed (
        position BIGINT NOT NULL,
        wallet_id TEXT NOT NULL,
        event_id UUID NOT NULL,
        published_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        CONSTRAINT pk_feed PRIMARY KEY (position)
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 500000,
        autovacuum_freeze_min_age = 0,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000
    )
"""
_SETTLEMENTS: Final = """
    CREATE TABLE settlements (
        transaction_id TEXT NOT NULL,
        type TEXT,
        user_id TEXT,
        recipient_id TEXT,
        wallet_id TEXT,
        to_wallet_id TEXT,
        amount_minor BIGINT,
        currency TEXT,
        state TEXT NOT NULL,
        reason TEXT,
        first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        completion_answered_at TIMESTAMP WITH TIME ZONE,
        failure_answered_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_settlements PRIMARY KEY (transaction_id),
        CONSTRAINT ck_settlements_state_known CHECK (state IN ('accepted', 'completed', 'failed')),
        CONSTRAINT ck_settlements_plan_is_whole CHECK (
            (type IS NULL) = (amount_minor IS NULL) AND (type IS NULL) = (currency IS NULL)),
        CONSTRAINT ck_settlements_amount_positive CHECK (amount_minor > 0)
    ) WITH (
        fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""
_OPERATOR_LOG: Final = """
    CREATE TABLE operator_log (
        id UUID NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        operator TEXT NOT NULL,
        act TEXT NOT NULL,
        subject TEXT NOT NULL,
        details JSON NOT NULL,
        CONSTRAINT pk_operator_log PRIMARY KEY (id)
    )
"""
_DISCARDED_LETTERS: Final = """
    CREATE TABLE discarded_letters (
        id UUID NOT NULL,
        letter_id TEXT NOT NULL,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        headers JSON NOT NULL,
        body BYTEA NOT NULL,
        error TEXT NOT NULL,
        error_class TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        replays INTEGER NOT NULL,
        first_failed_at TEXT,
        last_failed_at TEXT,
        discarded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        operator TEXT NOT NULL,
        reason TEXT NOT NULL,
        CONSTRAINT pk_discarded_letters PRIMARY KEY (id)
    )
"""
# NOT VALID, then VALIDATE: the long look at all rows is taken without keeping anybody from writing.
_ENTRY_SIGNS: Final = """
    ALTER TABLE ledger_entries ADD CONSTRAINT ck_ledger_entries_type_sign_and_counter CHECK (
        CASE type
        WHEN 'deposit' THEN amount_minor > 0 AND counter_account = '@external'
        WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'withdraw' THEN amount_minor < 0 AND counter_account = '@external'
        WHEN 'transfer_debit' THEN amount_minor < 0 AND counter_account = '@transit'
        WHEN 'transfer_credit' THEN amount_minor > 0 AND counter_account = '@transit'
        WHEN 'transfer_refund' THEN amount_minor > 0 AND counter_account = '@transit'
        ELSE false END
    )
"""
_ENTRY_SIGNS_BEFORE: Final = _ENTRY_SIGNS.replace(
    "WHEN 'deposit_reversal' THEN amount_minor < 0 AND counter_account = '@external'", ""
)


def upgrade() -> None:
    """
    Add the tables and give every event that has left already its place in the feed.

    Nothing may leave meanwhile: until this is committed whoever writes events waits, the longer
    the more events there are.
    """
    for table in (_FEED, _SETTLEMENTS, _OPERATOR_LOG, _DISCARDED_LETTERS):
        op.execute(table)
    for table in ("operator_log", "discarded_letters"):
        _refuse_changes(table)
    op.execute("ALTER TABLE transfers ADD COLUMN reverses UUID")
    op.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_type_sign_and_counter")
    op.execute(f"{_ENTRY_SIGNS} NOT VALID")
    op.execute(
        "ALTER TABLE outbox ADD COLUMN answer JSON,"
        " ADD COLUMN replays SMALLINT DEFAULT 0 NOT NULL,"
        " ADD CONSTRAINT ck_outbox_replays_counted CHECK (replays >= 0)"
    )
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        INSERT INTO feed (position, wallet_id, event_id, published_at)
        SELECT row_number() OVER (ORDER BY occurred_at, wallet_id, wallet_version, id),
            wallet_id, id, occurred_at
        FROM events AS e
        WHERE NOT EXISTS (
            SELECT FROM outbox AS o WHERE o.wallet_id = e.wallet_id AND o.event_id = e.id
        )
    """)
    op.execute("CREATE INDEX ix_feed_wallet_id_position ON feed (wallet_id, position)")
    op.execute(
        "ALTER TABLE ledger_entries VALIDATE CONSTRAINT ck_ledger_entries_type_sign_and_counter"
    )


def downgrade() -> None:
    """Forget the feed and what operators did; refused while something needs what came with it."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM settlements)
                OR EXISTS (SELECT FROM outbox WHERE answer IS NOT NULL OR replays > 0)
            THEN
                RAISE EXCEPTION 'other services'' transactions are settled here: no way back';
            END IF;
        END $$
    """)
    for table in ("feed", "settlements", "operator_log", "discarded_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE outbox DROP COLUMN answer, DROP COLUMN replays")
    op.execute("ALTER TABLE transfers DROP COLUMN reverses")
    op.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_type_sign_and_counter")
    op.execute(_ENTRY_SIGNS_BEFORE)


def _refuse_changes(table: str) -> None:
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON {} FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {when.format(table)} EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
