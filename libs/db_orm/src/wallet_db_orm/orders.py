"""This module is where a command meets its origin, and where the shapes of the answers are."""

from collections.abc import Callable

import msgspec

from wallet_common import commands as ask
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.operations import Operation, Receipt
from wallet_common.transfer import Transfer
from wallet_common.wallet import Rejected, Wallet
from wallet_db_orm.audit import AuditRecord


class Recorded(msgspec.Struct, frozen=True):
    """An outcome that stands; `is_replay` when it was an earlier request's."""

    operation: Operation
    is_replay: bool = False
    transfer: Transfer | None = None


# A Wallet answers OpenWallet, a Transfer its own last step. A Rejected here is not remembered.
Applied = Recorded | Rejected | Transfer | Wallet | IdempotencyKeyReused


class Audited(msgspec.Struct, frozen=True):
    """The request behind an order, and the edge's rule for the status that answers it."""

    record: AuditRecord
    status_of: Callable[[Applied], int]


class Order(msgspec.Struct, frozen=True):
    """
    A command with its origin; `audit` is None when no HTTP request asked for it.

    With an `owner_id`, only wallets of that owner are there for whoever asks.
    """

    command: ask.Command
    trace_id: str
    audit_id: str | None = None
    audit: Audited | None = None
    owner_id: str | None = None


def is_under_way(command: ask.Command, applied: Applied) -> bool:
    """Whether the answer is still open: a debited transfer may complete or fail."""
    if ask.pays_to(command) is None or not isinstance(applied, Recorded):
        return False
    return isinstance(applied.operation.outcome, Receipt)


def is_there(wallet: Wallet | None, order: Order) -> bool:
    """
    Say whether the order may look for its wallet, or what is remembered of it.

    Whoever asks on behalf of an owner finds that owner's wallets only; an owner never changes.
    """
    if order.owner_id is None or isinstance(order.command, ask.OpenWallet):
        return True
    return wallet is not None and wallet.owner_id == order.owner_id


def goes_back_to(command: ask.Command) -> str | None:
    """
    Return the wallet to which a transfer's money goes back; None if the command is none such.

    It is locked with the command's own, so that a closing and what goes back see each other.
    """
    if isinstance(command, ask.ReverseOperation) or ask.is_reversal(command):
        return ask.pays_to(command)
    return None
