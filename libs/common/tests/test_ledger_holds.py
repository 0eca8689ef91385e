"""This module is where it is shown what a hold binds, and what becomes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from wallet_common.commands import CaptureHold, ExpireHolds, PlaceHold, ReleaseHold
from wallet_common.facts import EventType
from wallet_common.hold_steps import expire
from wallet_common.holds import Hold, HoldStatus
from wallet_common.ledger import decide
from wallet_common.money import from_minor, parse_amount
from wallet_common.operations import HoldReceipt, receipt
from wallet_common.payloads import HoldStep
from wallet_common.transfer import TransferState
from wallet_common.wallet import (
    Entry,
    EntryType,
    Posted,
    Rejected,
    RejectionReason as Reason,
    Surroundings,
    Wallet,
    WalletStatus,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECIPIENT = Wallet("w2", "USD", version=1)


def a_wallet(
    balance_minor: int = 1_000,
    held_minor: int = 0,
    status: WalletStatus = WalletStatus.ACTIVE,
) -> Wallet:
    return Wallet("w1", "USD", None, balance_minor, held_minor, status, 7)


def a_hold(amount_minor: int = 600, **more: object) -> Hold:
    return Hold(id="h1", wallet_id="w1", currency="USD", amount_minor=amount_minor, **more)  # type: ignore[arg-type]


def placing(amount: str = "6.00", expires_at: datetime | None = None) -> PlaceHold:
    return PlaceHold(
        wallet_id="w1",
        request_id="r1",
        operation_id="h1",
        amount=parse_amount(amount),
        expires_at=expires_at,
    )


def capturing(amount: str | None = None, to: str | None = None) -> CaptureHold:
    return CaptureHold(
        wallet_id="w1",
        request_id="r2",
        operation_id="o2",
        hold_id="h1",
        amount=None if amount is None else parse_amount(amount),
        to_wallet_id=to,
        reference="order 17",
    )


def releasing(amount: str | None = None) -> ReleaseHold:
    return ReleaseHold(
        wallet_id="w1",
        request_id="r3",
        operation_id="o3",
        hold_id="h1",
        amount=None if amount is None else parse_amount(amount),
    )


def posted(decision: Posted | Rejected) -> Posted:
    assert isinstance(decision, Posted), decision
    return decision


def test_a_hold_binds_and_moves_nothing() -> None:
    """The balance stays, what is available does not, and one event tells of both."""
    done = posted(decide(a_wallet(), placing(), Surroundings(now=NOON)))

    assert (done.wallet.balance_minor, done.wallet.held_minor) == (1_000, 600)
    assert (done.wallet.available_minor, done.wallet.version, done.entry) == (400, 8, None)
    assert done.hold == a_hold()
    (fact,) = done.facts
    assert fact.type is EventType.HOLD_PLACED
    assert fact.payload == HoldStep(
        amount="6.00",
        currency="USD",
        request_id="r1",
        operation_id="h1",
        hold_id="h1",
        held="6.00",
        remaining="6.00",
    )


@pytest.mark.parametrize(
    ("wallet", "command", "reason"),
    [
        (None, placing(), Reason.WALLET_NOT_FOUND),
        (a_wallet(held_minor=401), placing(), Reason.INSUFFICIENT_FUNDS),
        (a_wallet(status=WalletStatus.FROZEN), placing(), Reason.WALLET_FROZEN),
        (a_wallet(status=WalletStatus.CLOSED), placing(), Reason.WALLET_CLOSED),
        (a_wallet(), placing("0.001"), Reason.INVALID_AMOUNT),
        (a_wallet(), placing(expires_at=NOON), Reason.INVALID_EXPIRY),
    ],
)
def test_what_cannot_be_held_is_refused(
    wallet: Wallet | None, command: PlaceHold, reason: Reason
) -> None:
    """Where nothing may leave, where nothing is, for no time at all: nothing is bound."""
    refused = decide(wallet, command, Surroundings(now=NOON))

    assert isinstance(refused, Rejected)
    assert refused.reason is reason


def test_a_capture_takes_a_part_and_another_takes_the_rest() -> None:
    """Each leaves the wallet with an entry; with the last unit the hold has been captured."""
    wallet, hold = a_wallet(held_minor=600), a_hold()

    first = posted(decide(wallet, capturing("2.00"), Surroundings(hold=hold)))
    last = posted(decide(first.wallet, capturing(), Surroundings(hold=first.hold)))

    assert first.entry == Entry(EntryType.HOLD_CAPTURE, -200, 800, 8)
    assert (first.wallet.held_minor, first.hold) == (400, a_hold(captured_minor=200))
    assert last.entry == Entry(EntryType.HOLD_CAPTURE, -400, 400, 9)
    assert last.wallet.held_minor == 0
    assert last.hold == a_hold(captured_minor=600, status=HoldStatus.CAPTURED)
    payload = last.facts[0].payload
    assert isinstance(payload, HoldStep)
    assert (payload.amount, payload.new_balance, payload.held) == ("4.00", "4.00", "0.00")


def test_a_capture_to_another_wallet_is_a_transfer() -> None:
    """What was bound pays for it: told first, then the transfer begins as any other."""
    around = Surroundings(hold=a_hold(), recipient=RECIPIENT)

    done = posted(decide(a_wallet(600, held_minor=600), capturing(to="w2"), around))

    assert [fact.type for fact in done.facts] == [
        EventType.HOLD_CAPTURED,
        EventType.TRANSFER_INITIATED,
        EventType.TRANSFER_DEBITED,
    ]
    assert done.entry == Entry(EntryType.TRANSFER_DEBIT, -600, 0, 10)
    assert (done.wallet.version, done.wallet.held_minor) == (10, 0)
    assert done.transfer is not None
    assert (done.transfer.id, done.transfer.state) == ("o2", TransferState.DEBITED)
    assert done.transfer.reference == "order 17"
    payload = done.facts[0].payload
    assert isinstance(payload, HoldStep)
    assert (payload.new_balance, payload.to_wallet_id) == (None, "w2")


@pytest.mark.parametrize(
    ("to", "recipient", "reason"),
    [
        ("w2", None, Reason.RECIPIENT_NOT_FOUND),
        ("w1", RECIPIENT, Reason.SAME_WALLET),
        ("w2", Wallet("w2", "EUR", version=1), Reason.CURRENCY_MISMATCH),
        ("w2", Wallet("w2", "USD", status=WalletStatus.CLOSED), Reason.WALLET_CLOSED),
    ],
)
def test_a_capture_to_nowhere_is_refused(to: str, recipient: Wallet | None, reason: Reason) -> None:
    """A hopeless transfer does not begin, and what is bound stays bound."""
    around = Surroundings(hold=a_hold(), recipient=recipient)

    refused = decide(a_wallet(held_minor=600), capturing(to=to), around)

    assert isinstance(refused, Rejected)
    assert refused.reason is reason


def test_a_release_frees_also_where_nothing_else_may_move() -> None:
    """A frozen wallet's hold can be ended, not captured."""
    wallet = a_wallet(held_minor=600, status=WalletStatus.FROZEN)

    part = posted(decide(wallet, releasing("1.00"), Surroundings(hold=a_hold())))
    rest = posted(decide(part.wallet, releasing(), Surroundings(hold=part.hold)))

    assert (part.wallet.held_minor, part.entry) == (500, None)
    assert rest.hold == a_hold(released_minor=600, status=HoldStatus.RELEASED)
    assert rest.wallet.available_minor == 1_000
    assert decide(wallet, capturing(), Surroundings(hold=a_hold())) == Rejected(
        Reason.WALLET_FROZEN
    )


@pytest.mark.parametrize("command", [capturing("0.01"), releasing("0.01")])
@pytest.mark.parametrize(
    ("hold", "reason"),
    [
        (None, Reason.HOLD_NOT_FOUND),
        (a_hold(captured_minor=600, status=HoldStatus.CAPTURED), Reason.HOLD_CLOSED),
        (a_hold(released_minor=600, status=HoldStatus.RELEASED), Reason.HOLD_CLOSED),
        (a_hold(expired_minor=600, status=HoldStatus.EXPIRED), Reason.HOLD_EXPIRED),
    ],
)
def test_a_hold_that_is_over_has_nothing_to_give(
    command: CaptureHold | ReleaseHold, hold: Hold | None, reason: Reason
) -> None:
    """What was captured, released, expired or never there is neither captured nor released."""
    assert decide(a_wallet(), command, Surroundings(hold=hold)) == Rejected(reason)


@pytest.mark.parametrize("command", [capturing("6.01"), releasing("6.01")])
def test_never_more_than_remains(command: CaptureHold | ReleaseHold) -> None:
    """Whoever asks for more is told how much there is."""
    refused = decide(a_wallet(held_minor=600), command, Surroundings(hold=a_hold()))

    assert refused == Rejected(Reason.HOLD_EXCEEDED, "USD", required_minor=601, remaining_minor=600)


def test_an_expiry_frees_what_remains() -> None:
    """What was captured before stays captured."""
    hold = a_hold(captured_minor=200, expires_at=NOON)

    done = expire(a_wallet(held_minor=400), hold)

    assert done.wallet == Wallet("w1", "USD", None, 1_000, 0, WalletStatus.ACTIVE, 8)
    assert done.hold == a_hold(
        captured_minor=200, expired_minor=400, expires_at=NOON, status=HoldStatus.EXPIRED
    )
    payload = done.facts[0].payload
    assert isinstance(payload, HoldStep)
    assert (payload.amount, payload.expires_at, payload.request_id) == ("4.00", NOON, None)


def test_whoever_asks_for_expiry_asks_for_nothing_more() -> None:
    """What was due has expired before anything is decided."""
    assert decide(a_wallet(), ExpireHolds(wallet_id="w1"), Surroundings()) == Posted(a_wallet())
    assert decide(None, ExpireHolds(wallet_id="w1"), Surroundings()) == Rejected(
        Reason.WALLET_NOT_FOUND
    )


def test_a_hold_is_over_at_the_very_instant_it_names() -> None:
    """A microsecond before it binds, at the instant it does not; one without an end always does."""
    hold, endless = a_hold(captured_minor=1, expires_at=NOON), a_hold()

    assert hold.seen_at(NOON - timedelta(microseconds=1)) is hold
    assert hold.seen_at(NOON).status is HoldStatus.EXPIRED
    assert hold.seen_at(NOON).remaining_minor == 0
    assert endless.seen_at(NOON) is endless
    assert hold.expired().seen_at(NOON) == hold.expired()


def test_what_is_remembered_is_the_hold_as_this_step_left_it() -> None:
    """A receipt has the hold, what is held, and the balance."""
    done = posted(decide(a_wallet(held_minor=600), releasing("1.00"), Surroundings(hold=a_hold())))

    kept = receipt(done)

    assert kept == HoldReceipt("USD", 1_000, 8, hold=a_hold(released_minor=100), held_minor=500)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=12))
def test_whatever_is_asked_of_a_hold_its_parts_add_up(asked: list[tuple[bool, int]]) -> None:
    """Captured, released and remaining make the amount, and what is held is what remains."""
    wallet, hold = a_wallet(held_minor=600), a_hold()
    for is_capture, amount_minor in asked:
        amount = from_minor(amount_minor, "USD").canonical()
        command = capturing(amount) if is_capture else releasing(amount)
        done = decide(wallet, command, Surroundings(hold=hold))
        if isinstance(done, Rejected):
            assert amount_minor > hold.remaining_minor
            continue
        assert done.hold is not None
        wallet, hold = done.wallet, done.hold

    assert hold.captured_minor + hold.released_minor + hold.remaining_minor == 600
    assert wallet.held_minor == hold.remaining_minor
    assert wallet.balance_minor == 1_000 - hold.captured_minor
    assert (hold.status is HoldStatus.OPEN) == (hold.remaining_minor > 0)
