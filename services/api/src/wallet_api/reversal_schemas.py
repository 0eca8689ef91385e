"""This module is where the shapes of requests and answers about reversals are declared."""

import msgspec

from wallet_api.schemas import Key
from wallet_api.standing_schemas import Reason


class ReverseBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """
    How much to take back, all that is left without an `amount`; and why.

    With `force` the wallet that gives it back owes what it lacks: an administrator's to say.
    """

    amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    reason: Reason | None = None
    force: bool | msgspec.UnsetType = msgspec.UNSET
    request_id: Key | None = None


class ReversalAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """What was taken back; `balance` is that of `walletId`, from where or to where it moved."""

    operation_id: str
    reversed_operation_id: str
    wallet_id: str
    amount: str
    currency: str
    balance: str
    request_id: str
    transfer_id: str | None = None
