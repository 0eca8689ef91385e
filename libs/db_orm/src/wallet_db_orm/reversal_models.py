"""This module is where the table of reversals is declared."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# How much of an operation each of its reversals has taken back; the key leads with the wallet whose
# lock guards the sum: the one that gives back. Append-only.
reversals: Final = sa.Table(
    "reversals",
    metadata,
    sa.Column("wallet_id", sa.Text, primary_key=True),
    sa.Column("operation_id", UUID, primary_key=True),
    sa.Column("reversal_id", UUID, primary_key=True),
    required("amount_minor", sa.BigInteger),
    required("original_minor", sa.BigInteger),
    required("occurred_at", INSTANT),
    sa.CheckConstraint(
        "amount_minor > 0 AND amount_minor <= original_minor", name="part_of_the_original"
    ),
    postgresql_with=storage.ADDED,
)
