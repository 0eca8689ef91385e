"""This module is where it is seen that somebody changed what operations cost."""

from typing import TYPE_CHECKING

import pytest

from libs.db_orm.tests.test_fees import priced
from tests.orders import freezing
from wallet_common.wallet import Direction

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Builders, Ledger
    from libs.db_orm.tests.verify.conftest import Forged


# What was done before is without the fee that it then had to cost.
LONG_AGO = "recorded_at = recorded_at - interval '1 h'"


@pytest.mark.parametrize(
    ("table", "forgery", "found"),
    [
        ("fee_schedules", "UPDATE fee_schedules SET flat_minor = 51", {"F3"}),
        ("fee_schedules", "UPDATE fee_schedules SET currency = 'EUR'", {"F3"}),
        ("fee_schedules", "DELETE FROM fee_schedules", {"F3"}),
        ("fee_schedules", f"UPDATE fee_schedules SET {LONG_AGO}", {"F4"}),
        ("transfers", "UPDATE transfers SET fee_minor = 0", {"F3"}),
        ("transfers", "UPDATE transfers SET fee_minor = 51", {"F3"}),
        ("ledger_entries", "DELETE FROM ledger_entries WHERE type = 'fee'", {"F3", "M3"}),
        ("ledger_entries", "DELETE FROM ledger_entries WHERE type = 'fee_refund'", {"F3", "M3"}),
    ],
)
async def test_fees_are_held_against_their_schedules(
    good: "Ledger",
    forged: "Forged",
    a: "Builders",
    table: str,
    forgery: str,
    found: set[str],
) -> None:
    """A price, a fee or a refund that was changed behind everybody's back is named."""
    await priced(good, "deposit", "withdraw", "transfer")
    await good.post(a.deposit("cid", "9.00", pays_fees=True), audited=True)
    await good.post(a.withdrawal("cid", "1.00", pays_fees=True), audited=True)
    await good.transfer(a.transfer("cid", "bob", "1.00", pays_fees=True), audited=True)
    stored = await good.debit(a.transfer("cid", "ann", "1.00", pays_fees=True), audited=True)
    await good.ask(freezing("ann", Direction.IN))
    await good.finished(stored)
    assert await good.violations() == {}

    async with forged(table, forgery):
        violations = await good.violations()

    assert found <= violations.keys()
