"""This module is where tests of the books get quotes between currencies."""

from datetime import timedelta
from typing import TYPE_CHECKING

from wallet_common.fx import Quote
from wallet_db_orm import fx
from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger

LASTS = timedelta(minutes=1)


async def a_quote(books: "Books", ledger: "Ledger", *, lasts: timedelta = LASTS) -> Quote:
    """Return a quote for 100.10 USD in EUR."""
    await books.execute(
        "INSERT INTO fx_rates SELECT 'USD', 'EUR', $1::uuid, $2, now(), NULL, $1::uuid, now()",
        new_id(),
        "0.92585",
    )
    made = await fx.make_quote(
        ledger.database.primary,
        10_010,
        ("USD", "EUR"),
        lasts=lasts,
        owner_id=None,
        audit=audit_row(),
    )
    assert made is not None
    return made


def audit_row() -> tuple[object, ...]:
    return (new_id(), "POST", "/v1/fx/quotes", b"{}", "{}", None, 201, *(None,) * 3, "trace", 1)
