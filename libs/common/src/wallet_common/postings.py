"""This module is where it is asked whether money may move on a wallet, and where it moves."""

import msgspec

from wallet_common.errors import InvalidAmount
from wallet_common.limits import NO_LIMITS, Excess, too_fast, too_large, too_rich
from wallet_common.money import MAX_MINOR, Amount
from wallet_common.wallet import (
    Direction,
    Entry,
    EntryType,
    Rejected,
    RejectionReason,
    Surroundings,
    Wallet,
    WalletStatus,
)


def in_minor(amount: Amount, wallet: Wallet) -> int | Rejected:
    """Return the amount in minor units of the wallet's currency."""
    try:
        return amount.to_minor(wallet.currency)
    except InvalidAmount as wrong:
        return Rejected(RejectionReason.INVALID_AMOUNT, wallet.currency, detail=str(wrong))


def wrong_currency(wallet: Wallet, currency: str) -> Rejected | None:
    """Refuse a wallet that is kept in another currency."""
    if wallet.currency == currency:
        return None
    return Rejected(RejectionReason.CURRENCY_MISMATCH, wallet.currency)


def not_open(wallet: Wallet, way: Direction) -> Rejected | None:
    """Refuse a wallet whose status lets no money move that way, in or out."""
    match wallet.status:
        case WalletStatus.ACTIVE:
            return None
        case WalletStatus.FROZEN if wallet.frozen in {None, Direction.BOTH, way}:
            return Rejected(RejectionReason.WALLET_FROZEN)
        case WalletStatus.FROZEN:
            return None
        case WalletStatus.CLOSED:
            return Rejected(RejectionReason.WALLET_CLOSED)


def closed(*wallets: Wallet) -> Rejected | None:
    """Refuse to move anything on a closed wallet: what came there could not leave any more."""
    if any(each.status is WalletStatus.CLOSED for each in wallets):
        return Rejected(RejectionReason.WALLET_CLOSED)
    return None


def may_come(wallet: Wallet, amount_minor: int, *, is_step: bool = False) -> Rejected | None:
    """
    Refuse money that the wallet's status or limits keep out.

    A transfer's step is no transaction of the recipient's.
    """
    excess = too_rich(wallet.limits, wallet.balance_minor, amount_minor)
    if excess is None and not is_step:
        excess = too_large(wallet.limits, amount_minor)
    return (
        not_open(wallet, Direction.IN) or too_full(wallet, amount_minor) or _beyond(wallet, excess)
    )


def may_leave(
    wallet: Wallet, amount_minor: int, around: Surroundings, fee_minor: int = 0
) -> Rejected | None:
    """Refuse money that the wallet's status, limits or balance keep in; a fee has no limit."""
    return (
        not_open(wallet, Direction.OUT)
        or _beyond(wallet, _over(wallet, amount_minor, around))
        or too_poor(wallet, amount_minor + fee_minor)
    )


def too_full(wallet: Wallet, amount_minor: int) -> Rejected | None:
    """Refuse what would leave the range that a balance has."""
    if wallet.balance_minor + amount_minor > MAX_MINOR:
        return Rejected(RejectionReason.BALANCE_LIMIT_EXCEEDED, wallet.currency)
    return None


def too_poor(wallet: Wallet, amount_minor: int) -> Rejected | None:
    """Refuse what is more than the wallet has, and may owe."""
    if amount_minor > wallet.spendable_minor:
        return Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            wallet.currency,
            required_minor=amount_minor,
            available_minor=wallet.spendable_minor,
        )
    return None


def _over(wallet: Wallet, amount_minor: int, around: Surroundings) -> Excess | None:
    if wallet.limits is NO_LIMITS:
        return None
    excess = too_large(wallet.limits, amount_minor)
    if excess is None and wallet.limits.velocity:
        assert around.now is not None, "what is limited by time needs the time"
        excess = too_fast(
            wallet.limits, around.spending, wallet.held_minor, amount_minor, around.now
        )
    return excess


def _beyond(wallet: Wallet, excess: Excess | None) -> Rejected | None:
    if excess is None:
        return None
    return Rejected(RejectionReason.LIMIT_EXCEEDED, wallet.currency, excess=excess)


def post(
    wallet: Wallet,
    entry_type: EntryType,
    amount_minor: int,
    *,
    facts_before: int = 0,
    changes_currency: bool = False,
) -> tuple[Wallet, Entry]:
    """Move money on one wallet. The entry's event comes after `facts_before` other facts."""
    balance_minor = wallet.balance_minor + amount_minor
    assert balance_minor - wallet.held_minor >= wallet.floor_minor, "checked before posting"
    assert balance_minor <= MAX_MINOR, "checked before posting"
    version = wallet.version + facts_before + 1
    after = msgspec.structs.replace(wallet, balance_minor=balance_minor, version=version)
    return after, Entry(entry_type, amount_minor, balance_minor, version, changes_currency)
