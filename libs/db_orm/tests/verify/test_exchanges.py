"""This module is where it is seen that somebody changed the terms on which money was changed."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Ledger
    from libs.db_orm.tests.verify.conftest import Forged


NO_TERMS = (
    "quote_id = NULL, rate = NULL, to_currency = NULL, to_amount_minor = NULL, residue = NULL"
)
IN_TRANSIT = "counter_account = '@transit' WHERE counter_account = '@fx:EUR'"


@pytest.mark.parametrize(
    ("table", "forgery", "found"),
    [
        ("fx_quotes", "UPDATE fx_quotes SET rate = '0.9'", {"F1", "F2"}),
        ("fx_quotes", "UPDATE fx_quotes SET residue = '-0.002416'", {"F1", "F2"}),
        ("fx_quotes", "UPDATE fx_quotes SET to_minor = 9267, residue = '0.007585'", {"F1", "F2"}),
        ("fx_quotes", "UPDATE fx_quotes SET transfer_id = NULL", {"F1"}),
        ("fx_quotes", "UPDATE fx_quotes SET transfer_id = gen_random_uuid()", {"F1"}),
        ("fx_quotes", "UPDATE fx_quotes SET expires_at = quoted_at + interval '1 us'", {"F1"}),
        ("fx_quotes", "DELETE FROM fx_quotes", {"F1"}),
        ("transfers", "UPDATE transfers SET to_amount_minor = 1 WHERE rate <> ''", {"F1", "S3"}),
        ("transfers", f"UPDATE transfers SET {NO_TERMS}", {"F1", "S3", "S5"}),
        ("ledger_entries", f"UPDATE ledger_entries SET {IN_TRANSIT}", {"S3"}),
    ],
)
async def test_money_changes_on_the_terms_of_its_quote(
    good: "Ledger",
    forged: "Forged",
    table: str,
    forgery: str,
    found: set[str],
) -> None:
    """A rate, an amount, a residue or a use that was changed behind everybody's back is named."""
    assert await good.violations() == {}

    async with forged(table, forgery):
        violations = await good.violations()

    assert found <= violations.keys()
