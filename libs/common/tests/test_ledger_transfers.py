"""This module is where every rule of a transfer's steps is shown by example."""

import pytest

from wallet_common.commands import CompleteTransfer, CreditTransfer, DebitTransfer, RefundTransfer
from wallet_common.errors import InvariantViolated
from wallet_common.facts import EventType, Fact
from wallet_common.ledger import decide
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.payloads import Step
from wallet_common.transfer import Transfer, TransferState
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

FROZEN, CLOSED = WalletStatus.FROZEN, WalletStatus.CLOSED


def a_wallet(
    wallet_id: str,
    balance_minor: int = 0,
    *,
    currency: str = "USD",
    status: WalletStatus = WalletStatus.ACTIVE,
) -> Wallet:
    return Wallet(wallet_id, currency, balance_minor=balance_minor, status=status, version=7)


def a_debit(amount: str = "2.50", *, to_wallet_id: str = "recipient") -> DebitTransfer:
    return DebitTransfer(
        wallet_id="sender",
        request_id="r1",
        operation_id="t1",
        amount=parse_amount(amount),
        to_wallet_id=to_wallet_id,
        reference="rent",
        metadata='{"note": 1}',
    )


def a_credit() -> CreditTransfer:
    return CreditTransfer(
        wallet_id="recipient",
        transfer_id="t1",
        operation_id="o2",
        from_wallet_id="sender",
        amount_minor=250,
        currency="USD",
        request_id="r1",
    )


def a_completion() -> CompleteTransfer:
    return CompleteTransfer(wallet_id="sender", transfer_id="t1", to_balance_minor=250)


def a_refund() -> RefundTransfer:
    return RefundTransfer(
        request_id="r1",
        wallet_id="sender",
        transfer_id="t1",
        operation_id="o3",
        reason="wallet_frozen",
    )


def a_transfer(state: TransferState = TransferState.DEBITED) -> Transfer:
    return Transfer(
        id="t1",
        from_wallet_id="sender",
        to_wallet_id="recipient",
        amount_minor=250,
        currency="USD",
        request_id="r1",
        state=state,
        from_balance_minor=750,
        reference="rent",
        metadata='{"note": 1}',
    )


def a_step(
    *, operation_id: str | None = None, new_balance: str | None = None, reason: str | None = None
) -> Step:
    return Step(
        amount="2.50",
        currency="USD",
        from_wallet_id="sender",
        to_wallet_id="recipient",
        request_id="r1",
        operation_id=operation_id,
        new_balance=new_balance,
        reason=reason,
    )


def test_the_debit_puts_the_senders_money_on_its_way() -> None:
    """The sender pays at once, and the transfer waits, debited, for the recipient."""
    around = Surroundings(recipient=a_wallet("recipient"))

    outcome = decide(a_wallet("sender", 1_000), a_debit("2.50"), around)

    assert outcome == Posted(
        Wallet("sender", "USD", balance_minor=750, version=9),
        (
            Fact(EventType.TRANSFER_INITIATED, a_step()),
            Fact(EventType.TRANSFER_DEBITED, a_step(operation_id="t1", new_balance="7.50")),
        ),
        Entry(EntryType.TRANSFER_DEBIT, -250, 750, 9),
        a_transfer(TransferState.DEBITED),
    )


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        (None, RejectionReason.RECIPIENT_NOT_FOUND),
        (a_wallet("recipient", status=FROZEN), RejectionReason.WALLET_FROZEN),
        (a_wallet("recipient", status=CLOSED), RejectionReason.WALLET_CLOSED),
    ],
    ids=["missing", "frozen", "closed"],
)
def test_a_hopeless_transfer_is_refused_before_money_moves(
    recipient: Wallet | None, reason: RejectionReason
) -> None:
    """A recipient that is seen to be missing, frozen or closed refuses the debit, and is meant."""
    outcome = decide(a_wallet("sender", 1_000), a_debit(), Surroundings(recipient=recipient))

    detail = f"The recipient's wallet is {recipient.status}." if recipient else None
    assert outcome == Rejected(reason, detail=detail)


def test_a_transfer_between_currencies_is_refused_before_money_moves() -> None:
    """A recipient that is kept in another currency refuses the debit, saying in which."""
    around = Surroundings(recipient=a_wallet("recipient", currency="EUR"))

    outcome = decide(a_wallet("sender", 1_000), a_debit(), around)

    assert outcome == Rejected(RejectionReason.CURRENCY_MISMATCH, "EUR")


def test_a_transfer_to_oneself_is_refused() -> None:
    """Sender and recipient must be two wallets."""
    sender = a_wallet("sender", 1_000)

    outcome = decide(sender, a_debit(to_wallet_id="sender"), Surroundings(recipient=sender))

    assert outcome == Rejected(RejectionReason.SAME_WALLET)


def test_a_sender_cannot_send_more_than_is_available() -> None:
    """The whole balance may be sent; a cent more is refused, saying what is needed and there."""
    sender = a_wallet("sender", 1_000)
    around = Surroundings(recipient=a_wallet("recipient"))

    emptied = decide(sender, a_debit("10.00"), around)
    refused = decide(sender, a_debit("10.01"), around)

    assert isinstance(emptied, Posted)
    assert emptied.wallet.balance_minor == 0
    assert refused == Rejected(
        RejectionReason.INSUFFICIENT_FUNDS, "USD", required_minor=1_001, available_minor=1_000
    )


def test_the_credit_gives_the_recipient_the_money() -> None:
    """The recipient's wallet alone is touched: one entry, one fact, no change of the transfer."""
    outcome = decide(a_wallet("recipient", 100), a_credit(), Surroundings())

    assert outcome == Posted(
        Wallet("recipient", "USD", balance_minor=350, version=8),
        (Fact(EventType.TRANSFER_CREDITED, a_step(operation_id="o2", new_balance="3.50")),),
        Entry(EntryType.TRANSFER_CREDIT, 250, 350, 8),
    )


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        (None, Rejected(RejectionReason.RECIPIENT_NOT_FOUND)),
        (a_wallet("recipient", status=FROZEN), Rejected(RejectionReason.WALLET_FROZEN)),
        (a_wallet("recipient", status=CLOSED), Rejected(RejectionReason.WALLET_CLOSED)),
        (
            a_wallet("recipient", currency="EUR"),
            Rejected(RejectionReason.CURRENCY_MISMATCH, "EUR"),
        ),
        (
            a_wallet("recipient", MAX_MINOR - 249),
            Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, "USD"),
        ),
    ],
    ids=["missing", "frozen", "closed", "other currency", "full"],
)
def test_a_recipient_that_cannot_take_the_money_refuses_it(
    recipient: Wallet | None, expected: Rejected
) -> None:
    """The credit decides, whatever the look before the debit showed."""
    outcome = decide(recipient, a_credit(), Surroundings())

    assert outcome == expected


@pytest.mark.parametrize("status", WalletStatus)
def test_the_completion_is_noted_on_the_senders_side(status: WalletStatus) -> None:
    """Completion moves no money: a fact and a version, even if the sender is frozen meanwhile."""
    sender = a_wallet("sender", 750, status=status)

    outcome = decide(sender, a_completion(), Surroundings(transfer=a_transfer()))

    assert isinstance(outcome, Posted)
    assert outcome.wallet == Wallet("sender", "USD", balance_minor=750, status=status, version=8)
    assert outcome.facts == (Fact(EventType.TRANSFER_COMPLETED, a_step(operation_id="t1")),)
    assert outcome.entry is None
    assert outcome.transfer is not None
    assert outcome.transfer.state is TransferState.COMPLETED
    assert outcome.transfer.from_balance_minor == 750
    assert outcome.transfer.to_balance_minor == 250


@pytest.mark.parametrize("status", WalletStatus)
def test_the_refund_gives_the_sender_the_money_back(status: WalletStatus) -> None:
    """A refused transfer is paid back and failed in one step, even to a frozen or closed sender."""
    sender = a_wallet("sender", 750, status=status)

    outcome = decide(sender, a_refund(), Surroundings(transfer=a_transfer()))

    assert isinstance(outcome, Posted)
    assert outcome.wallet == Wallet("sender", "USD", balance_minor=1_000, status=status, version=9)
    assert outcome.facts == (
        Fact(
            EventType.TRANSFER_COMPENSATED,
            a_step(operation_id="o3", new_balance="10.00", reason="wallet_frozen"),
        ),
        Fact(EventType.TRANSFER_FAILED, a_step(reason="wallet_frozen")),
    )
    assert outcome.entry == Entry(EntryType.TRANSFER_REFUND, 250, 1_000, 8)
    assert outcome.transfer is not None
    assert outcome.transfer.state is TransferState.FAILED
    assert outcome.transfer.from_balance_minor == 1_000
    assert outcome.transfer.to_balance_minor is None
    assert outcome.transfer.reason == "wallet_frozen"


def test_a_refund_waits_for_room() -> None:
    """A sender that was filled to the brim meanwhile gets its refund once there is room."""
    around = Surroundings(transfer=a_transfer())

    waiting = decide(a_wallet("sender", MAX_MINOR - 249), a_refund(), around)
    paid = decide(a_wallet("sender", MAX_MINOR - 250), a_refund(), around)

    assert waiting == Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, "USD")
    assert isinstance(paid, Posted)
    assert paid.wallet.balance_minor == MAX_MINOR


@pytest.mark.parametrize("command", [a_completion(), a_refund()], ids=["completion", "refund"])
@pytest.mark.parametrize(
    ("sender", "transfer"),
    [(None, a_transfer()), (a_wallet("sender", 750), None), (None, None)],
    ids=["no sender", "no transfer", "neither"],
)
def test_a_step_without_what_it_continues_is_a_bug(
    command: CompleteTransfer | RefundTransfer, sender: Wallet | None, transfer: Transfer | None
) -> None:
    """A later step that finds no sender or no transfer stops, naming the transfer."""
    with pytest.raises(InvariantViolated, match="t1"):
        decide(sender, command, Surroundings(transfer=transfer))


@pytest.mark.parametrize("command", [a_completion(), a_refund()], ids=["completion", "refund"])
@pytest.mark.parametrize("state", [TransferState.COMPLETED, TransferState.FAILED])
def test_a_finished_transfer_is_never_continued(
    command: CompleteTransfer | RefundTransfer, state: TransferState
) -> None:
    """Completing or refunding what is completed or failed already is a bug, so nothing is paid."""
    around = Surroundings(transfer=a_transfer(state))

    with pytest.raises(InvariantViolated, match=f"t1 cannot go from {state}"):
        decide(a_wallet("sender", 750), command, around)
