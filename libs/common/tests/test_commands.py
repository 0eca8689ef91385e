"""This module is where each command is shown to know its key, its transfer and its meaning."""

from typing import Any

import pytest

from wallet_common import commands as ask, meanings
from wallet_common.money import Amount

TEN = Amount(10, 0)
ASKED: dict[str, Any] = {"wallet_id": "w1", "request_id": "r", "operation_id": "o", "amount": TEN}
DEPOSIT = ask.Deposit(**ASKED)
WITHDRAW = ask.Withdraw(**ASKED)
REVERSE = ask.ReverseDeposit(**ASKED, reverses="o1", reason="chargeback")
DEBIT = ask.DebitTransfer(**ASKED, to_wallet_id="w2")
BACK = ask.DebitTransfer(**ASKED, to_wallet_id="w2", reverses="t0")
CANCEL = ask.CancelKey(wallet_id="w1", request_id="r", operation_id="o")
OPEN = ask.OpenWallet("w1", "USD")
CREDIT = ask.CreditTransfer(
    wallet_id="w2",
    transfer_id="t",
    operation_id="o2",
    from_wallet_id="w1",
    amount_minor=1_000,
    currency="USD",
    request_id="r",
)
COMPLETE = ask.CompleteTransfer(wallet_id="w1", transfer_id="t", to_balance_minor=1_000)
REFUND = ask.RefundTransfer(
    wallet_id="w1", transfer_id="t", operation_id="o3", reason="wallet_closed", request_id="r"
)


@pytest.mark.parametrize(
    ("command", "key", "transfer_id", "name"),
    [
        (DEPOSIT, "r", None, "deposit"),
        (WITHDRAW, "r", None, "withdraw"),
        (REVERSE, "r", None, "deposit_reversal"),
        (DEBIT, "r", "o", "transfer"),
        (CANCEL, "r", None, "cancellation"),
        (CREDIT, "credit t", "t", "transfer_credit"),
        (REFUND, "refund t", "t", "transfer_refund"),
    ],
)
def test_what_is_remembered_has_a_key_and_a_name(
    command: ask.Keyed, key: str, transfer_id: str | None, name: str
) -> None:
    """The key is the caller's, or one no caller can spell; steps name their transfer."""
    assert ask.key(command) == key
    assert ask.transfer_id(command) == transfer_id
    assert meanings.operation_type(command) == name


def test_what_is_not_remembered_has_no_key() -> None:
    """Opening is told by the wallet itself, a completion by the transfer's row."""
    assert ask.key(OPEN) is None
    assert ask.key(COMPLETE) is None
    assert ask.transfer_id(OPEN) is None
    assert ask.transfer_id(COMPLETE) == "t"


def test_what_puts_right_is_a_reversal() -> None:
    """A deposit's reversal always; a transfer and its credit if they bring another's money back."""
    assert ask.is_reversal(REVERSE)
    assert ask.is_reversal(BACK)
    others: tuple[ask.Command, ...] = (DEPOSIT, WITHDRAW, DEBIT, CREDIT, CANCEL, REFUND, OPEN)
    assert [each for each in others if ask.is_reversal(each)] == []


def test_the_meaning_is_what_the_caller_said() -> None:
    """Only what was given, by its name on the wire; steps and spent keys mean nothing more."""
    said = {"type": "transfer", "amount": "10", "toWalletId": "w2"}
    assert meanings.meaning(DEBIT) == said
    whole = ask.Deposit(**ASKED, reference="ref", metadata='{"a": 1}', metadata_meaning='{"a":1}')
    assert meanings.meaning(whole) == {
        "type": "deposit",
        "amount": "10",
        "reference": "ref",
        "metadata": '{"a":1}',
    }
    assert [meanings.meaning(each) for each in (CANCEL, CREDIT, REFUND)] == [{}, {}, {}]
    assert meanings.differing_fields(said, said) == ()
    other = {"type": "deposit", "amount": "10"}
    assert meanings.differing_fields(said, other) == ("toWalletId", "type")
