"""This module is where one order after another shows what the books remember of it."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from wallet_common.commands import DebitTransfer
from wallet_common.errors import IdempotencyKeyReused
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.operations import Receipt
from wallet_common.wallet import Rejected, RejectionReason as Reason, Wallet
from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

# 2**63 - 1 cents.
FULL = "92233720368547758.07"
# The largest amount that the grammar lets through, far beyond 64 bits of cents.
LARGEST = "999999999999999999.99"


async def test_a_repeated_order_gets_the_first_outcome_and_moves_nothing(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Asked again later, an order's outcome is the first one's, to the balance of that time."""
    first = await ledger.record(a.deposit("w1", "10.00", request_id="k1"))
    await ledger.post(a.deposit("w1", "5.00"))

    again = await ledger.record(a.deposit("w1", "10.00", request_id="k1"))

    assert again.operation == first.operation
    assert (first.is_replay, again.is_replay) == (False, True)
    assert await books.balances() == {"w1": 1500}
    assert await books.count("ledger_entries") == 2


async def test_another_process_replays_what_the_first_recorded(
    ledger: "Ledger", other: "Ledger", a: "Builders"
) -> None:
    """The memory is the database's: any process answers with the recorded outcome."""
    first = await ledger.record(a.deposit("w1", "10.00", request_id="k1"))

    again = await other.record(a.deposit("w1", "10.00", request_id="k1"))

    assert again.operation == first.operation
    assert again.is_replay


async def test_another_spelling_of_the_amount_is_the_same_intent(
    ledger: "Ledger", a: "Builders"
) -> None:
    """The same value written otherwise is a replay, no reuse."""
    await ledger.record(a.deposit("w1", "10.00", request_id="k1"))

    again = [
        await ledger.record(a.deposit("w1", spelling, request_id="k1"))
        for spelling in ("10", "10.0", "10.00")
    ]

    assert all(each.is_replay for each in again)


async def test_metadata_is_compared_by_meaning_and_kept_as_it_came(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Metadata in another spelling is the same intent; the entry keeps the first spelling."""
    spelled = {"metadata": '{"b": 1, "a":2}', "metadata_meaning": '{"a":2,"b":1}'}
    await ledger.record(a.deposit("w1", "1.00", request_id="k1", **spelled))

    spelled["metadata"] = '{"a":2,"b":1}'
    again = await ledger.record(a.deposit("w1", "1.00", request_id="k1", **spelled))

    assert again.is_replay
    assert await books.value("SELECT metadata::text FROM ledger_entries") == '{"b": 1, "a":2}'


async def test_a_key_used_for_another_intent_names_the_fields_that_differ(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Same key, other meaning: refused with the differing fields, and the first intent stands."""
    for wallet_id in ("w1", "w2", "w3"):
        await ledger.post(a.deposit(wallet_id, "9.00"))
    first = a.transfer("w1", "w2", "1.00", request_id="k1")
    await ledger.transfer(first)
    two = parse_amount("2.00")
    differences: dict[tuple[str, ...], DebitTransfer] = {
        ("amount",): replace(first, amount=two),
        ("reference",): replace(first, reference="rent"),
        ("metadata",): replace(first, metadata="{}", metadata_meaning="{}"),
        ("toWalletId",): replace(first, to_wallet_id="w3"),
        ("amount", "toWalletId"): replace(first, amount=two, to_wallet_id="w3"),
    }

    for fields, command in differences.items():
        reused = await ledger.ask(replace(command, operation_id=new_id()))
        assert isinstance(reused, IdempotencyKeyReused)
        assert reused.fields == fields

    assert (await ledger.record(a.transfer("w1", "w2", "1.00", request_id="k1"))).is_replay


async def test_a_key_used_for_another_operation_is_refused(ledger: "Ledger", a: "Builders") -> None:
    """A withdrawal under a deposit's key differs in its type."""
    await ledger.post(a.deposit("w1", "5.00", request_id="k1"))

    reused = await ledger.ask(a.withdrawal("w1", "5.00", request_id="k1"))

    assert isinstance(reused, IdempotencyKeyReused)
    assert reused.fields == ("type",)


async def test_a_key_belongs_to_its_wallet(ledger: "Ledger", a: "Builders") -> None:
    """The same key on another wallet is another intent, not a replay."""
    await ledger.post(a.deposit("w1", "5.00", request_id="k1"))

    elsewhere = await ledger.record(a.deposit("w2", "7.00", request_id="k1"))

    assert not elsewhere.is_replay


async def test_a_refused_withdrawal_stays_refused_when_the_money_has_come(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A business rejection is remembered under its key; a new key is judged anew."""
    await ledger.post(a.deposit("w1", "5.00"))
    refused = await ledger.record(a.withdrawal("w1", "8.00", request_id="k1"))
    await ledger.post(a.deposit("w1", "5.00"))

    again = await ledger.record(a.withdrawal("w1", "8.00", request_id="k1"))
    await ledger.post(a.withdrawal("w1", "8.00", request_id="k2"))

    rejected = Rejected(Reason.INSUFFICIENT_FUNDS, "USD", required_minor=800, available_minor=500)
    assert refused.operation.outcome == again.operation.outcome == rejected
    assert again.is_replay
    assert await books.balances() == {"w1": 200}


async def test_a_rejection_leaves_no_event_no_entry_and_no_version(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A refused order writes its operation and nothing else."""
    await ledger.post(a.deposit("w1", "5.00"))
    tables = ("events", "outbox", "ledger_entries", "transfers")
    before = [await books.count(table) for table in tables]

    await ledger.record(a.withdrawal("w1", "8.00"))
    await ledger.record(a.transfer("w1", "w1", "1.00"))
    await ledger.record(a.transfer("w1", "nobody", "1.00"))

    assert [await books.count(table) for table in tables] == before
    assert await books.value("SELECT version FROM wallets") == 2
    assert await books.count("operations") == 4


async def test_flaws_of_the_request_do_not_burn_its_key(ledger: "Ledger", a: "Builders") -> None:
    """An unknown wallet or an amount with too many decimals leaves the key free."""
    unknown = await ledger.ask(a.withdrawal("w1", "1.00", request_id="k1"))
    closed_door = await ledger.ask(a.deposit("w1", "1.00", request_id="k1", opens_in=None))
    await ledger.post(a.deposit("w1", "9.00"))
    too_fine = await ledger.ask(a.withdrawal("w1", "1.001", request_id="k1"))

    mended = await ledger.record(a.withdrawal("w1", "1.00", request_id="k1"))

    reasons = [each.reason for each in (unknown, closed_door, too_fine) if type(each) is Rejected]
    assert reasons == [Reason.WALLET_NOT_FOUND, Reason.WALLET_NOT_FOUND, Reason.INVALID_AMOUNT]
    assert isinstance(mended.operation.outcome, Receipt)
    assert not mended.is_replay


async def test_the_first_deposit_opens_the_wallet(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A deposit to an unknown wallet opens it and says so; the next one does not."""
    first = await ledger.post(a.deposit("w1", "1.000", opens_in="KWD"))
    second = await ledger.post(a.deposit("w1", "0.001", opens_in="KWD"))

    assert first == Receipt("KWD", 1000, version=2, created=True)
    assert second == Receipt("KWD", 1001, version=3)
    types = await books.rows("SELECT type FROM events ORDER BY wallet_version")
    assert [row["type"] for row in types] == ["WalletCreated", "FundsDeposited", "FundsDeposited"]


async def test_a_deposit_that_is_refused_opens_no_wallet(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """An impossible first deposit is a remembered rejection and leaves no wallet behind."""
    refused = await ledger.record(a.deposit("w1", LARGEST, request_id="k1"))
    again = await ledger.record(a.deposit("w1", LARGEST, request_id="k1"))

    assert again.operation.outcome == refused.operation.outcome
    assert isinstance(refused.operation.outcome, Rejected)
    assert refused.operation.outcome.reason is Reason.BALANCE_LIMIT_EXCEEDED
    assert await books.balances() == {}


async def test_a_balance_reaches_the_limit_exactly_and_never_passes_it(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The last cent of the 64-bit range fits; one more is a rejection, not an overflow."""
    await ledger.post(a.deposit("w1", FULL))

    refused = await ledger.record(a.deposit("w1", "0.01"))
    emptied = await ledger.post(a.withdrawal("w1", FULL))

    assert isinstance(refused.operation.outcome, Rejected)
    assert refused.operation.outcome.reason is Reason.BALANCE_LIMIT_EXCEEDED
    assert emptied.balance_minor == 0
    assert await books.value("SELECT max(balance_after_minor) FROM ledger_entries") == MAX_MINOR


async def test_amounts_beyond_every_balance_are_refused_and_replayed(
    ledger: "Ledger", a: "Builders"
) -> None:
    """An amount that no column could hold is an ordinary rejection with its exact figures."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("w2", "5.00"))

    for command in (a.withdrawal("w1", LARGEST), a.transfer("w1", "w2", LARGEST)):
        refused = await ledger.record(command)
        again = await ledger.record(replace(command, operation_id=new_id()))

        outcome = refused.operation.outcome
        assert isinstance(outcome, Rejected)
        assert (outcome.reason, outcome.required_minor) == (Reason.INSUFFICIENT_FUNDS, 10**20 - 1)
        assert again.operation == refused.operation


async def test_opening_the_same_wallet_again_returns_it_unchanged(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Same id, owner and currency: the wallet that is there; anything else is a conflict."""
    opened = await ledger.ask(a.opening("w1", owner_id="ann"))
    await ledger.post(a.deposit("w1", "5.00"))

    again = await ledger.ask(a.opening("w1", owner_id="ann"))
    conflicts = [
        await ledger.ask(a.opening("w1", owner_id="bob")),
        await ledger.ask(a.opening("w1", "EUR", owner_id="ann")),
        await ledger.ask(a.opening("w2", owner_id="ann")),
    ]

    assert isinstance(opened, Wallet)
    assert isinstance(again, Wallet)
    assert (again.id, again.balance_minor) == ("w1", 500)
    assert conflicts == [Rejected(Reason.WALLET_EXISTS)] * 3
    assert await books.balances() == {"w1": 500}


async def test_an_operation_its_entry_and_its_event_are_one_transaction(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """All traces of an order were written by one and the same transaction."""
    await ledger.post(a.deposit("w1", "5.00", operation_id=new_id()), audited=True)

    tables = ("wallets", "operations", "ledger_entries", "events", "outbox", "api_audit")
    writers = {
        row["xmin"]
        for table in tables
        for row in await books.rows(f"SELECT xmin::text FROM {table}")
    }

    assert len(writers) == 1
