"""This module is where the tables around personal data are declared: keys, and what finds it."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# An owner's data key, wrapped by a master key. The row of an erased owner stays, without the key.
owner_keys: Final = sa.Table(
    "owner_keys",
    metadata,
    sa.Column("owner_id", sa.Text, primary_key=True),
    required("key_id", UUID),
    required("master_id", sa.Text),
    sa.Column("wrapped", sa.LargeBinary),
    required("created_at", INSTANT, server_default=sa.text("clock_timestamp()")),
    sa.Column("erased_at", INSTANT),
    sa.CheckConstraint("(wrapped IS NULL) = (erased_at IS NOT NULL)", name="key_or_erased"),
    postgresql_with=storage.CHANGED,
)

# Keyed digests of sealed values: equal values of a key have equal digests, and nothing else shows.
pii_index: Final = sa.Table(
    "pii_index",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    required("digest", sa.LargeBinary),
    required("master_id", sa.Text),
    sa.CheckConstraint("octet_length(digest) = 32", name="digest_length"),
    sa.Index("ix_pii_index_key_digest_wallet_id", "key", "digest", "wallet_id"),
    postgresql_with=storage.CHANGED,
)
