"""This module is where it is seen that somebody changed how a wallet stands."""

from typing import TYPE_CHECKING

import pytest

from wallet_common.commands import FreezeWallet
from wallet_common.wallet import Direction

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Ledger
    from libs.db_orm.tests.verify.conftest import Forged


@pytest.mark.parametrize(
    ("forgery", "wallet_id"),
    [
        ("status = 'active', frozen = NULL WHERE id = 'cid'", "cid"),
        ("frozen = 'in' WHERE id = 'cid'", "cid"),
        ("status = 'frozen' WHERE id = 'ann'", "ann"),
        ("status = 'closed' WHERE id = 'ann'", "ann"),
    ],
)
async def test_a_wallet_stands_as_its_events_say(
    good: "Ledger", forged: "Forged", forgery: str, wallet_id: str
) -> None:
    """Opened, frozen another way or closed behind everybody's back: the wallet is named."""
    freeze = FreezeWallet(wallet_id="cid", direction=Direction.OUT, reason="asked")
    await good.ask(freeze, audited=True)
    assert await good.violations() == {}

    async with forged("wallets", f"UPDATE wallets SET {forgery}"):
        violations = await good.violations()

    assert {name: [each["walletId"] for each in found] for name, found in violations.items()} == {
        "W1": [wallet_id]
    }
