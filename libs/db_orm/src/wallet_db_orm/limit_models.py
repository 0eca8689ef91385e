"""This module is where the table is declared that counts requests against their limits."""

from typing import Final

import sqlalchemy as sa

from wallet_db_orm import storage
from wallet_db_orm.schema import INSTANT, metadata, required

# A bucket of requests, by whom it is for; one that is not here is full. `full_at` is when it will
# be full again, and that alone tells how much is in it; `granted` is what was drawn last. Unlogged:
# after a crash every bucket is full, and nothing is lost.
rate_limits: Final = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    required("full_at", INSTANT),
    required("granted", sa.Integer),
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": "50", **storage.CHURNED},
)
