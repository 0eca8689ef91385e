"""This module is where it is kept what one transaction has read, and shown to each decision."""

from collections import defaultdict
from datetime import datetime

from wallet_common import commands as ask
from wallet_common.fx import Quote
from wallet_common.limits import Spending
from wallet_common.meanings import operation_type
from wallet_common.operations import Operation
from wallet_common.schedules import FeeSchedule
from wallet_common.wallet import Surroundings, Wallet
from wallet_db_orm.rows import StoredHold, StoredTransfer


class Known:
    """What one transaction knows; decisions move it on."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.wallets: dict[str, Wallet] = {}
        self.heads: dict[str, bytes] = {}
        # Wallets that somebody else holds locked, as they were a moment ago.
        self.held: dict[str, Wallet] = {}
        self.recipients: dict[str, Wallet] = {}
        self.siblings: dict[tuple[str, str], Wallet] = {}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.transfers: dict[str, StoredTransfer] = {}
        self.paying: set[str] = set()
        self.holds: dict[str, StoredHold] = {}
        # By wallet and time zone.
        self.spending: dict[tuple[str, str], Spending] = {}
        self.reversed: dict[tuple[str, str], int] = defaultdict(int)
        self.quotes: dict[str, Quote] = {}
        # By operation and currency.
        self.fees: dict[tuple[str, str], FeeSchedule] = {}

    def go_on_from(self, earlier: "Known") -> None:
        """Take what an earlier rehearsal of payments would have left for what is so."""
        self.wallets |= earlier.wallets
        self.operations |= earlier.operations
        self.transfers |= earlier.transfers
        self.spending |= earlier.spending

    def around(self, command: ask.Command) -> Surroundings:
        """Return what a decision about the command may look at."""
        match command:
            case ask.Deposit():
                return Surroundings(fees=self._fees(command))
            case ask.OpenWallet(owner_id=str(owner_id)):
                return Surroundings(sibling=self.siblings.get((owner_id, command.currency)))
            case ask.PlaceHold():
                return Surroundings(spending=self._spending(command.wallet_id), now=self.now)
            case ask.Withdraw() | ask.DebitTransfer():
                return Surroundings(
                    recipient=self._recipient(ask.pays_to(command)),
                    spending=self._spending(command.wallet_id),
                    now=self.now,
                    quote=self._quote(command),
                    fees=self._fees(command),
                )
            case ask.CloseWallet():
                return Surroundings(is_paying=self.is_paying(command.wallet_id))
            case ask.ReverseOperation():
                return Surroundings(
                    recipient=self._recipient(command.to_wallet_id),
                    reversed_minor=self.reversed[command.wallet_id, command.reverses],
                )
            case ask.CaptureHold() | ask.ReleaseHold():
                stored_hold = self.holds.get(command.hold_id)
                return Surroundings(
                    recipient=self._recipient(ask.pays_to(command)),
                    hold=stored_hold.hold if stored_hold else None,
                )
            case ask.CompleteTransfer() | ask.RefundTransfer():
                stored = self.transfers.get(command.transfer_id)
                return Surroundings(transfer=stored.transfer if stored else None)
            case _:
                return Surroundings()

    def _quote(self, command: ask.Withdraw | ask.DebitTransfer) -> Quote | None:
        if not isinstance(command, ask.DebitTransfer) or command.quote_id is None:
            return None
        return self.quotes.get(command.quote_id)

    def _fees(self, command: ask.Deposit | ask.Withdraw | ask.DebitTransfer) -> FeeSchedule | None:
        if not self.fees or not command.pays_fees:
            return None
        wallet = self.wallets.get(command.wallet_id)
        opens_in = command.opens_in if isinstance(command, ask.Deposit) else None
        currency = wallet.currency if wallet else opens_in
        return self.fees.get((operation_type(command), currency or ""))

    def _spending(self, wallet_id: str) -> Spending:
        wallet = self.wallets.get(wallet_id)
        return self.spending.get((wallet_id, wallet.limits.time_zone), {}) if wallet else {}

    def is_paying(self, wallet_id: str) -> bool:
        """
        Say whether a transfer of the wallet, or back to it, is on its way.

        Those of this transaction are included.
        """
        begun = [each.transfer for each in self.transfers.values() if not each.transfer.is_final]
        return wallet_id in self.paying or any(
            wallet_id == each.from_wallet_id or (each.reverses and wallet_id == each.to_wallet_id)
            for each in begun
        )

    def _recipient(self, wallet_id: str | None) -> Wallet | None:
        if wallet_id is None:
            return None
        return self.wallets.get(wallet_id) or self.recipients.get(wallet_id)
