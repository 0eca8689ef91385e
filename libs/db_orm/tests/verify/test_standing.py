"""This module is where it is seen that somebody changed how a wallet stands."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.orders import freezing
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
    await good.ask(freezing("cid", Direction.OUT), audited=True)
    assert await good.violations() == {}

    async with forged("wallets", f"UPDATE wallets SET {forgery}"):
        violations = await good.violations()

    assert {name: [each["walletId"] for each in found] for name, found in violations.items()} == {
        "W1": [wallet_id]
    }


@pytest.mark.parametrize(
    "forgery",
    [
        {"status": "active"},
        {"type": "posted"},
        {"currency": "JPY"},
        {"balance_minor": 777},
        {"held_minor": 1},
        {"held_minor": None},
        {"version": 1},
        {"version": 999},
        {"version": "x"},
        None,
    ],
)
async def test_what_was_told_of_a_standing_is_so(
    good: "Ledger", forged: "Forged", forgery: dict[str, object] | None
) -> None:
    """Another standing, money or version than the wallet had, or no receipt: the key is named."""
    freeze = freezing("cid", Direction.OUT)
    await good.ask(freeze, audited=True)
    assert await good.violations() == {}
    members = json.dumps(forgery)
    outcome = "'[]'" if forgery is None else f"outcome::jsonb || '{members}'"
    sql = f"UPDATE operations SET outcome = ({outcome})::json WHERE type = 'freeze'"

    async with forged("operations", sql):
        violations = await good.violations()

    assert {name: [each["requestId"] for each in found] for name, found in violations.items()} == {
        "W2": [freeze.request_id]
    }
