"""This module is where it is seen that somebody changed what a wallet may, or what it owes."""

from typing import TYPE_CHECKING

import pytest

from wallet_common.commands import SetLimits
from wallet_common.limits import AskedVelocity, Period
from wallet_common.money import parse_amount, render

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger
    from libs.db_orm.tests.verify.conftest import Forged

LIMITS = SetLimits(
    wallet_id="ann",
    overdraft=parse_amount("9.00"),
    velocity=(AskedVelocity(period=Period.MONTH, amount=parse_amount("500000.00"), count=90),),
)


@pytest.mark.parametrize(
    ("table", "forgery", "found"),
    [
        ("wallets", "limits = NULL WHERE id = 'ann'", "L2"),
        ("wallets", """limits = '{"overdraft_minor":901}' WHERE id = 'ann'""", "L2"),
        ("wallets", """limits = '{"max_balance_minor":1}' WHERE id = 'bob'""", "L2"),
        (
            "events",
            "payload = replace(payload::text, '9.00', '1.00')::json WHERE type = 'LimitsChanged'",
            "L1",
        ),
    ],
)
async def test_wallets_keep_to_the_limits_that_they_had(
    good: "Ledger",
    books: "Books",
    forged: "Forged",
    a: "Builders",
    table: str,
    forgery: str,
    found: str,
) -> None:
    """Given, taken or changed behind everybody's back: the wallet is named."""
    await good.ask(LIMITS, audited=True)
    owned_minor = (await books.balances())["ann"]
    owing = render(owned_minor + 900, "USD")
    await good.post(a.withdrawal("ann", owing), audited=True)
    assert await good.violations() == {}

    async with forged(table, f"UPDATE {table} SET {forgery}"):
        violations = await good.violations()

    assert found in violations
    assert {each["walletId"] for each in violations[found]} == {
        "bob" if "bob" in forgery else "ann"
    }


async def test_what_left_in_a_time_is_held_against_the_limit(
    good: "Ledger", forged: "Forged", a: "Builders"
) -> None:
    """A limit that is made smaller behind everybody's back does not fit what has left."""
    await good.post(a.deposit("ann", "5.00"), audited=True)
    await good.ask(LIMITS, audited=True)
    await good.post(a.withdrawal("ann", "5.00"), audited=True)
    smaller = """limits = replace(limits::text, '50000000', '499')::json WHERE id = 'ann'"""

    async with forged("wallets", f"UPDATE wallets SET {smaller}"):
        violations = await good.violations()

    assert [each["walletId"] for each in violations["L3"]] == ["ann"]
