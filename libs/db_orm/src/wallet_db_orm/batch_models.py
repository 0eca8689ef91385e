"""This module is where the table of batches is declared."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, NOW, metadata, required

# What was asked for under a batch's own key, per caller. The commands have keys of their own in
# `operations`; this one says that they are the same commands. Append-only.
batches: Final = sa.Table(
    "batches",
    metadata,
    required("principal", sa.Text),
    required("id", UUID),
    required("meaning", JSON),
    required("audit_id", UUID),
    required("occurred_at", INSTANT, server_default=NOW),
    sa.PrimaryKeyConstraint("principal", "id"),
    postgresql_with=storage.ADDED,
)
