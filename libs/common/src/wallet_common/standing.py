"""
This module is where the rules of a wallet's standing live: frozen, open again, closed for ever.

What is asked for and is so already changes nothing and is done: no key has to be remembered.
"""

from msgspec.structs import replace

from wallet_common import commands as ask
from wallet_common.events import EventType, Fact
from wallet_common.money import render
from wallet_common.payloads import Standing
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
    if is_paying:
        # Should it fail, its money comes back to where nobody could spend it any more.
        detail = "A transfer of the wallet is on its way."
        return Rejected(RejectionReason.WALLET_NOT_EMPTY, wallet.currency, detail=detail)
    return _stands(wallet, EventType.WALLET_CLOSED, WalletStatus.CLOSED, reason=command.reason)


def _stands(
    wallet: Wallet,
    event_type: EventType,
    status: WalletStatus,
    *,
    reason: str | None,
    frozen: Direction | None = None,
) -> Posted:
    after = replace(wallet, status=status, frozen=frozen, version=wallet.version + 1)
    told = Standing(currency=wallet.currency, status=status.value, direction=frozen, reason=reason)
    return Posted(after, (Fact(event_type, told),))
