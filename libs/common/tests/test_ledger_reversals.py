"""This module is where it is shown how what should not have been is put right."""

import pytest

from wallet_common.commands import (
    CancelKey,
    Command,
    CreditTransfer,
    DebitTransfer,
    Deposit,
    ReverseDeposit,
    ReverseOperation,
    Reversible,
    is_reversal,
)
from wallet_common.facts import EventType, Fact
from wallet_common.ledger import decide
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.payloads import Reversal
from wallet_common.wallet import (
    Entry,
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
    WalletStatus,
)

NOWHERE = Surroundings()


def a_wallet(
    balance_minor: int, status: WalletStatus = WalletStatus.ACTIVE, *, held_minor: int = 0
) -> Wallet:
    return Wallet("w1", "USD", None, balance_minor, held_minor, status, 7)


def a_reversal(amount: str = "2.50") -> ReverseDeposit:
    return ReverseDeposit(
        wallet_id="w1",
        request_id="r2",
        operation_id="o2",
        amount=parse_amount(amount),
        reference="t1",
        reverses="o1",
        reason="chargeback",
    )


def a_transfer_back() -> DebitTransfer:
    return DebitTransfer(
        wallet_id="w1",
        request_id="r2",
        operation_id="o2",
        amount=parse_amount("2.50"),
        to_wallet_id="w2",
        reverses="o1",
    )


def a_credit_back() -> CreditTransfer:
    return CreditTransfer(
        wallet_id="w1",
        transfer_id="o2",
        operation_id="o3",
        from_wallet_id="w2",
        amount_minor=250,
        currency="USD",
        request_id="r2",
        reverses="o1",
    )


OPEN = [WalletStatus.ACTIVE, WalletStatus.FROZEN]
CLOSED = WalletStatus.CLOSED


@pytest.mark.parametrize("status", OPEN)
def test_a_deposit_is_taken_back_from_a_frozen_wallet_too(status: WalletStatus) -> None:
    """The money leaves the way it came; the event says which deposit it was, and why."""
    reversal = Reversal(
        amount="2.50",
        currency="USD",
        new_balance="7.50",
        request_id="r2",
        operation_id="o2",
        reversed_operation_id="o1",
        reason="chargeback",
    )

    assert decide(a_wallet(1_000, status), a_reversal(), NOWHERE) == Posted(
        Wallet("w1", "USD", None, 750, 0, status, 8),
        (Fact(EventType.DEPOSIT_REVERSED, reversal),),
        Entry(EntryType.DEPOSIT_REVERSAL, -250, 750, 8),
    )


@pytest.mark.parametrize("wallet", [a_wallet(249), a_wallet(1_000, held_minor=751)])
def test_a_reversal_takes_only_what_is_available(wallet: Wallet) -> None:
    """It says how much lacks; what is held is bound to somebody else."""
    assert decide(wallet, a_reversal(), NOWHERE) == Rejected(
        RejectionReason.INSUFFICIENT_FUNDS,
        "USD",
        required_minor=250,
        available_minor=wallet.available_minor,
    )


def test_a_reversal_needs_a_wallet_and_an_amount_of_its_currency() -> None:
    """As any other command about money."""
    missing = decide(None, a_reversal(), NOWHERE)
    inexact = decide(a_wallet(1_000), a_reversal("0.001"), NOWHERE)

    assert isinstance(missing, Rejected)
    assert isinstance(inexact, Rejected)
    assert missing.reason is RejectionReason.WALLET_NOT_FOUND
    assert inexact.reason is RejectionReason.INVALID_AMOUNT


@pytest.mark.parametrize("statuses", [(CLOSED, WalletStatus.ACTIVE), (WalletStatus.ACTIVE, CLOSED)])
def test_nothing_goes_back_from_or_to_a_closed_wallet(
    statuses: tuple[WalletStatus, WalletStatus],
) -> None:
    """What came there could not leave any more. What is on its way arrives all the same."""
    payer, recipient = statuses
    around = Surroundings(recipient=Wallet("w2", "USD", status=recipient))

    refused = decide(a_wallet(250, payer), a_transfer_back(), around)
    credited = decide(a_wallet(0, CLOSED), a_credit_back(), NOWHERE)

    assert refused == Rejected(RejectionReason.WALLET_CLOSED)
    assert decide(a_wallet(250, CLOSED), a_reversal(), NOWHERE) == refused
    assert isinstance(credited, Posted)


@pytest.mark.parametrize("status", OPEN)
def test_a_transfer_goes_back_through_frozen_wallets(status: WalletStatus) -> None:
    """Neither who has to give it back nor who gets it back has to be active."""
    around = Surroundings(recipient=Wallet("w2", "USD", status=status))

    debited = decide(a_wallet(250, status), a_transfer_back(), around)
    credited = decide(a_wallet(0, status), a_credit_back(), NOWHERE)

    assert isinstance(debited, Posted)
    assert debited.transfer is not None
    assert debited.transfer.reverses == "o1"
    assert isinstance(credited, Posted)
    assert credited.wallet.balance_minor == 250


def test_a_transfer_back_is_paid_or_waits() -> None:
    """Its debit needs the money, its credit needs room."""
    around = Surroundings(recipient=Wallet("w2", "USD"))

    poor = decide(a_wallet(249), a_transfer_back(), around)
    full = decide(a_wallet(MAX_MINOR), a_credit_back(), NOWHERE)

    assert isinstance(poor, Rejected)
    assert poor.reason is RejectionReason.INSUFFICIENT_FUNDS
    assert isinstance(full, Rejected)
    assert full.reason is RejectionReason.BALANCE_LIMIT_EXCEEDED


def test_a_cancelled_key_is_a_remembered_rejection() -> None:
    """Where there is a wallet; without one there is nothing to remember it by."""
    command = CancelKey(wallet_id="w1", request_id="r1", operation_id="o1")

    assert decide(a_wallet(0), command, NOWHERE) == Rejected(RejectionReason.CANCELLED)
    assert decide(None, command, NOWHERE) == Rejected(RejectionReason.WALLET_NOT_FOUND)
    assert RejectionReason.CANCELLED.remembered


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        (a_reversal(), True),
        (a_transfer_back(), True),
        (a_credit_back(), True),
        (
            Deposit(wallet_id="w1", request_id="r", operation_id="o", amount=parse_amount("1")),
            False,
        ),
        (CancelKey(wallet_id="w1", request_id="r1", operation_id="o1"), False),
    ],
)
def test_reversals_are_known_as_such(command: Command, is_one: bool) -> None:
    """Their refusals are not remembered, so that they can be asked for again."""
    assert is_reversal(command) is is_one


def test_nothing_is_forced_beyond_what_a_balance_can_be() -> None:
    """A wallet that owes nearly all there is cannot be made to owe more than that."""
    deep = Wallet("w1", "USD", balance_minor=-MAX_MINOR + 1, version=7, floor_minor=-MAX_MINOR)
    command = ReverseOperation(
        wallet_id="w1",
        request_id="k1",
        operation_id="o2",
        kind=Reversible.DEPOSIT,
        reverses="o1",
        original_minor=500,
        force=True,
    )

    refused = decide(deep, command, NOWHERE)

    assert refused == Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, "USD")
