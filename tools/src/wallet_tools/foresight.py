"""This module is where it is foreseen, by the core's own rules, what movements would come to."""

from collections.abc import Mapping
from typing import Any

from wallet_common.commands import DebitTransfer, Deposit, Withdraw
from wallet_common.ledger import decide
from wallet_common.money import parse_amount
from wallet_common.transfer_steps import credit_of
from wallet_common.wallet import Posted, Rejected, Surroundings, Wallet

# What nobody sees of a movement that is only foreseen.
_NO_ID = "foreseen"


class Foresight:
    """
    Wallets as they are, moved on by what is asked of them; `opens_in` is the currency of new ones.

    Without fees, limits and holds to come: what is decided here is decided again when it is done.
    """

    def __init__(self, opens_in: str) -> None:
        self._opens_in = opens_in
        self.wallets: dict[str, Wallet | None] = {}

    def move(self, command: Mapping[str, Any]) -> Rejected | None:
        """Carry out a command of a batch; return why it would be refused."""
        wallet = self.wallets[command["walletId"]]
        recipient = self.wallets.get(command.get("toWalletId", ""))
        decided = decide(wallet, self._command(command), Surroundings(recipient=recipient))
        if isinstance(decided, Rejected):
            return decided
        if decided.transfer is not None:
            credited = decide(recipient, credit_of(decided.transfer, _NO_ID), Surroundings())
            if isinstance(credited, Rejected):
                return credited
            self._keep(credited)
        self._keep(decided)
        return None

    def _keep(self, posted: Posted) -> None:
        self.wallets[posted.wallet.id] = posted.wallet

    def _command(self, command: Mapping[str, Any]) -> Deposit | Withdraw | DebitTransfer:
        asked: dict[str, Any] = {
            "wallet_id": command["walletId"],
            "request_id": _NO_ID,
            "operation_id": _NO_ID,
            "amount": parse_amount(command["amount"]),
        }
        match command["type"]:
            case "deposit":
                return Deposit(**asked, opens_in=self._opens_in)
            case "withdraw":
                return Withdraw(**asked)
            case _:
                return DebitTransfer(**asked, to_wallet_id=command["toWalletId"])
