"""This module is where the table of fee schedules is declared."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# What an operation of a kind costs in a currency. The one recorded last is in force. Append-only.
fee_schedules: Final = sa.Table(
    "fee_schedules",
    metadata,
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    required("flat_minor", sa.BigInteger),
    sa.Column("percent", sa.Text),
    required("min_minor", sa.BigInteger),
    sa.Column("max_minor", sa.BigInteger),
    required("audit_id", UUID),
    required("recorded_at", INSTANT),
    sa.CheckConstraint(
        "operation IN ('deposit', 'withdraw', 'transfer', 'conversion')", name="operation_known"
    ),
    sa.CheckConstraint(
        "percent ~ '^(100|[1-9]?[0-9]([.][0-9]{1,18})?)$' AND percent ~ '[1-9]'",
        name="percent_is_one",
    ),
    sa.CheckConstraint(
        "flat_minor >= 0 AND min_minor >= 0 AND max_minor >= min_minor IS NOT FALSE",
        name="bounds_make_sense",
    ),
    postgresql_with=storage.ADDED,
)
