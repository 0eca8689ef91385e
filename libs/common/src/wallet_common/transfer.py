"""This module is where the transfer saga is a state machine: its states, edges and next steps."""

from enum import StrEnum
from typing import Final

import msgspec

from wallet_common.errors import InvariantViolated
from wallet_common.fx import Exchange


class TransferState(StrEnum):
    """Where a transfer is. `initiated` and `compensated` are passed within one transaction."""

    INITIATED = "initiated"
    DEBITED = "debited"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"


EDGES: Final = {
    TransferState.INITIATED: {TransferState.DEBITED},
    TransferState.DEBITED: {TransferState.COMPLETED, TransferState.COMPENSATED},
    TransferState.COMPENSATED: {TransferState.FAILED},
    TransferState.COMPLETED: frozenset[TransferState](),
    TransferState.FAILED: frozenset[TransferState](),
}


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """
    Money on its way between two wallets, of one currency unless there is an `exchange`.

    `from_balance_minor` is the sender's balance after the last step that touched it,
    `to_balance_minor` the recipient's after the credit, `reason` why it failed, `reverses` the
    transfer whose money this one brings back, `fee_minor` what the sender paid for it.
    """

    id: str
    from_wallet_id: str
    to_wallet_id: str
    amount_minor: int
    currency: str
    request_id: str
    state: TransferState
    from_balance_minor: int
    to_balance_minor: int | None = None
    reason: str | None = None
    reference: str | None = None
    metadata: str | None = None
    reverses: str | None = None
    exchange: Exchange | None = None
    fee_minor: int = 0

    @property
    def arrives(self) -> tuple[int, str]:
        """What the recipient gets: minor units and their currency."""
        if self.exchange is None:
            return self.amount_minor, self.currency
        return self.exchange.to_minor, self.exchange.to_currency

    @property
    def is_final(self) -> bool:
        """Whether no step can follow."""
        return not EDGES[self.state]

    def moved(self, *path: TransferState) -> TransferState:
        """Return the last state of `path`, walked edge by edge; an illegal edge is a bug."""
        state = self.state
        for following in path:
            if following not in EDGES[state]:
                message = f"transfer {self.id} cannot go from {state} to {following}"
                raise InvariantViolated(message)
            state = following
        return state
