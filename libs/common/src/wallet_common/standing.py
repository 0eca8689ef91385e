"""
This module is where the rules of a wallet's standing live: frozen, open again, closed, limited.

What is asked for and is so already changes nothing and is done.
"""

from msgspec.structs import replace

from wallet_common import commands as ask
from wallet_common.errors import InvalidAmount
from wallet_common.facts import EventType, Fact
from wallet_common.limits import Limits, Velocity
from wallet_common.money import MAX_MINOR, Amount, render
from wallet_common.payloads import LimitsTold, Rate, Standing
from wallet_common.postings import in_minor
from wallet_common.wallet import (
    Direction,
    Posted,
    Rejected,
    RejectionReason,
    Wallet,
    WalletStatus,
)


def freeze(wallet: Wallet | None, command: ask.FreezeWallet) -> Posted | Rejected:
    """Let no money move any more; another direction than before takes its place."""
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    if wallet.status is WalletStatus.CLOSED:
        return Rejected(RejectionReason.WALLET_CLOSED)
    if (wallet.status, wallet.frozen) == (WalletStatus.FROZEN, command.direction):
        return Posted(wallet)
    return _stands(
        wallet,
        EventType.WALLET_FROZEN,
        WalletStatus.FROZEN,
        frozen=command.direction,
        reason=command.reason,
    )


def unfreeze(wallet: Wallet | None, command: ask.UnfreezeWallet) -> Posted | Rejected:
    """Let money move again."""
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    if wallet.status is WalletStatus.CLOSED:
        return Rejected(RejectionReason.WALLET_CLOSED)
    if wallet.status is WalletStatus.ACTIVE:
        return Posted(wallet)
    return _stands(wallet, EventType.WALLET_UNFROZEN, WalletStatus.ACTIVE, reason=command.reason)


def close(wallet: Wallet | None, command: ask.CloseWallet, *, is_paying: bool) -> Posted | Rejected:
    """Close a wallet that has nothing and to which nothing can come back."""
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    if wallet.status is WalletStatus.CLOSED:
        return Posted(wallet)
    if wallet.balance_minor != 0:
        balance = render(wallet.balance_minor, wallet.currency)
        detail = f"The wallet still has {balance} {wallet.currency}."
        return Rejected(RejectionReason.WALLET_NOT_EMPTY, wallet.currency, detail=detail)
    if wallet.held_minor != 0:
        # What it may owe can be bound though it has nothing.
        detail = "A hold of the wallet is open."
        return Rejected(RejectionReason.WALLET_NOT_EMPTY, wallet.currency, detail=detail)
    if is_paying:
        # Should it fail, its money comes back to where nobody could spend it any more.
        detail = "A transfer of the wallet is on its way."
        return Rejected(RejectionReason.WALLET_NOT_EMPTY, wallet.currency, detail=detail)
    return _stands(wallet, EventType.WALLET_CLOSED, WalletStatus.CLOSED, reason=command.reason)


def limit(wallet: Wallet | None, command: ask.SetLimits) -> Posted | Rejected:
    """
    Give a wallet other limits.

    One that owes more than it may from now on owes it still, but nothing more leaves it.
    """
    if wallet is None:
        return Rejected(RejectionReason.WALLET_NOT_FOUND)
    if wallet.status is WalletStatus.CLOSED:
        return Rejected(RejectionReason.WALLET_CLOSED)
    limits = _limits(wallet, command)
    if isinstance(limits, Rejected):
        return limits
    if limits == wallet.limits:
        return Posted(wallet)
    after = replace(
        wallet,
        limits=limits,
        floor_minor=min(-limits.overdraft_minor, wallet.available_minor),
        version=wallet.version + 1,
    )
    return Posted(after, (Fact(EventType.LIMITS_CHANGED, told(limits, wallet.currency)),))


def told(limits: Limits, currency: str) -> LimitsTold:
    """Return limits as the world reads them."""

    def shown(minor: int | None) -> str | None:
        return None if minor is None else render(minor, currency)

    return LimitsTold(
        currency=currency,
        overdraft=render(limits.overdraft_minor, currency),
        max_balance=shown(limits.max_balance_minor),
        max_transaction=shown(limits.max_transaction_minor),
        velocity=tuple(
            Rate(period=each.period.value, amount=shown(each.amount_minor), count=each.count)
            for each in limits.velocity
        ),
        time_zone=limits.time_zone,
    )


def _limits(wallet: Wallet, command: ask.SetLimits) -> Limits | Rejected:
    """Return what is asked for in minor units; refuses what the currency cannot express."""

    def minor(field: str, amount: Amount | None) -> int | None:
        if amount is None:
            return None
        found = in_minor(amount, wallet)
        if isinstance(found, Rejected):
            raise InvalidAmount(f"{field}: {found.detail}")
        if found > MAX_MINOR:
            raise InvalidAmount(f"{field}: is more than a wallet can have")
        return found

    try:
        return Limits(
            overdraft_minor=minor("overdraft", command.overdraft) or 0,
            max_balance_minor=minor("maxBalance", command.max_balance),
            max_transaction_minor=minor("maxTransaction", command.max_transaction),
            velocity=tuple(
                Velocity(each.period, minor("velocity.amount", each.amount), each.count)
                for each in command.velocity
            ),
            time_zone=command.time_zone,
        )
    except InvalidAmount as wrong:
        return Rejected(RejectionReason.INVALID_LIMIT, wallet.currency, detail=str(wrong))


def _stands(
    wallet: Wallet,
    event_type: EventType,
    status: WalletStatus,
    *,
    reason: str | None,
    frozen: Direction | None = None,
) -> Posted:
    after = replace(wallet, status=status, frozen=frozen, version=wallet.version + 1)
    stands = Standing(
        currency=wallet.currency, status=status.value, direction=frozen, reason=reason
    )
    return Posted(after, (Fact(event_type, stands),))
