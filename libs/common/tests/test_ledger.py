"""This module is where every rule of moving money on one wallet is shown by example."""

from decimal import Decimal

import pytest

from wallet_common.commands import DebitTransfer, Deposit, OpenWallet, Withdraw
from wallet_common.currencies import EXPONENTS
from wallet_common.facts import EventType, Fact
from wallet_common.ledger import decide
from wallet_common.money import MAX_MINOR, parse_amount, render
from wallet_common.payloads import Movement, Opening
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

ALONE = Surroundings()
NOT_ACTIVE = {
    WalletStatus.FROZEN: RejectionReason.WALLET_FROZEN,
    WalletStatus.CLOSED: RejectionReason.WALLET_CLOSED,
}


def in_minor(text: str, currency: str = "USD") -> int:
    return int(Decimal(text).scaleb(EXPONENTS[currency]))


def a_movement(amount: str, currency: str, after: str) -> Movement:
    ids = {"request_id": "r1", "operation_id": "o1"}
    return Movement(amount=amount, currency=currency, new_balance=after, **ids)


def a_wallet(
    *,
    balance: str = "0",
    held: str = "0",
    currency: str = "USD",
    status: WalletStatus = WalletStatus.ACTIVE,
    version: int = 7,
) -> Wallet:
    return Wallet(
        "w1",
        currency,
        balance_minor=in_minor(balance, currency),
        held_minor=in_minor(held, currency),
        status=status,
        version=version,
    )


def a_deposit(amount: str, *, opens_in: str | None = None) -> Deposit:
    return Deposit(
        wallet_id="w1",
        request_id="r1",
        operation_id="o1",
        amount=parse_amount(amount),
        opens_in=opens_in,
    )


def a_withdrawal(amount: str) -> Withdraw:
    return Withdraw(wallet_id="w1", request_id="r1", operation_id="o1", amount=parse_amount(amount))


def a_transfer(amount: str) -> DebitTransfer:
    return DebitTransfer(
        wallet_id="w1",
        request_id="r1",
        operation_id="o1",
        amount=parse_amount(amount),
        to_wallet_id="w2",
    )


def test_opening_makes_an_empty_wallet() -> None:
    """A new wallet is empty, active and at version 1, and one fact tells of it."""
    outcome = decide(None, OpenWallet("w1", "JPY", "alice"), ALONE)

    wallet = Wallet("w1", "JPY", "alice", version=1)
    opening = Fact(EventType.WALLET_CREATED, Opening("JPY", "alice", "0"))
    assert outcome == Posted(wallet, (opening,), created=True)


def test_opening_the_same_wallet_again_changes_nothing() -> None:
    """Same id, owner and currency: the existing wallet, whatever it holds, without a new fact."""
    existing = Wallet("w1", "USD", "alice", balance_minor=500, version=3)

    outcome = decide(existing, OpenWallet("w1", "USD", "alice"), ALONE)

    assert outcome == Posted(existing)


@pytest.mark.parametrize(
    ("owner_id", "currency"), [("bob", "USD"), ("alice", "EUR"), (None, "USD")]
)
def test_an_id_that_is_taken_is_refused(owner_id: str | None, currency: str) -> None:
    """A wallet's id cannot be opened again for another owner or in another currency."""
    existing = Wallet("w1", "USD", "alice", version=3)

    outcome = decide(existing, OpenWallet("w1", currency, owner_id), ALONE)

    assert outcome == Rejected(RejectionReason.WALLET_EXISTS)


def test_an_owner_has_one_wallet_per_currency() -> None:
    """A second wallet of the same owner in the same currency is refused."""
    sibling = Wallet("w0", "USD", "alice", version=1)

    outcome = decide(None, OpenWallet("w1", "USD", "alice"), Surroundings(sibling=sibling))

    assert outcome == Rejected(RejectionReason.WALLET_EXISTS)


def test_a_deposit_raises_the_balance() -> None:
    """A deposit adds its amount, with one entry and one fact at the next version."""
    outcome = decide(a_wallet(balance="10.00", version=7), a_deposit("2.50"), ALONE)

    assert outcome == Posted(
        a_wallet(balance="12.50", version=8),
        (Fact(EventType.FUNDS_DEPOSITED, a_movement("2.50", "USD", "12.50")),),
        Entry(EntryType.DEPOSIT, 250, 1_250, 8),
    )


def test_a_first_deposit_opens_the_wallet() -> None:
    """A deposit to nobody opens the wallet in the same decision: two facts, versions 1 and 2."""
    outcome = decide(None, a_deposit("5", opens_in="KWD"), ALONE)

    assert outcome == Posted(
        a_wallet(balance="5.000", currency="KWD", version=2),
        (
            Fact(EventType.WALLET_CREATED, Opening("KWD", None, "0.000")),
            Fact(
                EventType.FUNDS_DEPOSITED,
                a_movement("5.000", "KWD", "5.000"),
            ),
        ),
        Entry(EntryType.DEPOSIT, 5_000, 5_000, 2),
        created=True,
    )


def test_a_deposit_does_not_change_the_currency_of_a_wallet() -> None:
    """`opens_in` says nothing about a wallet that is already there."""
    outcome = decide(a_wallet(currency="JPY"), a_deposit("5", opens_in="KWD"), ALONE)

    assert isinstance(outcome, Posted)
    assert outcome.wallet == a_wallet(balance="5", currency="JPY", version=8)
    assert not outcome.created


@pytest.mark.parametrize(
    "command",
    [a_deposit("1.00"), a_withdrawal("1.00"), a_transfer("1.00")],
    ids=["deposit", "withdrawal", "transfer"],
)
def test_what_needs_a_wallet_is_refused_without_one(
    command: Deposit | Withdraw | DebitTransfer,
) -> None:
    """Without a wallet, and without leave to open one, nothing can be moved."""
    outcome = decide(None, command, ALONE)

    assert outcome == Rejected(RejectionReason.WALLET_NOT_FOUND)


@pytest.mark.parametrize(
    ("wallet", "command"),
    [
        (a_wallet(balance="10.00"), a_deposit("1.001")),
        (None, a_deposit("1.001", opens_in="USD")),
        (a_wallet(balance="10.00"), a_withdrawal("1.001")),
        (a_wallet(balance="10.00"), a_transfer("1.001")),
    ],
    ids=["deposit", "first deposit", "withdrawal", "transfer"],
)
def test_an_amount_finer_than_the_currency_is_refused(
    wallet: Wallet | None, command: Deposit | Withdraw | DebitTransfer
) -> None:
    """Too many decimals are refused, saying how many there may be, and open no wallet."""
    outcome = decide(wallet, command, Surroundings(recipient=Wallet("w2", "USD", version=1)))

    assert outcome == Rejected(
        RejectionReason.INVALID_AMOUNT, "USD", detail="USD has 2 decimals, the amount has 3"
    )


@pytest.mark.parametrize(
    ("balance", "amount"),
    [
        ("92233720368547758.07", "0.01"),
        ("0.01", "92233720368547758.07"),
        ("0", "92233720368547758.08"),
        ("0", "999999999999999999.99"),
        ("92233720368547758.07", "92233720368547758.07"),
    ],
)
def test_a_balance_never_leaves_the_signed_64_bit_range(balance: str, amount: str) -> None:
    """A deposit that would make the balance larger than the database holds is refused."""
    outcome = decide(a_wallet(balance=balance), a_deposit(amount), ALONE)

    assert outcome == Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, "USD")


def test_a_first_deposit_beyond_the_limit_opens_no_wallet() -> None:
    """The limit holds for a wallet that does not exist yet, which then still does not."""
    outcome = decide(None, a_deposit("92233720368547758.08", opens_in="USD"), ALONE)

    assert outcome == Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, "USD")


def test_a_wallet_can_be_filled_to_the_brim() -> None:
    """The largest balance that the database holds can be reached exactly."""
    outcome = decide(a_wallet(balance="92233720368547758.06"), a_deposit("0.01"), ALONE)

    assert isinstance(outcome, Posted)
    assert outcome.wallet.balance_minor == MAX_MINOR


def test_ten_thousand_dimes_are_a_thousand() -> None:
    """0.1 deposited ten thousand times is 1000.00."""
    wallet = a_wallet(balance="0", version=0)

    for _ in range(10_000):
        outcome = decide(wallet, a_deposit("0.1"), ALONE)
        assert isinstance(outcome, Posted)
        wallet = outcome.wallet

    assert render(wallet.balance_minor, "USD") == "1000.00"
    assert wallet.version == 10_000


def test_a_deposit_beyond_a_doubles_precision_is_kept_exactly() -> None:
    """9007199254740993.01, which no binary float holds, arrives to the last cent."""
    outcome = decide(a_wallet(), a_deposit("9007199254740993.01"), ALONE)

    assert isinstance(outcome, Posted)
    assert render(outcome.wallet.balance_minor, "USD") == "9007199254740993.01"


def test_a_withdrawal_lowers_the_balance() -> None:
    """The entry is negative, the event's amount positive: its type says the direction."""
    outcome = decide(a_wallet(balance="10.00", version=7), a_withdrawal("2.5"), ALONE)

    assert outcome == Posted(
        a_wallet(balance="7.50", version=8),
        (Fact(EventType.FUNDS_WITHDRAWN, a_movement("2.50", "USD", "7.50")),),
        Entry(EntryType.WITHDRAW, -250, 750, 8),
    )


def test_all_there_is_can_be_withdrawn_and_not_a_cent_more() -> None:
    """The whole balance may leave; a cent more is refused, saying what is needed and there."""
    wallet = a_wallet(balance="100.00")

    emptied = decide(wallet, a_withdrawal("100.00"), ALONE)
    refused = decide(wallet, a_withdrawal("100.01"), ALONE)

    assert isinstance(emptied, Posted)
    assert emptied.wallet.balance_minor == 0
    assert refused == Rejected(
        RejectionReason.INSUFFICIENT_FUNDS, "USD", required_minor=10_001, available_minor=10_000
    )


def test_held_money_does_not_leave() -> None:
    """Held money is part of the balance, but only what is not held may be withdrawn."""
    wallet = a_wallet(balance="100.00", held="30.00")

    fitting = decide(wallet, a_withdrawal("70.00"), ALONE)
    refused = decide(wallet, a_withdrawal("70.01"), ALONE)

    assert isinstance(fitting, Posted)
    assert fitting.wallet.balance_minor == fitting.wallet.held_minor == in_minor("30.00")
    assert refused == Rejected(
        RejectionReason.INSUFFICIENT_FUNDS, "USD", required_minor=7_001, available_minor=7_000
    )


@pytest.mark.parametrize(("status", "reason"), NOT_ACTIVE.items())
@pytest.mark.parametrize(
    "command",
    [a_deposit("1.00"), a_withdrawal("1.00"), a_withdrawal("1000.00"), a_transfer("1.00")],
    ids=["deposit", "withdrawal", "withdrawal of too much", "transfer"],
)
def test_no_money_moves_on_a_wallet_that_is_not_active(
    status: WalletStatus, reason: RejectionReason, command: Deposit | Withdraw | DebitTransfer
) -> None:
    """A frozen or closed wallet refuses every caller, and does not tell what is available."""
    wallet = a_wallet(balance="100.00", status=status)

    outcome = decide(wallet, command, Surroundings(recipient=Wallet("w2", "USD", version=1)))

    assert outcome == Rejected(reason)
