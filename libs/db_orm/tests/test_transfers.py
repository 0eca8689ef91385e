"""This module is where transfers end, as they were meant to or without any effect."""

from typing import TYPE_CHECKING

import pytest

from tests.orders import closing, freezing
from wallet_common.commands import CloseWallet, FreezeWallet
from wallet_common.errors import Busy
from wallet_common.money import MAX_MINOR
from wallet_common.transfer import TransferState
from wallet_common.wallet import Rejected, RejectionReason as Reason

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

FULL = "92233720368547758.07"
COMPLETED = [
    *(("w1", "TransferInitiated"), ("w1", "TransferDebited")),
    *(("w2", "TransferCredited"), ("w1", "TransferCompleted")),
]
COMPENSATED = [
    *(("w1", "TransferInitiated"), ("w1", "TransferDebited")),
    *(("w1", "TransferCompensated"), ("w1", "TransferFailed")),
]


def standing(status: str, wallet_id: str) -> CloseWallet | FreezeWallet:
    """Return the command that brings a wallet there."""
    if status == "closed":
        return closing(wallet_id)
    return freezing(wallet_id)


@pytest.fixture(autouse=True)
async def funded(ledger: "Ledger", a: "Builders") -> None:
    """Start with 5.00 in either of two wallets."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("w2", "5.00"))


async def steps(books: "Books") -> list[tuple[str, str]]:
    """Return the transfers' events in the order in which they go out."""
    rows = await books.rows(
        "SELECT e.wallet_id, e.type FROM outbox AS o JOIN events AS e ON e.id = o.event_id"
        " WHERE e.transfer_id IS NOT NULL ORDER BY o.position"
    )
    return [(row["wallet_id"], row["type"]) for row in rows]


async def test_a_transfer_moves_the_amount_and_tells_every_step(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Debit, credit, completion: the amount has moved, nothing is in transit, all is told."""
    command = a.transfer("w1", "w2", "2.00", reference="rent", metadata='{"n": 1}')

    ended = await ledger.transfer(command)

    assert (ended.state, ended.id) == (TransferState.COMPLETED, command.operation_id)
    assert (ended.from_balance_minor, ended.to_balance_minor) == (300, 700)
    assert await books.balances() == {"w1": 300, "w2": 700}
    assert await steps(books) == COMPLETED
    lines = await books.rows(
        "SELECT type, amount_minor, reference, metadata::text FROM ledger_entries"
        " WHERE transfer_id = $1 ORDER BY amount_minor",
        ended.id,
    )
    assert [tuple(line.values()) for line in lines] == [
        ("transfer_debit", -200, "rent", '{"n": 1}'),
        ("transfer_credit", 200, "rent", '{"n": 1}'),
    ]


async def test_money_on_its_way_is_in_transit_and_in_no_wallet(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Between debit and credit the amount is on @transit, and the books are good."""
    await ledger.debit(a.transfer("w1", "w2", "2.00"))

    assert await books.balances() == {"w1": 300, "w2": 500}
    assert await books.in_transit() == 200
    assert await ledger.violations() == {}


async def test_a_recipient_at_its_limit_makes_the_money_come_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What the recipient cannot hold is refunded, and the transfer failed with its reason."""
    await ledger.post(a.deposit("w2", "92233720368547752.07"))

    ended = await ledger.transfer(a.transfer("w1", "w2", "1.01"))

    assert ended.state is TransferState.FAILED
    assert ended.reason == Reason.BALANCE_LIMIT_EXCEEDED
    assert ended.from_balance_minor == 500
    assert await books.balances() == {"w1": 500, "w2": MAX_MINOR - 100}
    assert await steps(books) == COMPENSATED
    # One cent less would have fitted.
    fits = await ledger.transfer(a.transfer("w1", "w2", "1.00"))
    assert (fits.state, fits.to_balance_minor) == (TransferState.COMPLETED, MAX_MINOR)


@pytest.mark.parametrize("status", ["frozen", "closed"])
async def test_a_recipient_that_closes_on_the_way_makes_the_money_come_back(
    ledger: "Ledger", books: "Books", a: "Builders", status: str
) -> None:
    """The credit decides under the recipient's lock, whatever the debit saw."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"))
    await ledger.post(a.withdrawal("w2", "5.00"))
    await ledger.ask(standing(status, "w2"))

    ended = await ledger.finished(stored)

    assert (ended.state, ended.reason) == (TransferState.FAILED, f"wallet_{status}")
    assert await books.balances() == {"w1": 500, "w2": 0}
    assert await books.in_transit() == 0


async def test_a_sender_that_is_frozen_on_the_way_gets_its_own_money_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A refund enters a frozen wallet: it is the owner's money."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"))
    for wallet_id in ("w1", "w2"):
        await ledger.ask(standing("frozen", wallet_id))

    ended = await ledger.finished(stored)

    assert ended.state is TransferState.FAILED
    assert await books.balances() == {"w1": 500, "w2": 500}


async def test_a_refund_waits_while_the_sender_is_full(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """With both ends full the money rests in transit, unlost, until the sender has room."""
    stored = await ledger.debit(a.transfer("w1", "w2", "2.00"))
    for wallet_id, room in (("w1", "92233720368547755.07"), ("w2", "92233720368547753.07")):
        await ledger.post(a.deposit(wallet_id, room))

    for _ in range(2):
        with pytest.raises(Busy):
            await ledger.finished(stored)
    assert await books.in_transit() == 200
    assert await ledger.violations() == {}
    await ledger.post(a.withdrawal("w1", "3.00"))
    ended = await ledger.finished(stored)

    assert ended.state is TransferState.FAILED
    assert await books.balances() == {"w1": MAX_MINOR - 100, "w2": MAX_MINOR}
    assert await books.in_transit() == 0


async def test_a_hopeless_transfer_is_refused_before_any_money_moves(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What can be seen to fail at the debit leaves no transfer, no entry and no event."""
    await ledger.ask(a.opening("euros", "EUR"))
    for status in ("frozen", "closed"):
        await ledger.ask(a.opening(status))
        await ledger.ask(standing(status, status))

    for to, amount, reason in (
        ("w1", "1.00", Reason.SAME_WALLET),
        ("nobody", "1.00", Reason.RECIPIENT_NOT_FOUND),
        ("euros", "1.00", Reason.CURRENCY_MISMATCH),
        ("frozen", "1.00", Reason.WALLET_FROZEN),
        ("closed", "1.00", Reason.WALLET_CLOSED),
        ("w2", "5.01", Reason.INSUFFICIENT_FUNDS),
    ):
        refused = await ledger.record(a.transfer("w1", to, amount, request_id=reason))
        again = await ledger.record(a.transfer("w1", to, amount, request_id=reason))
        assert isinstance(refused.operation.outcome, Rejected)
        assert refused.operation.outcome.reason is reason
        assert (again.operation, again.is_replay) == (refused.operation, True)

    assert await books.count("transfers") == 0
    assert await steps(books) == []
    assert (await books.balances())["w1"] == 500


async def test_a_repeated_transfer_finds_the_first_one(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Asked again with its key, finished or not, a transfer is the same transfer."""
    first = a.transfer("w1", "w2", "2.00", request_id="k1")
    stored = await ledger.debit(first)

    on_its_way = await ledger.record(a.transfer("w1", "w2", "2.00", request_id="k1"))
    await ledger.finished(stored)
    at_its_end = await ledger.record(a.transfer("w1", "w2", "2.00", request_id="k1"))

    assert on_its_way.is_replay
    assert on_its_way.operation == at_its_end.operation
    assert at_its_end.operation.operation_id == first.operation_id
    assert await books.balances() == {"w1": 300, "w2": 700}


async def test_a_key_of_the_longest_kind_survives_the_whole_transfer(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A key of 128 characters goes through debit, credit and refund without growing."""
    await ledger.transfer(a.transfer("w1", "w2", "1.00", request_id="k" * 128))
    await ledger.post(a.deposit("w2", "92233720368547752.07"))

    ended = await ledger.transfer(a.transfer("w1", "w2", "2.00", request_id="q" * 128))

    assert ended.state is TransferState.FAILED
    assert ended.request_id == "q" * 128
    assert (await books.balances())["w1"] == 400
