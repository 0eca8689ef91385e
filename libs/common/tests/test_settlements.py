"""This module is where it is shown what follows from another service's transaction."""

from datetime import UTC, datetime

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace

from wallet_common.commands import DebitTransfer, Deposit, ReverseDeposit
from wallet_common.errors import Poison
from wallet_common.messages import Completion, Failure, TransactionType
from wallet_common.money import Amount
from wallet_common.operations import Operation, Outcome, Receipt
from wallet_common.settlements import (
    Settlement,
    SettlementState,
    effect,
    ending,
    finalized,
    key,
    plan,
    reversal,
    reversal_key,
    tombstone,
)
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected, RejectionReason

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOPUP = Completion(
    transaction_id="t1",
    type=TransactionType.TOPUP,
    user_id="ann",
    recipient_id=None,
    amount_minor=1_250,
    currency="USD",
)
TRANSFER = replace(TOPUP, type=TransactionType.TRANSFER, recipient_id="bob")
RECEIPT = Receipt("USD", 1_250, 2)
CANCELLED = Rejected(RejectionReason.CANCELLED)


def done(outcome: Outcome, kind: str = "deposit") -> Operation:
    return Operation(
        wallet_id="w1",
        request_id=key("t1"),
        operation_id="o1",
        type=kind,
        meaning={},
        outcome=outcome,
        trace_id="trace",
        audit_id=None,
        occurred_at=NOON,
    )


def a_transfer(state: TransferState, reason: str | None = None) -> Transfer:
    return Transfer(
        id="o1",
        from_wallet_id="w1",
        to_wallet_id="w2",
        amount_minor=1_250,
        currency="USD",
        request_id=key("t1"),
        state=state,
        from_balance_minor=0,
        reason=reason,
    )


def test_a_plan_says_what_is_to_be_done() -> None:
    """What was asked, with the wallets it is about, accepted before any money moves."""
    assert plan(TRANSFER, "w1", "w2") == Settlement(
        transaction_id="t1",
        type=TransactionType.TRANSFER,
        user_id="ann",
        recipient_id="bob",
        wallet_id="w1",
        to_wallet_id="w2",
        amount_minor=1_250,
        currency="USD",
        state=SettlementState.ACCEPTED,
    )


@pytest.mark.parametrize(
    ("asked", "wallets", "reason"),
    [
        (TOPUP, (None, None), "wallet_not_found"),
        (TRANSFER, (None, "w2"), "wallet_not_found"),
        (TRANSFER, ("w1", None), "recipient_not_found"),
    ],
)
def test_without_its_wallets_a_transaction_has_failed(
    asked: Completion, wallets: tuple[str | None, str | None], reason: str
) -> None:
    """Nothing can happen under such a plan; it says why."""
    planned = plan(asked, *wallets)

    assert (planned.state, planned.reason) == (SettlementState.FAILED, reason)


def test_the_same_transaction_may_be_told_again() -> None:
    """A repetition is what was planned; and where there is no plan, nothing differs from it."""
    plan(TRANSFER, "w1", "w2").check_same(TRANSFER)
    tombstone(Failure("t1")).check_same(TRANSFER)


@pytest.mark.parametrize(
    "other",
    [
        TOPUP,
        replace(TRANSFER, user_id="eve"),
        replace(TRANSFER, recipient_id="eve"),
        replace(TRANSFER, amount_minor=1_251),
        replace(TRANSFER, currency="EUR"),
    ],
)
def test_another_transaction_of_the_same_id_is_poison(other: Completion) -> None:
    """One id, one transaction: what differs is named."""
    with pytest.raises(Poison, match=r"type|user_id|recipient_id|amount_minor|currency"):
        plan(TRANSFER, "w1", "w2").check_same(other)


def test_a_topup_is_a_deposit() -> None:
    """It is keyed by the transaction, out of reach of clients, and bears its id as reference."""
    assert effect(plan(TOPUP, "w1", None), "o1") == Deposit(
        wallet_id="w1",
        request_id=key("t1"),
        operation_id="o1",
        amount=Amount(1_250, 2),
        reference="t1",
    )


def test_a_transfer_is_a_transfer() -> None:
    """From the user's wallet to the recipient's."""
    assert effect(plan(TRANSFER, "w1", "w2"), "o1") == DebitTransfer(
        wallet_id="w1",
        request_id=key("t1"),
        operation_id="o1",
        amount=Amount(1_250, 2),
        reference="t1",
        to_wallet_id="w2",
    )


@pytest.mark.parametrize("transaction_id", ["t1", "t" * 256, "\N{PILE OF POO}" * 256, "t 1"])
def test_keys_fit_whatever_a_transaction_is_called(transaction_id: str) -> None:
    """Keys are short, hold the space that no client may use, and differ from each other."""
    keys = {key(transaction_id), reversal_key(transaction_id), key(f"{transaction_id}!")}

    assert len(keys) == 3
    assert all(len(each) <= 128 and " " in each for each in keys)


@pytest.mark.parametrize(
    ("came", "state", "reason"),
    [
        (done(RECEIPT), SettlementState.COMPLETED, None),
        (done(CANCELLED), SettlementState.FAILED, "cancelled"),
        (
            done(Rejected(RejectionReason.INSUFFICIENT_FUNDS, "USD", 1_250, 0)),
            SettlementState.FAILED,
            "insufficient_funds",
        ),
        (a_transfer(TransferState.COMPLETED), SettlementState.COMPLETED, None),
        (
            a_transfer(TransferState.FAILED, "wallet_frozen"),
            SettlementState.FAILED,
            "wallet_frozen",
        ),
    ],
)
def test_what_came_of_it_is_how_it_ended(
    came: Operation | Transfer, state: SettlementState, reason: str | None
) -> None:
    """A refusal is the reason of the failure."""
    assert ending(came) == (state, reason)


def test_a_deposit_is_taken_back() -> None:
    """By its own amount, under a second key, naming what it takes back and why."""
    planned = plan(TOPUP, "w1", None)

    command = reversal(planned, done(RECEIPT), None, operation_id="o2", reason="chargeback")

    assert command == ReverseDeposit(
        wallet_id="w1",
        request_id=reversal_key("t1"),
        operation_id="o2",
        amount=Amount(1_250, 2),
        reference="t1",
        reverses="o1",
        reason="chargeback",
    )


def test_a_transfer_goes_back_the_way_it_came() -> None:
    """From the recipient to the sender, naming the transfer that it reverses."""
    planned = plan(TRANSFER, "w1", "w2")
    came = a_transfer(TransferState.COMPLETED)

    command = reversal(planned, done(RECEIPT, "transfer"), came, operation_id="o2", reason="r")

    assert command == DebitTransfer(
        wallet_id="w2",
        request_id=reversal_key("t1"),
        operation_id="o2",
        amount=Amount(1_250, 2),
        reference="t1",
        to_wallet_id="w1",
        reverses="o1",
    )


@pytest.mark.parametrize(
    ("operation", "transfer"),
    [
        (done(CANCELLED), None),
        (done(Rejected(RejectionReason.WALLET_FROZEN)), None),
        (done(RECEIPT, "transfer"), a_transfer(TransferState.FAILED, "wallet_frozen")),
    ],
)
def test_what_moved_no_money_is_not_taken_back(
    operation: Operation, transfer: Transfer | None
) -> None:
    """A key that was cancelled, a refusal, and a transfer that came back by itself."""
    planned = plan(TRANSFER, "w1", "w2")

    assert reversal(planned, operation, transfer, operation_id="o2", reason="r") is None


def test_the_answer_is_what_was_promised() -> None:
    """Six members on the wire; the user is the one who is known."""
    completed = replace(plan(TOPUP, "w1", None), state=SettlementState.COMPLETED)
    failed = tombstone(Failure("t2", None, "chargeback"))

    answers = [decode(encode(finalized(each, "eve", NOON))) for each in (completed, failed)]

    assert answers == [
        {
            "transactionId": "t1",
            "userId": "ann",
            "status": "completed",
            "success": True,
            "reason": None,
            "finalizedAt": "2026-01-01T12:00:00Z",
        },
        {
            "transactionId": "t2",
            "userId": "eve",
            "status": "failed",
            "success": False,
            "reason": "chargeback",
            "finalizedAt": "2026-01-01T12:00:00Z",
        },
    ]
