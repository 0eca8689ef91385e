"""This module is where whole histories of commands are run through a book that always balances."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import msgspec
from hypothesis import given, strategies as st

from wallet_common.commands import (
    Command,
    CompleteTransfer,
    CreditTransfer,
    DebitTransfer,
    Deposit,
    OpenWallet,
    RefundTransfer,
    ReverseDeposit,
    TransferStep,
    Withdraw,
)
from wallet_common.facts import EventType
from wallet_common.ledger import decide
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import (
    COUNTER_ACCOUNTS,
    Entry,
    EntryType,
    Posted,
    Rejected,
    Surroundings,
    Wallet,
    WalletStatus,
)

TOLD_BY = {
    EntryType.DEPOSIT: EventType.FUNDS_DEPOSITED,
    EntryType.DEPOSIT_REVERSAL: EventType.DEPOSIT_REVERSED,
    EntryType.WITHDRAW: EventType.FUNDS_WITHDRAWN,
    EntryType.TRANSFER_DEBIT: EventType.TRANSFER_DEBITED,
    EntryType.TRANSFER_CREDIT: EventType.TRANSFER_CREDITED,
    EntryType.TRANSFER_REFUND: EventType.TRANSFER_COMPENSATED,
}


class Hold(NamedTuple):
    """Half of what a wallet owns is bound, or nothing any more."""

    wallet_id: str
    is_held: bool


class Continue(NamedTuple):
    """Somebody takes the next step of a transfer under way, whose wallet is just then `status`."""

    which: int
    status: WalletStatus


History = list[Command | Hold | Continue]


class Decided(NamedTuple):
    """One decision: the wallet before, the command, what it might look at, and the outcome."""

    before: Wallet | None
    command: Command
    around: Surroundings
    outcome: Posted | Rejected


class Book:
    """A ledger in memory that does what the shell does: looks up, decides, writes down."""

    def __init__(self) -> None:
        self.wallets: dict[str, Wallet] = {}
        self.transfers: dict[str, Transfer] = {}
        self.under_way: list[TransferStep] = []
        self.entries: list[tuple[str, Entry]] = []
        self.accounts: Counter[tuple[str, str]] = Counter()
        for deposit in FIRST_DEPOSITS:
            self.apply(deposit)

    def run(self, history: History) -> Iterator[Decided]:
        for number, event in enumerate(history):
            match event:
                case Hold(wallet_id, is_held):
                    owned_minor = self.wallets.get(wallet_id, Wallet("", "")).balance_minor
                    self.change(wallet_id, held_minor=owned_minor // 2 if is_held else 0)
                case Continue(which, status):
                    if self.under_way:
                        step = self.under_way.pop(which % len(self.under_way))
                        self.change(step.wallet_id, status=status)
                        yield self.apply(step)
                        self.change(step.wallet_id, status=WalletStatus.ACTIVE)
                case OpenWallet():
                    yield self.apply(event)
                case _:
                    yield self.apply(msgspec.structs.replace(event, operation_id=f"o{number}"))

    def change(self, wallet_id: str, **changes: int | WalletStatus) -> None:
        if wallet := self.wallets.get(wallet_id):
            self.wallets[wallet_id] = msgspec.structs.replace(wallet, **changes)

    def apply(self, command: Command) -> Decided:
        before = self.wallets.get(command.wallet_id)
        around = Surroundings()
        if isinstance(command, DebitTransfer):
            around = Surroundings(recipient=self.wallets.get(command.to_wallet_id))
        elif isinstance(command, CompleteTransfer | RefundTransfer):
            around = Surroundings(transfer=self.transfers[command.transfer_id])
        outcome = decide(before, command, around)
        if isinstance(outcome, Posted):
            self.record(outcome)
        self.under_way += next_steps(command, outcome)
        return Decided(before, command, around, outcome)

    def record(self, posted: Posted) -> None:
        wallet, entry = posted.wallet, posted.entry
        self.wallets[wallet.id] = wallet
        if posted.transfer is not None:
            self.transfers[posted.transfer.id] = posted.transfer
        if entry is not None:
            self.entries.append((wallet.id, entry))
            self.accounts[COUNTER_ACCOUNTS[entry.type], wallet.currency] -= entry.amount_minor

    def total_minor(self, currency: str) -> int:
        wallets = [each for each in self.wallets.values() if each.currency == currency]
        accounts = self.accounts["@external", currency] + self.accounts["@transit", currency]
        return sum(each.balance_minor for each in wallets) + accounts

    def on_the_way_minor(self, currency: str) -> int:
        return sum(
            each.amount_minor
            for each in self.transfers.values()
            if each.currency == currency and each.state is TransferState.DEBITED
        )


def next_steps(command: Command, outcome: Posted | Rejected) -> list[TransferStep]:
    match command, outcome:
        case DebitTransfer(), Posted(transfer=Transfer() as transfer):
            return [
                CreditTransfer(
                    wallet_id=transfer.to_wallet_id,
                    transfer_id=transfer.id,
                    operation_id=f"credit of {transfer.id}",
                    from_wallet_id=transfer.from_wallet_id,
                    amount_minor=transfer.amount_minor,
                    currency=transfer.currency,
                    request_id=transfer.request_id,
                )
            ]
        case CreditTransfer(), Posted():
            return [
                CompleteTransfer(
                    wallet_id=command.from_wallet_id,
                    transfer_id=command.transfer_id,
                    to_balance_minor=outcome.wallet.balance_minor,
                )
            ]
        case CreditTransfer(), Rejected():
            return [
                RefundTransfer(
                    request_id="r1",
                    wallet_id=command.from_wallet_id,
                    transfer_id=command.transfer_id,
                    operation_id=f"refund of {command.transfer_id}",
                    reason=outcome.reason,
                )
            ]
        case RefundTransfer(), Rejected():
            return [command]
        case _:
            return []


# Two that can pay each other, one of another currency; "dot" is there only once it is opened.
FIRST_DEPOSITS = [
    Deposit(
        wallet_id=each, request_id="r", operation_id=each, amount=parse_amount("100"), opens_in=kept
    )
    for each, kept in [("ann", "USD"), ("ben", "USD"), ("cid", "KWD")]
]
wallet_ids = st.sampled_from(["ann", "ben", "ann", "ben", "cid", "dot"])
# Everyday amounts, one that needs three decimals, and two that fill a wallet to the brim.
amounts = st.sampled_from(
    ["0.01", "1", "2.50", "10", "1.001", "92233720368547658.07", "92233720368547758.07"]
).map(parse_amount)
asked = {"wallet_id": wallet_ids, "request_id": st.just("r"), "operation_id": st.just("")}
transfers = st.builds(
    DebitTransfer,
    **asked,
    amount=st.sampled_from(["0.01", "2.50", "10", "99", "101"]).map(parse_amount),
    to_wallet_id=wallet_ids,
)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Deposit, **asked, amount=amounts, opens_in=st.sampled_from(["USD", None])),
    st.builds(Withdraw, **asked, amount=amounts),
    st.builds(ReverseDeposit, **asked, amount=amounts, reverses=st.just("o"), reason=st.just("")),
    transfers,
    transfers.filter(lambda each: {each.wallet_id, each.to_wallet_id} == {"ann", "ben"}),
    st.builds(OpenWallet, st.just("dot"), st.sampled_from(["USD", "JPY"])),
)
holds = st.builds(Hold, wallet_ids, st.booleans())
continues = st.builds(Continue, st.integers(0, 9), st.sampled_from(WalletStatus))
rounds = st.tuples(transfers | commands, commands | holds, continues)
histories = st.lists(rounds, min_size=3, max_size=12).map(lambda each: list(chain(*each)))


@given(histories)
def test_money_is_neither_made_nor_lost(history: History) -> None:
    """After each command, wallets, transit and the world outside add up to zero per currency."""
    book = Book()

    for _ in book.run(history):
        for currency in ("USD", "KWD", "JPY"):
            assert book.total_minor(currency) == 0


@given(histories)
def test_transit_holds_what_is_on_its_way(history: History) -> None:
    """After each command, a currency's transit plus credits not yet noted is what was debited."""
    book = Book()

    for _ in book.run(history):
        for currency in ("USD", "KWD", "JPY"):
            credited_minor = sum(
                book.transfers[step.transfer_id].amount_minor
                for step in book.under_way
                if isinstance(step, CompleteTransfer)
                and book.transfers[step.transfer_id].currency == currency
            )
            in_transit_minor = book.accounts["@transit", currency]
            assert in_transit_minor + credited_minor == book.on_the_way_minor(currency)


@given(histories)
def test_no_balance_is_ever_negative(history: History) -> None:
    """After each command, a wallet owns at least what is held and at most what can be stored."""
    for decided in Book().run(history):
        if isinstance(decided.outcome, Posted):
            wallet = decided.outcome.wallet
            assert 0 <= wallet.held_minor <= wallet.balance_minor <= MAX_MINOR


@given(histories)
def test_deciding_again_decides_the_same(history: History) -> None:
    """A decision depends on nothing but its arguments, and leaves them as they were."""
    for before, command, around, outcome in Book().run(history):
        arguments = msgspec.json.encode((before, command, around))

        assert decide(before, command, around) == outcome
        assert msgspec.json.encode((before, command, around)) == arguments


@given(histories)
def test_a_rejection_changes_nothing(history: History) -> None:
    """A rejected command leaves its wallet and the list of entries as they were."""
    book = Book()
    entries_before = len(book.entries)

    for decided in book.run(history):
        if isinstance(decided.outcome, Rejected):
            assert book.wallets.get(decided.command.wallet_id) == decided.before
            assert len(book.entries) == entries_before
        entries_before = len(book.entries)


@given(histories)
def test_versions_have_no_gap(history: History) -> None:
    """A wallet's version rises by one per fact, and its entry is at the version of its fact."""
    for decided in Book().run(history):
        if isinstance(decided.outcome, Posted):
            posted = decided.outcome
            version_before = 0 if decided.before is None else decided.before.version
            assert posted.wallet.version == version_before + len(posted.facts)
            told = {
                version: fact.type for version, fact in enumerate(posted.facts, version_before + 1)
            }
            assert posted.entry is None or told[posted.entry.version] == TOLD_BY[posted.entry.type]


@given(histories)
def test_a_balance_is_the_sum_of_its_entries(history: History) -> None:
    """Each entry continues from the balance after the one before, up to the wallet's balance."""
    book = Book()
    for _ in book.run(history):
        pass

    balances_minor: Counter[str] = Counter()
    for wallet_id, entry in book.entries:
        assert entry.amount_minor != 0
        balances_minor[wallet_id] += entry.amount_minor
        assert entry.balance_after_minor == balances_minor[wallet_id]

    owned_minor = {each.id: each.balance_minor for each in book.wallets.values()}
    assert balances_minor == Counter(owned_minor)
