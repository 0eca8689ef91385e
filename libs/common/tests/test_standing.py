"""This module is where it is shown how a wallet is frozen, opened again and closed for ever."""

import pytest

from wallet_common.commands import (
    CloseWallet,
    Command,
    CreditTransfer,
    DebitTransfer,
    Deposit,
    FreezeWallet,
    PlaceHold,
    UnfreezeWallet,
    Withdraw,
)
from wallet_common.facts import EventType
from wallet_common.ledger import decide
from wallet_common.money import parse_amount
from wallet_common.payloads import Standing
from wallet_common.wallet import (
    Direction,
    Posted,
    Rejected,
    RejectionReason as Reason,
    Surroundings,
    Wallet,
    WalletStatus,
)

KEYED = {"wallet_id": "w1", "request_id": "r1", "operation_id": "o1"}
ASKED = KEYED | {"amount": parse_amount("1.00")}
UNFREEZE, CLOSE = UnfreezeWallet(**KEYED), CloseWallet(**KEYED)
OTHER = Wallet("w2", "USD", version=1)
IN: list[Command] = [
    Deposit(**ASKED),  # type: ignore[arg-type]
    CreditTransfer(
        wallet_id="w1",
        transfer_id="t1",
        operation_id="o1",
        from_wallet_id="w2",
        amount_minor=100,
        currency="USD",
        request_id="r1",
    ),
]
OUT: list[Command] = [
    Withdraw(**ASKED),  # type: ignore[arg-type]
    DebitTransfer(**ASKED, to_wallet_id="w2"),  # type: ignore[arg-type]
    PlaceHold(**ASKED),  # type: ignore[arg-type]
]


def a_wallet(
    balance_minor: int = 500,
    status: WalletStatus = WalletStatus.ACTIVE,
    frozen: Direction | None = None,
) -> Wallet:
    return Wallet("w1", "USD", None, balance_minor, 0, status, 7, frozen)


def freezing(direction: Direction = Direction.BOTH) -> FreezeWallet:
    return FreezeWallet(**KEYED, direction=direction, reason="a court says so")


@pytest.mark.parametrize("direction", [None, *Direction])
@pytest.mark.parametrize(("commands", "way"), [(IN, Direction.IN), (OUT, Direction.OUT)])
def test_money_moves_the_ways_that_are_not_frozen(
    commands: list[Command], way: Direction, direction: Direction | None
) -> None:
    """Frozen one way a wallet takes or gives as before; without a direction both are shut."""
    wallet = a_wallet(status=WalletStatus.FROZEN, frozen=direction)
    is_shut = direction in {None, Direction.BOTH, way}

    for command in commands:
        decided = decide(wallet, command, Surroundings(recipient=OTHER))
        assert (decided == Rejected(Reason.WALLET_FROZEN)) is is_shut


def test_a_recipient_that_takes_nothing_is_seen_before_the_debit() -> None:
    """One that is frozen on its way in only refuses; on its way out it takes."""
    debit = DebitTransfer(**ASKED, to_wallet_id="w2")  # type: ignore[arg-type]
    for way, is_taken in ((Direction.IN, False), (Direction.OUT, True)):
        recipient = Wallet("w2", "USD", status=WalletStatus.FROZEN, frozen=way)
        decided = decide(a_wallet(), debit, Surroundings(recipient=recipient))
        assert isinstance(decided, Posted) is is_taken


def test_freezing_tells_which_way_and_why() -> None:
    """One version more, the money untouched, and an event with direction and reason."""
    done = decide(a_wallet(), freezing(Direction.OUT), Surroundings())

    assert isinstance(done, Posted)
    after = done.wallet
    assert (after.status, after.frozen) == (WalletStatus.FROZEN, Direction.OUT)
    assert (after.version, after.balance_minor) == (8, 500)
    (fact,) = done.facts
    assert fact.type is EventType.WALLET_FROZEN
    assert fact.payload == Standing(
        currency="USD", status="frozen", direction="out", reason="a court says so"
    )


@pytest.mark.parametrize(
    ("wallet", "command"),
    [
        (a_wallet(status=WalletStatus.FROZEN, frozen=Direction.IN), freezing(Direction.IN)),
        (a_wallet(), UNFREEZE),
        (a_wallet(0, WalletStatus.CLOSED), CLOSE),
    ],
)
def test_what_is_so_already_is_done(wallet: Wallet, command: Command) -> None:
    """Asked for again, under whatever key, nothing changes and nothing is told."""
    assert decide(wallet, command, Surroundings()) == Posted(wallet)


def test_another_direction_takes_the_place_of_the_first() -> None:
    """A wallet is frozen as it was last said; opened again it is frozen no way."""
    once = decide(a_wallet(), freezing(Direction.IN), Surroundings())
    assert isinstance(once, Posted)
    twice = decide(once.wallet, freezing(Direction.BOTH), Surroundings())
    assert isinstance(twice, Posted)
    opened = decide(twice.wallet, UnfreezeWallet(**KEYED, reason="over"), Surroundings())
    assert isinstance(opened, Posted)

    assert twice.wallet.frozen is Direction.BOTH
    assert (opened.wallet.status, opened.wallet.frozen) == (WalletStatus.ACTIVE, None)
    assert opened.facts[0].payload == Standing(currency="USD", status="active", reason="over")


@pytest.mark.parametrize("status", [WalletStatus.ACTIVE, WalletStatus.FROZEN])
def test_an_empty_wallet_is_closed_for_ever(status: WalletStatus) -> None:
    """Frozen or not; after it nothing but closing is possible."""
    done = decide(a_wallet(0, status), CloseWallet(**KEYED, reason="moved"), Surroundings())

    assert isinstance(done, Posted)
    assert (done.wallet.status, done.wallet.frozen) == (WalletStatus.CLOSED, None)
    assert done.facts[0].type is EventType.WALLET_CLOSED
    for command in (freezing(), UNFREEZE, *IN, *OUT):
        refused = decide(done.wallet, command, Surroundings(recipient=OTHER))
        assert refused == Rejected(Reason.WALLET_CLOSED)


def test_what_has_something_or_may_get_it_back_is_not_closed() -> None:
    """Neither a balance nor a transfer on its way, whose refund nobody could spend."""
    full = decide(a_wallet(1), CLOSE, Surroundings())
    paying = decide(a_wallet(0), CLOSE, Surroundings(is_paying=True))

    assert isinstance(full, Rejected)
    assert isinstance(paying, Rejected)
    assert full.reason is paying.reason is Reason.WALLET_NOT_EMPTY
    assert (full.detail, paying.detail) == (
        "The wallet still has 0.01 USD.",
        "A transfer of the wallet is on its way.",
    )


@pytest.mark.parametrize("command", [freezing(), UNFREEZE, CLOSE])
def test_nobody_s_wallet_does_not_stand(command: Command) -> None:
    """There is nothing to freeze, to open or to close."""
    assert decide(None, command, Surroundings()) == Rejected(Reason.WALLET_NOT_FOUND)
