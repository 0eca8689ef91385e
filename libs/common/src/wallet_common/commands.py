"""This module is where everything a caller may ask of a wallet is named."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from wallet_common.fx import Exchange
from wallet_common.limits import AskedVelocity
from wallet_common.money import Amount
from wallet_common.pii import Indexed
from wallet_common.wallet import Direction


class OpenWallet(msgspec.Struct, frozen=True):
    """
    Make a wallet. `metadata` is JSON text, kept as it came, personal data in it sealed already.

    `index` is by what the sealed values are found.
    """

    wallet_id: str
    currency: str
    owner_id: str | None = None
    metadata: str | None = None
    index: tuple[Indexed, ...] = ()


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """
    What deposits, withdrawals and transfers share.

    `request_id` is the idempotency key, unique within the wallet; `operation_id` a fresh id, kept
    if the key is new. `metadata` is JSON text, kept as it came; `metadata_meaning` its canonical
    form, by which two are compared. Fees are due if it `pays_fees`: other services have their own.
    """

    wallet_id: str
    request_id: str
    operation_id: str
    amount: Amount
    reference: str | None = None
    metadata: str | None = None
    metadata_meaning: str | None = None
    pays_fees: bool = False


class Deposit(_Ask, frozen=True, kw_only=True):
    """Bring money in; `opens_in` is the currency of the wallet to open if there is none yet."""

    opens_in: str | None = None


class Withdraw(_Ask, frozen=True, kw_only=True):
    """Take money out."""


class ReverseDeposit(_Ask, frozen=True, kw_only=True):
    """Take back what a deposit brought in, whatever the wallet's status; all of it or nothing."""

    reverses: str
    reason: str


class DebitTransfer(_Ask, frozen=True, kw_only=True):
    """
    Start a transfer; `operation_id` is also the transfer's id.

    One that `reverses` another brings its money back, also through frozen wallets. Into another
    currency it takes a quote; a conversion stays with one owner.
    """

    to_wallet_id: str
    reverses: str | None = None
    quote_id: str | None = None
    is_conversion: bool = False


class PlaceHold(_Ask, frozen=True, kw_only=True):
    """Bind money of the wallet until it is captured or released; `operation_id` is the hold's."""

    expires_at: datetime | None = None


class _OfHold(msgspec.Struct, frozen=True, kw_only=True):
    """What capture and release share; no `amount` is all that remains."""

    wallet_id: str
    request_id: str
    operation_id: str
    hold_id: str
    amount: Amount | None = None


class CaptureHold(_OfHold, frozen=True, kw_only=True):
    """
    Take bound money out; with a `to_wallet_id` the operation is a transfer there.

    `reference` and `metadata` are those of the hold.
    """

    to_wallet_id: str | None = None
    reference: str | None = None
    metadata: str | None = None


class ReleaseHold(_OfHold, frozen=True, kw_only=True):
    """Make bound money available again."""


class ExpireHolds(msgspec.Struct, frozen=True, kw_only=True):
    """Let the wallet's holds expire whose time is over."""

    wallet_id: str


class _Stand(msgspec.Struct, frozen=True, kw_only=True):
    """What freezing, opening again and closing share."""

    wallet_id: str
    request_id: str
    operation_id: str
    reason: str | None = None


class FreezeWallet(_Stand, frozen=True, kw_only=True):
    """Let no money move on the wallet any more, one way or both."""

    direction: Direction
    reason: str


class UnfreezeWallet(_Stand, frozen=True, kw_only=True):
    """Let money move on the wallet again."""


class CloseWallet(_Stand, frozen=True, kw_only=True):
    """Close an empty wallet for ever."""


class SetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Let these be the wallet's limits, whatever was one before; see `limits.Limits`."""

    wallet_id: str
    overdraft: Amount | None = None
    max_balance: Amount | None = None
    max_transaction: Amount | None = None
    velocity: tuple[AskedVelocity, ...] = ()
    time_zone: str = "UTC"


class Reversible(StrEnum):
    """What an operation has done that can be taken back, the whole of it or a part."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"


class ReverseOperation(msgspec.Struct, frozen=True, kw_only=True):
    """
    Take back what `reverses` did, whatever the wallet's status; all that is left without `amount`.

    `wallet_id` is the one that gives back, or gets back what it withdrew; what a transfer brought
    goes back `to_wallet_id`, its sender's. `original_minor` is what the operation moved,
    `reference` and `metadata` are those of its entry. By `force` the wallet owes what it lacks.
    """

    wallet_id: str
    request_id: str
    operation_id: str
    kind: Reversible
    reverses: str
    original_minor: int
    amount: Amount | None = None
    reason: str | None = None
    force: bool = False
    to_wallet_id: str | None = None
    reference: str | None = None
    metadata: str | None = None


class CancelKey(msgspec.Struct, frozen=True, kw_only=True):
    """
    Take a key so that nothing can happen under it any more.

    If it was used already, what was remembered then is the answer, whatever it meant.
    """

    wallet_id: str
    request_id: str
    operation_id: str


class _TransferStep(msgspec.Struct, frozen=True, kw_only=True):
    """A later step of a transfer: `wallet_id` is the one wallet that it touches."""

    wallet_id: str
    transfer_id: str


class CreditTransfer(_TransferStep, frozen=True, kw_only=True):
    """Give the recipient what the sender was debited, or what that is worth on its terms."""

    operation_id: str
    from_wallet_id: str
    amount_minor: int
    currency: str
    request_id: str
    reference: str | None = None
    metadata: str | None = None
    reverses: str | None = None
    exchange: Exchange | None = None

    @property
    def key(self) -> str:
        """The key within the recipient's wallet; the space keeps it out of reach of clients."""
        return f"credit {self.transfer_id}"


class CompleteTransfer(_TransferStep, frozen=True, kw_only=True):
    """Note on the sender's side that the recipient has the money."""

    to_balance_minor: int


class RefundTransfer(_TransferStep, frozen=True, kw_only=True):
    """Give the sender back what the recipient could not take."""

    operation_id: str
    reason: str
    request_id: str
    reference: str | None = None
    metadata: str | None = None

    @property
    def key(self) -> str:
        """The key within the sender's wallet; the space keeps it out of reach of clients."""
        return f"refund {self.transfer_id}"


Ask = (
    Deposit
    | Withdraw
    | ReverseDeposit
    | DebitTransfer
    | PlaceHold
    | CaptureHold
    | ReleaseHold
    | FreezeWallet
    | UnfreezeWallet
    | CloseWallet
    | ReverseOperation
)
TransferStep = CreditTransfer | CompleteTransfer | RefundTransfer
# What is remembered under a key: an intent, a step that moves money, or that the key is spent.
Keyed = Ask | CancelKey | CreditTransfer | RefundTransfer
Command = OpenWallet | SetLimits | CancelKey | ExpireHolds | Ask | TransferStep
# Asked for again they find it done, so they need no key.
KEYLESS: Final = (OpenWallet, CompleteTransfer, ExpireHolds, SetLimits)


def key(command: Command) -> str | None:
    """Return the key under which the operation is remembered within the wallet; None for none."""
    # To be told that a value is none of a class takes long: what comes most is asked for first.
    if isinstance(command, (Deposit, Withdraw, DebitTransfer)):
        return command.request_id
    if isinstance(command, (CreditTransfer, RefundTransfer)):
        return command.key
    return None if isinstance(command, KEYLESS) else command.request_id


def transfer_id(command: Command) -> str | None:
    """Return the transfer that the command belongs to; None if it is none of a transfer's."""
    match command:
        case Deposit() | Withdraw():
            return None
        case DebitTransfer():
            return command.operation_id
        case CreditTransfer() | CompleteTransfer() | RefundTransfer():
            return command.transfer_id
        case CaptureHold() | ReverseOperation():
            return command.operation_id if command.to_wallet_id else None
        case _:
            return None


def pays_to(command: Command) -> str | None:
    """Return the recipient of the transfer that the command starts; None if it starts none."""
    if isinstance(command, (DebitTransfer, CaptureHold, ReverseOperation)):
        return command.to_wallet_id
    return None


def is_reversal(command: Command) -> bool:
    """Say whether the command puts right what should not have been: it must be done some day."""
    if isinstance(command, (DebitTransfer, CreditTransfer)):
        return command.reverses is not None
    return isinstance(command, ReverseDeposit)
