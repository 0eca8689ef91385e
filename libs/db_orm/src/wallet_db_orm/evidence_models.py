"""This module is where the tables are declared that show whether others were changed."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# Audit rows that no seal covers yet: one row for each transaction that wrote some. The sealer
# takes them in the order of `position`.
unsealed_audit: Final = sa.Table(
    "unsealed_audit",
    metadata,
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    required("ids", ARRAY(UUID)),
    postgresql_with=storage.CHURNED,
)

# Seals 1, 2, 3 … without a gap: the digests of some audit rows, 32 bytes each in the order of
# `ids`, chained to the seal before. They stay when the rows have left for an archive. Append-only.
audit_seals: Final = sa.Table(
    "audit_seals",
    metadata,
    sa.Column("seal", sa.BigInteger, primary_key=True, autoincrement=False),
    required("ids", ARRAY(UUID)),
    required("digests", sa.LargeBinary),
    required("sealed_at", INSTANT),
    required("hash", sa.LargeBinary),
    sa.CheckConstraint("seal >= 1 AND cardinality(ids) >= 1", name="counts"),
    sa.CheckConstraint("octet_length(digests) = 32 * cardinality(ids)", name="a_digest_each"),
    sa.CheckConstraint("octet_length(hash) = 32", name="hash_is_a_hash"),
    postgresql_with=storage.ADDED,
)

# What was signed, as it is in the file outside, which is the authority. Append-only.
checkpoints: Final = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("checkpoint", sa.BigInteger, primary_key=True, autoincrement=False),
    required("line", sa.Text),
    sa.CheckConstraint("checkpoint >= 1", name="counted"),
)

# How a checkpoint found the wallets that had changed since the one before. Append-only.
checkpoint_heads: Final = sa.Table(
    "checkpoint_heads",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("checkpoint", sa.BigInteger, primary_key=True, autoincrement=False),
    required("version", sa.BigInteger),
    required("balance_minor", sa.BigInteger),
    required("head", sa.LargeBinary),
    sa.CheckConstraint("octet_length(head) = 32", name="head_is_a_hash"),
    postgresql_with=storage.ADDED,
)

# Every proof that was kept: what it saw, and what stood against it, at most a hundred violations.
# Append-only.
proofs: Final = sa.Table(
    "proofs",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("snapshot_at", INSTANT),
    required("mode", sa.Text),
    required("ok", sa.Boolean),
    required("took_ms", sa.BigInteger),
    # The last place in the feed that it saw; places behind it are new to the next one.
    required("position", sa.BigInteger),
    required("asked_by", sa.Text),
    # Rows looked at, by invariant.
    required("checked", JSON),
    required("violations", JSON),
    sa.CheckConstraint("mode IN ('whole', 'incremental')", name="mode_known"),
    sa.CheckConstraint("position >= 0 AND took_ms >= 0", name="counts"),
)

# How the last clean proof that saw a wallet moved found it: an incremental proof begins there.
proven_wallets: Final = sa.Table(
    "proven_wallets",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    required("version", sa.BigInteger),
    required("balance_minor", sa.BigInteger),
    postgresql_with={"fillfactor": "80", **storage.CHANGED},
)

# Partitions of `api_audit` whose rows are in a file and no longer here. Append-only.
archived_partitions: Final = sa.Table(
    "archived_partitions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    required("from_id", UUID),
    required("to_id", UUID),
    required("rows", sa.BigInteger),
    # So many operations had their audit row among them.
    required("operations", sa.BigInteger),
    required("sha256", sa.Text),
    required("archived_at", INSTANT, server_default=sa.text("clock_timestamp()")),
    sa.CheckConstraint("from_id < to_id", name="range_not_empty"),
    sa.CheckConstraint("rows >= 0 AND operations >= 0", name="counts"),
    sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_is_hex"),
)
