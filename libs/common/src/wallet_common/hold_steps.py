"""
This module is where the rules of holds live: to place one, to capture, release and let it expire.

Whoever folds lets expire first what is due, so that no decision meets a hold whose time is over.
"""

from msgspec.structs import replace

from wallet_common import commands as ask, transfer_steps
from wallet_common.facts import EventType, Fact
from wallet_common.holds import Hold, HoldStatus
from wallet_common.money import from_minor, render
from wallet_common.payloads import HoldStep
from wallet_common.postings import in_minor, may_leave, not_open, post
from wallet_common.wallet import (
    Direction,
    EntryType,
    Posted,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
)


def place(wallet: Wallet | None, command: ask.PlaceHold, around: Surroundings) -> Posted | Rejected:
    """Bind money that may leave, until a time that is not over now."""
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    expires_at, now = command.expires_at, around.now
    # Decided here, so that what was placed in time is still remembered when its time is over.
    if expires_at is not None and now is not None and expires_at <= now:
        return Rejected(RejectionReason.INVALID_EXPIRY, detail="must be in the future")
    amount_minor = in_minor(command.amount, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    if refused := may_leave(wallet, amount_minor, around):
        return refused
    hold = Hold(
        id=command.operation_id,
        wallet_id=wallet.id,
        currency=wallet.currency,
        amount_minor=amount_minor,
        expires_at=expires_at,
    )
    after = _noted(_binding(wallet, amount_minor))
    fact = Fact(EventType.HOLD_PLACED, _told(after, hold, amount_minor, command))
    return Posted(after, (fact,), hold=hold)


def capture(
    wallet: Wallet | None, command: ask.CaptureHold, around: Surroundings
) -> Posted | Rejected:
    """Take bound money out, or start a transfer that pays with it; limits were its hold's."""
    wanted = _wanted(wallet, command, around.hold)
    if isinstance(wanted, Rejected):
        return wanted
    wallet, hold, amount_minor = wanted
    if refused := not_open(wallet, Direction.OUT):
        return refused
    freed, hold = _binding(wallet, -amount_minor), hold.captured(amount_minor)
    if command.to_wallet_id is None:
        after, entry = post(freed, EntryType.HOLD_CAPTURE, -amount_minor)
        fact = Fact(EventType.HOLD_CAPTURED, _told(after, hold, amount_minor, command))
        return Posted(after, (fact,), entry, hold=hold)

    freed = _noted(freed)
    debit = ask.DebitTransfer(
        wallet_id=wallet.id,
        request_id=command.request_id,
        operation_id=command.operation_id,
        amount=from_minor(amount_minor, wallet.currency),
        reference=command.reference,
        metadata=command.metadata,
        to_wallet_id=command.to_wallet_id,
    )
    paid = transfer_steps.debit(freed, debit, around, is_assured=True)
    if isinstance(paid, Rejected):
        return paid
    fact = Fact(EventType.HOLD_CAPTURED, _told(freed, hold, amount_minor, command))
    return replace(paid, facts=(fact, *paid.facts), hold=hold)


def release(
    wallet: Wallet | None, command: ask.ReleaseHold, hold: Hold | None
) -> Posted | Rejected:
    """Free bound money, whatever the wallet's status."""
    wanted = _wanted(wallet, command, hold)
    if isinstance(wanted, Rejected):
        return wanted
    wallet, hold, amount_minor = wanted
    after, hold = _noted(_binding(wallet, -amount_minor)), hold.released(amount_minor)
    fact = Fact(EventType.HOLD_RELEASED, _told(after, hold, amount_minor, command))
    return Posted(after, (fact,), hold=hold)


def expire(wallet: Wallet, hold: Hold) -> Posted:
    """Free what a hold still binds whose time is over."""
    amount_minor = hold.remaining_minor
    after, hold = _noted(_binding(wallet, -amount_minor)), hold.expired()
    fact = Fact(EventType.HOLD_EXPIRED, _told(after, hold, amount_minor))
    return Posted(after, (fact,), hold=hold)


def look_after(wallet: Wallet | None) -> Posted | Rejected:
    """Do nothing more: what was due has expired before anything is decided."""
    return Rejected(RejectionReason.WALLET_NOT_FOUND) if wallet is None else Posted(wallet)


def _wanted(
    wallet: Wallet | None, command: ask.CaptureHold | ask.ReleaseHold, hold: Hold | None
) -> tuple[Wallet, Hold, int] | Rejected:
    """Return the wallet, its hold and how much of that is asked for, in minor units."""
    if wallet is None or hold is None:
        return Rejected(RejectionReason.HOLD_NOT_FOUND)
    assert hold.wallet_id == wallet.id, "a hold binds money of its own wallet"
    asked = command.amount
    amount_minor = hold.remaining_minor if asked is None else in_minor(asked, wallet)
    if isinstance(amount_minor, Rejected):
        return amount_minor
    match hold.status:
        case HoldStatus.EXPIRED:
            return Rejected(RejectionReason.HOLD_EXPIRED)
        case HoldStatus.CAPTURED | HoldStatus.RELEASED:
            return Rejected(RejectionReason.HOLD_CLOSED)
        case HoldStatus.OPEN:
            pass
    if amount_minor > hold.remaining_minor:
        return Rejected(
            RejectionReason.HOLD_EXCEEDED,
            wallet.currency,
            required_minor=amount_minor,
            remaining_minor=hold.remaining_minor,
        )
    return wallet, hold, amount_minor


def _binding(wallet: Wallet, more_minor: int) -> Wallet:
    """Return the wallet with so much more of its money bound."""
    held_minor = wallet.held_minor + more_minor
    assert held_minor >= 0, "a hold frees what it bound"
    return replace(wallet, held_minor=held_minor)


def _noted(wallet: Wallet) -> Wallet:
    return replace(wallet, version=wallet.version + 1)


def _told(
    after: Wallet,
    hold: Hold,
    amount_minor: int,
    command: ask.PlaceHold | ask.CaptureHold | ask.ReleaseHold | None = None,
) -> HoldStep:
    # Only then the balance is another one; what pays for a transfer leaves with its debit.
    is_paid_out = isinstance(command, ask.CaptureHold) and command.to_wallet_id is None
    return HoldStep(
        amount=render(amount_minor, after.currency),
        currency=after.currency,
        new_balance=render(after.balance_minor, after.currency) if is_paid_out else None,
        held=render(after.held_minor, after.currency),
        hold_id=hold.id,
        remaining=render(hold.remaining_minor, after.currency),
        expires_at=hold.expires_at,
        request_id=command.request_id if command else None,
        operation_id=command.operation_id if command else None,
        to_wallet_id=command.to_wallet_id if isinstance(command, ask.CaptureHold) else None,
    )
