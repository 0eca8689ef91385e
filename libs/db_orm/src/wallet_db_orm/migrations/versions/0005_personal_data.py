"""Personal data: a key for each owner, and what finds a sealed value."""

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OWNER_KEYS: Final = """
    CREATE TABLE owner_keys (
        owner_id TEXT NOT NULL,
        key_id UUID NOT NULL,
        master_id TEXT NOT NULL,
        wrapped BYTEA,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        erased_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_owner_keys PRIMARY KEY (owner_id),
        CONSTRAINT ck_owner_keys_key_or_erased CHECK (
            (wrapped IS NULL) = (erased_at IS NOT NULL))
    ) WITH (
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""
_PII_INDEX: Final = """
    CREATE TABLE pii_index (
        wallet_id TEXT NOT NULL,
        key TEXT NOT NULL,
        digest BYTEA NOT NULL,
        master_id TEXT NOT NULL,
        CONSTRAINT pk_pii_index PRIMARY KEY (wallet_id, key),
        CONSTRAINT ck_pii_index_digest_length CHECK (octet_length(digest) = 32)
    ) WITH (
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 100000
    )
"""


def upgrade() -> None:
    op.execute(_OWNER_KEYS)
    op.execute(_PII_INDEX)
    op.execute(
        "CREATE INDEX ix_pii_index_key_digest_wallet_id ON pii_index (key, digest, wallet_id)"
    )


def downgrade() -> None:
    """Forget the keys; refused while there is one, for what it sealed could never be read again."""
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM owner_keys) THEN
                RAISE EXCEPTION 'personal data is sealed with these keys: no way back';
            END IF;
        END $$
    """)
    op.execute("DROP TABLE pii_index")
    op.execute("DROP TABLE owner_keys")
