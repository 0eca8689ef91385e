"""This module is where the tables of rates and quotes between currencies are declared."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# A decimal as it is written, greater than zero.
_RATE: Final = "rate ~ '^(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$' AND rate ~ '[1-9]'"

# What one unit of a currency is worth in another, from a time on and until one. The one recorded
# last of those that are in force counts. Append-only.
fx_rates: Final = sa.Table(
    "fx_rates",
    metadata,
    sa.Column("from_currency", sa.Text, primary_key=True),
    sa.Column("to_currency", sa.Text, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    required("rate", sa.Text),
    required("valid_from", INSTANT),
    sa.Column("valid_to", INSTANT),
    required("audit_id", UUID),
    required("recorded_at", INSTANT),
    sa.CheckConstraint("from_currency <> to_currency", name="two_currencies"),
    sa.CheckConstraint(_RATE, name="rate_is_positive"),
    sa.CheckConstraint("valid_to > valid_from", name="valid_for_a_while"),
    postgresql_with=storage.ADDED,
)

# What was offered; a transfer uses it once, under the lock of its row.
fx_quotes: Final = sa.Table(
    "fx_quotes",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    required("from_currency", sa.Text),
    required("to_currency", sa.Text),
    required("rate", sa.Text),
    required("from_minor", sa.BigInteger),
    required("to_minor", sa.BigInteger),
    # What rounding left over, in units of `to_currency`: exact, so it is text.
    required("residue", sa.Text),
    sa.Column("owner_id", sa.Text),
    required("audit_id", UUID),
    required("quoted_at", INSTANT),
    required("expires_at", INSTANT),
    sa.Column("transfer_id", UUID),
    sa.CheckConstraint("from_currency <> to_currency", name="two_currencies"),
    sa.CheckConstraint(_RATE, name="rate_is_positive"),
    sa.CheckConstraint("from_minor > 0 AND to_minor > 0", name="amounts_positive"),
    sa.CheckConstraint("residue ~ '^(0|-?[0-9]+[.][0-9]*[1-9])$'", name="residue_is_decimal"),
    sa.CheckConstraint("expires_at > quoted_at", name="good_for_a_while"),
    postgresql_with={"fillfactor": "80", **storage.CHANGED},
)
