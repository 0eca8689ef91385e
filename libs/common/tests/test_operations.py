"""This module is where it is shown when two requests with one key mean the same."""

from datetime import UTC, datetime

import pytest

from wallet_common.commands import (
    Ask,
    CancelKey,
    CompleteTransfer,
    CreditTransfer,
    DebitTransfer,
    Deposit,
    Keyed,
    OpenWallet,
    RefundTransfer,
    ReverseDeposit,
    Withdraw,
    key,
)
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.facts import EventType, Fact
from wallet_common.meanings import meaning, operation_type
from wallet_common.money import parse_amount
from wallet_common.operations import Operation, Receipt, receipt
from wallet_common.payloads import Movement
from wallet_common.wallet import Entry, EntryType, Posted, Wallet


def a_deposit(
    amount: str = "10.00",
    *,
    operation_id: str = "o1",
    reference: str | None = "rent",
    metadata: str | None = '{"a":1,"b":2}',
    opens_in: str | None = "USD",
) -> Deposit:
    return Deposit(
        wallet_id="w1",
        request_id="r1",
        operation_id=operation_id,
        amount=parse_amount(amount),
        reference=reference,
        metadata=metadata,
        metadata_meaning=metadata and metadata.replace(" ", ""),
        opens_in=opens_in,
    )


def a_withdrawal() -> Withdraw:
    return Withdraw(
        wallet_id="w1", request_id="r1", operation_id="o1", amount=parse_amount("10.00")
    )


def a_reversal() -> ReverseDeposit:
    return ReverseDeposit(
        wallet_id="w1",
        request_id="r1",
        operation_id="o1",
        amount=parse_amount("10.00"),
        reverses="o0",
        reason="chargeback",
    )


def a_transfer(to_wallet_id: str = "w2") -> DebitTransfer:
    return DebitTransfer(
        wallet_id="w1",
        request_id="r1",
        operation_id="o1",
        amount=parse_amount("10.00"),
        to_wallet_id=to_wallet_id,
    )


def a_credit() -> CreditTransfer:
    return CreditTransfer(
        wallet_id="w2",
        transfer_id="t1",
        operation_id="o2",
        from_wallet_id="w1",
        amount_minor=1_000,
        currency="USD",
        request_id="r1",
    )


def a_refund() -> RefundTransfer:
    return RefundTransfer(
        request_id="r1", wallet_id="w1", transfer_id="t1", operation_id="o3", reason="wallet_frozen"
    )


def an_operation(command: Ask) -> Operation:
    return Operation(
        wallet_id=command.wallet_id,
        request_id=command.request_id,
        operation_id=command.operation_id,
        type=operation_type(command),
        meaning=meaning(command),
        outcome=Receipt("USD", 1_000, 2),
        trace_id="trace",
        audit_id=None,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "again",
    [
        a_deposit("10"),
        a_deposit("10.0"),
        a_deposit("10.000"),
        a_deposit(metadata='{"a": 1, "b": 2}'),
        a_deposit(operation_id="o2"),
        a_deposit(opens_in=None),
    ],
    ids=[
        "no decimals",
        "one decimal",
        "three decimals",
        "metadata",
        "fresh id",
        "default currency",
    ],
)
def test_the_same_intent_in_another_spelling_is_the_same(again: Deposit) -> None:
    """Spelling, the fresh id of a retry and the default currency are no part of what is meant."""
    operation = an_operation(a_deposit("10.00"))

    operation.check_same_intent(again)


@pytest.mark.parametrize(
    ("first", "second", "fields"),
    [
        (a_deposit("10.00"), a_deposit("10.01"), ("amount",)),
        (a_deposit(), a_deposit(reference="food"), ("reference",)),
        (a_deposit(), a_deposit(reference=None), ("reference",)),
        (a_deposit(reference=None), a_deposit(), ("reference",)),
        (a_deposit(), a_deposit(metadata='{"a":1}'), ("metadata",)),
        (a_deposit(), a_deposit(metadata=None), ("metadata",)),
        (a_transfer("w2"), a_transfer("w3"), ("toWalletId",)),
        (a_deposit(reference=None, metadata=None), a_withdrawal(), ("type",)),
        (a_withdrawal(), a_transfer(), ("toWalletId", "type")),
        (a_deposit("10"), a_deposit("1", reference=None, metadata=None), None),
    ],
)
def test_another_intent_under_the_same_key_is_refused(
    first: Ask, second: Ask, fields: tuple[str, ...] | None
) -> None:
    """Whatever differs is named as it is called on the wire, in alphabetical order."""
    operation = an_operation(first)

    with pytest.raises(IdempotencyKeyReused) as refused:
        operation.check_same_intent(second)

    assert refused.value.fields == (fields or ("amount", "metadata", "reference"))
    assert str(refused.value).endswith(", ".join(refused.value.fields))


@pytest.mark.parametrize(
    ("command", "name", "remembered_as"),
    [
        (a_deposit(), "deposit", "r1"),
        (a_withdrawal(), "withdraw", "r1"),
        (a_reversal(), "deposit_reversal", "r1"),
        (CancelKey(wallet_id="w1", request_id="r1", operation_id="o1"), "cancellation", "r1"),
        (a_transfer(), "transfer", "r1"),
        (a_credit(), "transfer_credit", "credit t1"),
        (a_refund(), "transfer_refund", "refund t1"),
    ],
)
def test_an_operation_has_a_name_and_a_key(command: Keyed, name: str, remembered_as: str) -> None:
    """A caller's key is its own; that of a later step holds a space, which no client's key may."""
    assert operation_type(command) == name
    assert key(command) == remembered_as


@pytest.mark.parametrize(
    "command",
    [
        OpenWallet("w1", "USD"),
        CompleteTransfer(wallet_id="w1", transfer_id="t1", to_balance_minor=0),
    ],
)
def test_what_is_naturally_repeatable_has_no_key(command: OpenWallet | CompleteTransfer) -> None:
    """Opening a wallet and completing a transfer are remembered by the wallet and the transfer."""
    assert key(command) is None


def test_what_was_meant_is_said_in_the_words_of_the_wire() -> None:
    """The meaning holds canonical values, and nothing that was not said."""
    assert meaning(a_transfer("w2")) == {"type": "transfer", "amount": "10", "toWalletId": "w2"}


def test_a_receipt_is_the_wallet_as_the_operation_left_it() -> None:
    """What is remembered of a posting is balance, version, currency, and whether it was new."""
    posted = Posted(
        Wallet("w1", "KWD", "alice", balance_minor=1_250, version=2),
        (
            Fact(
                EventType.FUNDS_DEPOSITED,
                Movement(
                    amount="1.250",
                    currency="KWD",
                    new_balance="1.250",
                    request_id="r1",
                    operation_id="o1",
                ),
            ),
        ),
        Entry(EntryType.DEPOSIT, 1_250, 1_250, 2),
        created=True,
    )

    assert receipt(posted) == Receipt("KWD", 1_250, 2, created=True)
