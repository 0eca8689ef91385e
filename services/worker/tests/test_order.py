"""This module is where it is decided which confirmed events may leave the outbox."""

import pytest

from wallet_db_orm.outbox import Pending
from wallet_worker.relay import in_order

# Positions by wallet: `a` has 1, 3 and 5, `b` has 2 and 4.
BATCH = [
    Pending(position, wallet_id, f"event{position}", "FundsDeposited", b"{}")
    for position, wallet_id in ((1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a"))
]


@pytest.mark.parametrize(
    ("confirmed", "removable"),
    [
        (set(), []),
        ({1, 2, 3, 4, 5}, [1, 2, 3, 4, 5]),
        ({2, 3, 4, 5}, [2, 4]),
        ({1, 2, 4, 5}, [1, 2, 4]),
        ({1, 3, 4}, [1, 3]),
        ({3, 4, 5}, []),
    ],
)
def test_nothing_leaves_before_what_its_wallet_had_earlier(
    confirmed: set[int], removable: list[int]
) -> None:
    """A confirmed event stays while an earlier one of its wallet does; other wallets' leave."""
    assert in_order(BATCH, confirmed) == removable
