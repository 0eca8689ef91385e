"""Changes that show: entries and audit rows are chained, checkpoints are signed."""

from typing import Final

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ZEROS: Final = r"'\x" + "00" * 32 + "'"
_ADDED: Final = """
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 500000,
    autovacuum_freeze_min_age = 0,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 1000
"""
_UNSEALED: Final = """
    CREATE TABLE unsealed_audit (
        position BIGINT GENERATED ALWAYS AS IDENTITY,
        ids UUID[] NOT NULL,
        CONSTRAINT pk_unsealed_audit PRIMARY KEY (position)
    ) WITH (
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0
    )
"""
_SEALS: Final = f"""
    CREATE TABLE audit_seals (
        seal BIGINT NOT NULL,
        ids UUID[] NOT NULL,
        digests BYTEA NOT NULL,
        sealed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        hash BYTEA NOT NULL,
        CONSTRAINT pk_audit_seals PRIMARY KEY (seal),
        CONSTRAINT ck_audit_seals_counts CHECK (seal >= 1 AND cardinality(ids) >= 1),
        CONSTRAINT ck_audit_seals_a_digest_each
            CHECK (octet_length(digests) = 32 * cardinality(ids)),
        CONSTRAINT ck_audit_seals_hash_is_a_hash CHECK (octet_length(hash) = 32)
    ) WITH ({_ADDED})
"""
_CHECKPOINTS: Final = """
    CREATE TABLE checkpoints (
        checkpoint BIGINT NOT NULL,
        line TEXT NOT NULL,
        CONSTRAINT pk_checkpoints PRIMARY KEY (checkpoint),
        CONSTRAINT ck_checkpoints_counted CHECK (checkpoint >= 1)
    )
"""
_HEADS: Final = f"""
    CREATE TABLE checkpoint_heads (
        wallet_id TEXT NOT NULL,
        checkpoint BIGINT NOT NULL,
        version BIGINT NOT NULL,
        balance_minor BIGINT NOT NULL,
        head BYTEA NOT NULL,
        CONSTRAINT pk_checkpoint_heads PRIMARY KEY (wallet_id, checkpoint),
        CONSTRAINT ck_checkpoint_heads_head_is_a_hash CHECK (octet_length(head) = 32)
    ) WITH ({_ADDED})
"""
_LINKED: Final = r"""
    CREATE FUNCTION linked_0004(before BYTEA, digest BYTEA) RETURNS BYTEA
    LANGUAGE sql IMMUTABLE AS $$ SELECT sha256('\x02'::bytea || before || digest) $$
"""
_CHAINED: Final = f"""
    CREATE AGGREGATE chained_0004(BYTEA) (sfunc = linked_0004, stype = BYTEA, initcond = {_ZEROS})
"""
# Some wallets at a time, so that what is sorted and remembered stays small.
_CHAIN: Final = r"""
    DO $$
    DECLARE
        after_id text := '';
        last_id text;
    BEGIN
        LOOP
            SELECT max(id) INTO last_id FROM (
                SELECT id FROM wallets WHERE id > after_id ORDER BY id LIMIT 1000
            ) AS portion;
            EXIT WHEN last_id IS NULL;
            UPDATE ledger_entries AS e SET hash = chained.hash
            FROM (
                SELECT wallet_id, wallet_version, chained_0004(sha256('\x01'::bytea || record_send(
                    ROW(wallet_id, wallet_version, type, amount_minor, balance_after_minor,
                        currency, counter_account, operation_id, transfer_id, request_id,
                        reference, metadata, audit_id, trace_id, occurred_at)
                ))) OVER (PARTITION BY wallet_id ORDER BY wallet_version) AS hash
                FROM ledger_entries WHERE wallet_id > after_id AND wallet_id <= last_id
            ) AS chained
            WHERE e.wallet_id = chained.wallet_id AND e.wallet_version = chained.wallet_version
                AND e.wallet_id > after_id AND e.wallet_id <= last_id;
            UPDATE wallets AS w SET head = (
                SELECT hash FROM ledger_entries AS e
                WHERE e.wallet_id = w.id ORDER BY wallet_version DESC LIMIT 1
            )
            WHERE w.id > after_id AND w.id <= last_id
                AND EXISTS (SELECT FROM ledger_entries AS e WHERE e.wallet_id = w.id);
            after_id := last_id;
        END LOOP;
    END
    $$
"""


def upgrade() -> None:
    """
    Chain the entries that are there, wallet by wallet, and queue all audit rows for the sealer.

    Whoever reads or writes the books waits until this is committed, the longer the more entries
    there are. The API of before cannot write afterwards: it is replaced in the same step.
    """
    for table in (_UNSEALED, _SEALS, _CHECKPOINTS, _HEADS):
        op.execute(table)
    for table in ("audit_seals", "checkpoints", "checkpoint_heads"):
        _refuse_changes(table)
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(f"ALTER TABLE wallets ADD COLUMN head BYTEA DEFAULT {_ZEROS} NOT NULL")
    op.execute("ALTER TABLE ledger_entries ADD COLUMN hash BYTEA")
    op.execute(_LINKED)
    op.execute(_CHAINED)
    # Nobody else sees the table without its refusal: it is locked since the column was added.
    op.execute("ALTER TABLE ledger_entries DISABLE TRIGGER append_only_rows")
    op.execute(_CHAIN)
    op.execute("ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only_rows")
    op.execute("DROP AGGREGATE chained_0004(BYTEA)")
    op.execute("DROP FUNCTION linked_0004")
    op.execute(
        "ALTER TABLE ledger_entries ALTER COLUMN hash SET NOT NULL,"
        " ADD CONSTRAINT ck_ledger_entries_hash_is_a_hash CHECK (octet_length(hash) = 32)"
    )
    op.execute(
        "ALTER TABLE wallets ADD CONSTRAINT ck_wallets_head_is_a_hash"
        " CHECK (octet_length(head) = 32)"
    )
    # Held until the end, so that no row is written that nobody queues.
    op.execute("LOCK TABLE api_audit IN SHARE MODE")
    op.execute("""
        INSERT INTO unsealed_audit (ids)
        SELECT array_agg(id ORDER BY id) FROM (
            SELECT id, (row_number() OVER (ORDER BY id) - 1) / 250 AS portion FROM api_audit
        ) AS counted
        GROUP BY portion ORDER BY portion
    """)


def downgrade() -> None:
    """Forget the chains; refused once a checkpoint was signed, which the file would remember."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM checkpoints) THEN
                RAISE EXCEPTION 'checkpoints of these books have been signed: no way back';
            END IF;
        END $$
    """)
    for table in ("checkpoint_heads", "checkpoints", "audit_seals", "unsealed_audit"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE ledger_entries DROP COLUMN hash")
    op.execute("ALTER TABLE wallets DROP COLUMN head")


def _refuse_changes(table: str) -> None:
    for name, when in (
        ("append_only_rows", "UPDATE OR DELETE ON {} FOR EACH ROW"),
        ("append_only_table", "TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {when.format(table)} EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
