"""This module is where the ledger's values live: a wallet, an entry, and what a decision yields."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from wallet_common import fx
from wallet_common.facts import Fact
from wallet_common.holds import Hold
from wallet_common.limits import NO_LIMITS, Excess, Limits, Spending
from wallet_common.schedules import FeeSchedule
from wallet_common.transfer import Transfer


class WalletStatus(StrEnum):
    """Whether money may move in and out."""

    ACTIVE = "active"
    FROZEN = "frozen"
    CLOSED = "closed"


class Direction(StrEnum):
    """Which way money may not move on a frozen wallet."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class RejectionReason(StrEnum):
    """Why a command was declined; the values are the `code` that callers see."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_LIMIT_EXCEEDED = "balance_limit_exceeded"
    SAME_WALLET = "same_wallet"
    CURRENCY_MISMATCH = "currency_mismatch"
    WALLET_FROZEN = "wallet_frozen"
    WALLET_CLOSED = "wallet_closed"
    RECIPIENT_NOT_FOUND = "recipient_not_found"
    WALLET_NOT_EMPTY = "wallet_not_empty"
    ALREADY_REVERSED = "already_reversed"
    REVERSAL_EXCEEDS_ORIGINAL = "reversal_exceeds_original"
    HOLD_EXCEEDED = "hold_exceeded"
    HOLD_CLOSED = "hold_closed"
    HOLD_EXPIRED = "hold_expired"
    LIMIT_EXCEEDED = "limit_exceeded"
    QUOTE_USED = "quote_used"
    QUOTE_EXPIRED = "quote_expired"
    QUOTE_MISMATCH = "quote_mismatch"
    OTHER_OWNER = "other_owner"
    CANCELLED = "cancelled"
    # Not outcomes of an intent but flaws of the request: the key stays free (see `remembered`).
    WALLET_NOT_FOUND = "wallet_not_found"
    WALLET_EXISTS = "wallet_exists"
    INVALID_AMOUNT = "invalid_amount"
    HOLD_NOT_FOUND = "hold_not_found"
    QUOTE_NOT_FOUND = "quote_not_found"
    INVALID_EXPIRY = "invalid_expiry"
    INVALID_LIMIT = "invalid_limit"

    @property
    def remembered(self) -> bool:
        """Whether the rejection is stored next to the key, so that a retry gets it again."""
        return self not in _FORGOTTEN


_FORGOTTEN: Final = {
    RejectionReason.WALLET_NOT_FOUND,
    RejectionReason.WALLET_EXISTS,
    RejectionReason.INVALID_AMOUNT,
    RejectionReason.HOLD_NOT_FOUND,
    RejectionReason.QUOTE_NOT_FOUND,
    RejectionReason.INVALID_EXPIRY,
    RejectionReason.INVALID_LIMIT,
}


class EntryType(StrEnum):
    """What moved the money of a ledger entry."""

    DEPOSIT = "deposit"
    DEPOSIT_REVERSAL = "deposit_reversal"
    WITHDRAW = "withdraw"
    WITHDRAW_REVERSAL = "withdraw_reversal"
    HOLD_CAPTURE = "hold_capture"
    TRANSFER_DEBIT = "transfer_debit"
    TRANSFER_CREDIT = "transfer_credit"
    TRANSFER_REFUND = "transfer_refund"
    FEE = "fee"
    FEE_REFUND = "fee_refund"


# The other leg of each entry. A system account's balance is derived from these legs, never a row.
COUNTER_ACCOUNTS: Final = {
    EntryType.DEPOSIT: "@external",
    EntryType.DEPOSIT_REVERSAL: "@external",
    EntryType.WITHDRAW: "@external",
    EntryType.WITHDRAW_REVERSAL: "@external",
    EntryType.HOLD_CAPTURE: "@external",
    EntryType.TRANSFER_DEBIT: "@transit",
    EntryType.TRANSFER_CREDIT: "@transit",
    EntryType.TRANSFER_REFUND: "@transit",
    EntryType.FEE: "@fees",
    EntryType.FEE_REFUND: "@fees",
}


# What counts as spent in a period, and what takes it back: a transfer that came to nothing.
SPENDING_TYPES: Final = (
    EntryType.WITHDRAW,
    EntryType.HOLD_CAPTURE,
    EntryType.TRANSFER_DEBIT,
    EntryType.TRANSFER_REFUND,
)


class Wallet(msgspec.Struct, frozen=True):
    """
    A wallet as it stands; `version` counts its events. Money in minor units of `currency`.

    `frozen` is which way a frozen wallet's money may not move; None of such a one: both.
    `floor_minor` is how little may be available, at most 0: what its limits let it owe, less where
    it owes more already.
    """

    id: str
    currency: str
    owner_id: str | None = None
    balance_minor: int = 0
    held_minor: int = 0
    status: WalletStatus = WalletStatus.ACTIVE
    version: int = 0
    frozen: Direction | None = None
    floor_minor: int = 0
    limits: Limits = NO_LIMITS

    @property
    def available_minor(self) -> int:
        """What is the wallet's own and free: held money is owned but bound."""
        return self.balance_minor - self.held_minor

    @property
    def spendable_minor(self) -> int:
        """What may leave: what is available, and what the wallet may owe."""
        return self.available_minor + self.limits.overdraft_minor


class Entry(msgspec.Struct, frozen=True):
    """One signed line on one wallet; `version` is that of the event that tells of it."""

    type: EntryType
    amount_minor: int
    balance_after_minor: int
    version: int
    changes_currency: bool = False


def counter_account(entry: Entry, currency: str) -> str:
    """Return the system account that has the other leg of an entry of a wallet in `currency`."""
    return fx.account(currency) if entry.changes_currency else COUNTER_ACCOUNTS[entry.type]


class Back(msgspec.Struct, frozen=True):
    """How much of an operation a reversal has taken back, in minor units."""

    reverses: str
    amount_minor: int


class Posted(msgspec.Struct, frozen=True):
    """
    The command took effect: the wallet afterwards, and all that must be written down.

    `fee` is the entry of what it costs, or of what comes back of that.
    """

    wallet: Wallet
    facts: tuple[Fact, ...] = ()
    entry: Entry | None = None
    transfer: Transfer | None = None
    created: bool = False
    hold: Hold | None = None
    back: Back | None = None
    fee: Entry | None = None


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True, tag="rejected"):
    """The command was declined and nothing changed; amounts in minor units of `currency`."""

    reason: RejectionReason
    currency: str | None = None
    required_minor: int | None = None
    available_minor: int | None = None
    detail: str | None = None
    remaining_minor: int | None = None
    excess: Excess | None = None


class Surroundings(msgspec.Struct, frozen=True):
    """
    What a decision may look at beside the wallet itself.

    `recipient` is an unlocked look at where a transfer goes, `sibling` the wallet that the same
    owner already has in the same currency, `transfer` the row that a later step continues, `hold`
    the one that is captured or released, `now` the time at which it is decided. `is_paying` says
    that a transfer of the wallet is on its way, `reversed_minor` how much of the operation was
    taken back before, `spending` what has left the wallet in the periods that its limits name,
    `quote` the one that a transfer is to use, `fees` what such an operation costs.
    """

    recipient: Wallet | None = None
    sibling: Wallet | None = None
    transfer: Transfer | None = None
    hold: Hold | None = None
    now: datetime | None = None
    is_paying: bool = False
    reversed_minor: int = 0
    spending: Spending = msgspec.field(default_factory=dict)
    quote: fx.Quote | None = None
    fees: FeeSchedule | None = None
