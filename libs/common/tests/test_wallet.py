"""This module is where the ledger's values are shown to say what they should."""

import msgspec
import pytest

from wallet_common.operations import Outcome, Receipt
from wallet_common.wallet import (
    COUNTER_ACCOUNTS,
    Entry,
    EntryType,
    Rejected,
    RejectionReason,
    Wallet,
    counter_account,
)

FLAWS_OF_THE_REQUEST = {
    RejectionReason.WALLET_NOT_FOUND,
    RejectionReason.WALLET_EXISTS,
    RejectionReason.INVALID_AMOUNT,
    RejectionReason.HOLD_NOT_FOUND,
    RejectionReason.QUOTE_NOT_FOUND,
    RejectionReason.INVALID_EXPIRY,
    RejectionReason.INVALID_LIMIT,
}


def test_held_money_is_not_available() -> None:
    """What may leave is the balance without what is held."""
    wallet = Wallet("w1", "USD", balance_minor=1_000, held_minor=300)

    assert wallet.available_minor == 700


def test_each_entry_has_its_other_leg() -> None:
    """Deposits and withdrawals have it outside, the steps of a transfer in transit."""
    assert {
        EntryType.DEPOSIT: "@external",
        EntryType.DEPOSIT_REVERSAL: "@external",
        EntryType.WITHDRAW: "@external",
        EntryType.HOLD_CAPTURE: "@external",
        EntryType.WITHDRAW_REVERSAL: "@external",
        EntryType.TRANSFER_DEBIT: "@transit",
        EntryType.TRANSFER_CREDIT: "@transit",
        EntryType.TRANSFER_REFUND: "@transit",
        EntryType.FEE: "@fees",
        EntryType.FEE_REFUND: "@fees",
    } == COUNTER_ACCOUNTS
    assert COUNTER_ACCOUNTS.keys() == set(EntryType)


def test_money_that_changes_currency_goes_through_the_account_of_each() -> None:
    """What leaves a currency or enters it is told by that currency's own account."""
    changed = Entry(EntryType.TRANSFER_DEBIT, -100, 0, 2, changes_currency=True)
    kept = Entry(EntryType.TRANSFER_DEBIT, -100, 0, 2)

    assert [counter_account(each, "USD") for each in (changed, kept)] == ["@fx:USD", "@transit"]


@pytest.mark.parametrize("reason", sorted(set(RejectionReason) - FLAWS_OF_THE_REQUEST))
def test_a_business_rejection_is_remembered(reason: RejectionReason) -> None:
    """A refusal that depends on the state of the wallets is what a retry of the key gets again."""
    assert reason.remembered


@pytest.mark.parametrize("reason", sorted(FLAWS_OF_THE_REQUEST))
def test_a_flaw_of_the_request_is_not_remembered(reason: RejectionReason) -> None:
    """A request that is answered 400, 404 or 409 leaves its key free for a mended one."""
    assert not reason.remembered


@pytest.mark.parametrize(
    "outcome",
    [
        Receipt("USD", 1_250, 3),
        Receipt("USD", 2**63 - 1, 2, created=True),
        Rejected(RejectionReason.WALLET_FROZEN),
        Rejected(RejectionReason.INSUFFICIENT_FUNDS, "USD", 99_999_999_999_999_999_999, 0),
        Rejected(RejectionReason.INVALID_AMOUNT, "USD", detail="USD has 2 decimals"),
    ],
)
def test_an_outcome_survives_being_stored(outcome: Outcome) -> None:
    """Written as JSON and read back, an outcome is the same, with amounts beyond 64 bits too."""
    stored = msgspec.json.encode(outcome)

    read: Outcome = msgspec.json.decode(stored, type=Receipt | Rejected)

    assert read == outcome
