"""This module is where everything a caller may ask of a wallet is named."""

import msgspec

from wallet_common.money import Amount


class OpenWallet(msgspec.Struct, frozen=True):
    """Make a wallet. `metadata` is JSON text, kept as it came."""

    wallet_id: str
    currency: str
    owner_id: str | None = None
    metadata: str | None = None


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """
    What deposits, withdrawals and transfers share.

    `request_id` is the idempotency key, unique within the wallet. `operation_id` is a fresh id
    that the operation gets if this is the first time the key is seen. `metadata` is JSON text,
    kept as it came; `metadata_meaning` is its canonical form, by which two are compared.
    """

    wallet_id: str
    request_id: str
    operation_id: str
    amount: Amount
    reference: str | None = None
    metadata: str | None = None
    metadata_meaning: str | None = None


class Deposit(_Ask, frozen=True, kw_only=True):
    """Bring money in; `opens_in` is the currency of the wallet to open if there is none yet."""

    opens_in: str | None = None


class Withdraw(_Ask, frozen=True, kw_only=True):
    """Take money out."""


class DebitTransfer(_Ask, frozen=True, kw_only=True):
    """Start a transfer; `operation_id` is also the transfer's id."""

    to_wallet_id: str


class _TransferStep(msgspec.Struct, frozen=True, kw_only=True):
    """A later step of a transfer: `wallet_id` is the one wallet that it touches."""

    wallet_id: str
    transfer_id: str


class CreditTransfer(_TransferStep, frozen=True, kw_only=True):
    """Give the recipient what the sender was debited."""

    operation_id: str
    from_wallet_id: str
    amount_minor: int
    currency: str
    request_id: str
    reference: str | None = None
    metadata: str | None = None

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


Ask = Deposit | Withdraw | DebitTransfer
TransferStep = CreditTransfer | CompleteTransfer | RefundTransfer
Command = OpenWallet | Ask | TransferStep


def key(command: Command) -> str | None:
    """Return the key under which the operation is remembered within the wallet; None for none."""
    match command:
        case Deposit() | Withdraw() | DebitTransfer():
            return command.request_id
        case CreditTransfer() | RefundTransfer():
            return command.key
        case OpenWallet() | CompleteTransfer():
            return None


def transfer_id(command: Command) -> str | None:
    """Return the transfer that the command belongs to; None if it is none of a transfer's."""
    match command:
        case DebitTransfer():
            return command.operation_id
        case CreditTransfer() | CompleteTransfer() | RefundTransfer():
            return command.transfer_id
        case OpenWallet() | Deposit() | Withdraw():
            return None


def meaning(command: Ask | CreditTransfer | RefundTransfer) -> dict[str, str]:
    """
    Return what the caller meant, by wire name: equal meanings are the same intent.

    A step's meaning is told by its key alone.
    """
    if isinstance(command, (CreditTransfer, RefundTransfer)):
        return {}
    said = {
        "type": operation_type(command),
        "amount": command.amount.canonical(),
        "reference": command.reference,
        "metadata": command.metadata_meaning,
        "toWalletId": command.to_wallet_id if isinstance(command, DebitTransfer) else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def operation_type(command: Ask | CreditTransfer | RefundTransfer) -> str:
    """Return the name under which the operation is recorded."""
    match command:
        case Deposit():
            return "deposit"
        case Withdraw():
            return "withdraw"
        case DebitTransfer():
            return "transfer"
        case CreditTransfer():
            return "transfer_credit"
        case RefundTransfer():
            return "transfer_refund"


def differing_fields(first: dict[str, str], second: dict[str, str]) -> tuple[str, ...]:
    """Return the wire names whose values differ, sorted; empty means the same intent."""
    names = first.keys() | second.keys()
    return tuple(sorted(name for name in names if first.get(name) != second.get(name)))
