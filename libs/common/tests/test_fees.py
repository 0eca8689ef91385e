"""This module is where it is computed on paper what operations cost."""

from typing import Any

import pytest

from wallet_common import commands as ask
from wallet_common.fees import fee_of
from wallet_common.ledger import decide
from wallet_common.money import parse_amount
from wallet_common.operations import receipt
from wallet_common.schedules import FeeSchedule
from wallet_common.transfer_steps import end_of
from wallet_common.wallet import (
    EntryType,
    Posted,
    Rejected,
    RejectionReason as Reason,
    Surroundings,
    Wallet,
)

ADA = Wallet("ada", "USD", balance_minor=1_000, version=3)
BOB = Wallet("bob", "USD", version=1)
FLAT = FeeSchedule(id="s1", flat_minor=50)


@pytest.mark.parametrize(
    ("parts", "amount", "expected"),
    [
        ({}, 1_000, 0),
        ({"flat_minor": 30}, 1, 30),
        ({"percent": "1.5"}, 6_900, 104),
        ({"percent": "1.5"}, 100, 2),
        ({"percent": "2.5"}, 100, 2),
        ({"percent": "0.5"}, 100, 0),
        ({"percent": "100"}, 2**63 - 1, 2**63 - 1),
        ({"percent": "100", "flat_minor": 2**63 - 1}, 100, 2**63 - 1),
        ({"percent": "0.000000000000000001"}, 2**63 - 1, 0),
        ({"flat_minor": 30, "percent": "1.5", "min_minor": 50, "max_minor": 500}, 100, 50),
        ({"flat_minor": 30, "percent": "1.5", "min_minor": 50, "max_minor": 500}, 3_000, 75),
        ({"flat_minor": 30, "percent": "1.5", "min_minor": 50, "max_minor": 500}, 10**6, 500),
        ({"max_minor": 0, "flat_minor": 7}, 100, 0),
    ],
)
def test_a_fee_is_its_parts_within_its_bounds(
    parts: dict[str, Any], amount: int, expected: int
) -> None:
    """The percentage is rounded half to even before the flat part is added."""
    assert fee_of(FeeSchedule(id="s1", **parts), amount) == expected


def asked(kind: type[Any], amount: str, **more: object) -> Any:  # noqa: ANN401  # any command
    return kind(
        wallet_id="ada",
        request_id="k1",
        operation_id="o1",
        amount=parse_amount(amount),
        pays_fees=True,
        **more,
    )


@pytest.mark.parametrize(
    ("command", "lines", "balance"),
    [
        (asked(ask.Deposit, "1.00"), [("deposit", 100, 4), ("fee", -50, 5)], 1_050),
        (asked(ask.Deposit, "0.20"), [("deposit", 20, 4), ("fee", -20, 5)], 1_000),
        (asked(ask.Withdraw, "1.00"), [("fee", -50, 4), ("withdraw", -100, 5)], 850),
        (
            asked(ask.DebitTransfer, "9.50", to_wallet_id="bob"),
            [("fee", -50, 4), ("transfer_debit", -950, 6)],
            0,
        ),
    ],
)
def test_the_fee_is_an_entry_beside_the_operations(
    command: ask.Deposit, lines: list[tuple[str, int, int]], balance: int
) -> None:
    """Each with an event of its own; before what leaves, after what comes in."""
    done = decide(ADA, command, Surroundings(fees=FLAT, recipient=BOB))

    assert isinstance(done, Posted)
    entries = sorted(filter(None, (done.entry, done.fee)), key=lambda each: each.version)
    assert [(each.type, each.amount_minor, each.version) for each in entries] == lines
    assert done.wallet.balance_minor == balance
    assert done.wallet.version == 3 + len(done.facts)
    assert receipt(done).fee_minor == -{each[0]: each[1] for each in lines}["fee"]


def test_what_leaves_is_paid_with_its_fee_or_not_at_all() -> None:
    """One minor unit less than amount and fee is not enough."""
    done = decide(ADA, asked(ask.Withdraw, "9.51"), Surroundings(fees=FLAT))

    assert isinstance(done, Rejected)
    assert (done.reason, done.required_minor) == (Reason.INSUFFICIENT_FUNDS, 1_001)


def test_the_fee_comes_back_with_its_transfer() -> None:
    """Before the money does, so that the transfer's own events stay the last."""
    command = asked(ask.DebitTransfer, "9.00", to_wallet_id="bob")
    debited = decide(ADA, command, Surroundings(fees=FLAT, recipient=BOB))
    assert isinstance(debited, Posted)
    assert debited.transfer is not None
    step = end_of(debited.transfer, Rejected(Reason.WALLET_CLOSED), "o2")

    back = decide(debited.wallet, step, Surroundings(transfer=debited.transfer))

    assert isinstance(back, Posted)
    assert back.fee is not None
    assert (back.fee.type, back.fee.amount_minor) == (EntryType.FEE_REFUND, 50)
    assert [fact.type for fact in back.facts] == [
        *("FeeRefunded", "TransferCompensated", "TransferFailed"),
    ]
    assert back.wallet.balance_minor == ADA.balance_minor
