"""This module is where operations cost something in the books, whoever carries them out."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.orders import freezing
from wallet_common.commands import Deposit, Withdraw
from wallet_common.operations import Receipt
from wallet_common.schedules import Charged, FeeSchedule
from wallet_common.wallet import Direction
from wallet_db_orm import fees, reversals
from wallet_db_orm.fees import Priced
from wallet_db_orm.ids import new_id
from wallet_db_orm.orders import Order
from wallet_db_orm.whole import carry_out

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def priced(ledger: "Ledger", *operations: str) -> None:
    """Let such operations cost 0.50."""
    for operation in operations:
        schedule = FeeSchedule(id="", flat_minor=50)
        audit = (new_id(), "PUT", "/v1/fees", b"{}", "{}", None, 200, *(None,) * 3, "trace", 1)
        await fees.set_fees(
            ledger.database.primary, Priced(Charged(operation), "USD", schedule), audit
        )


async def fees_of(books: "Books") -> dict[str, int]:
    rows = await books.rows(
        "SELECT wallet_id, sum(amount_minor) AS minor FROM ledger_entries"
        " WHERE counter_account = '@fees' GROUP BY wallet_id"
    )
    return {row["wallet_id"]: int(row["minor"]) for row in rows}


async def test_no_more_is_paid_than_there_is_with_fees(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Of 40 withdrawals of 2.50 and their fees through two processes 33 fit into 100.00."""
    await ledger.post(a.deposit("w1", "100.00"))
    await priced(ledger, "withdraw")
    ways = [ledger, other] * 20

    told = await asyncio.gather(
        *(way.record(a.withdrawal("w1", "2.50", pays_fees=True)) for way in ways)
    )

    paid = [each.operation.outcome for each in told]
    assert [each.fee_minor for each in paid if isinstance(each, Receipt)] == [50] * 33
    assert await books.balances() == {"w1": 100}
    assert await fees_of(books) == {"w1": -1_650}


async def test_the_fee_of_a_transfer_that_fails_comes_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """By whoever ends it; one that completes keeps its fee."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.ask(a.opening("w2"))
    await priced(ledger, "transfer")
    kept = await ledger.transfer(a.transfer("w1", "w2", "10.00", pays_fees=True))
    stored = await ledger.debit(a.transfer("w1", "w2", "20.00", pays_fees=True))
    on_the_way = await books.balances()
    await ledger.ask(freezing("w2", Direction.IN))

    ended = await ledger.finished(stored)

    assert (kept.fee_minor, kept.from_balance_minor) == (50, 8_950)
    assert (ended.fee_minor, ended.from_balance_minor) == (50, 8_950)
    assert on_the_way == {"w1": 6_900, "w2": 1_000}
    assert await books.balances() == {"w1": 8_950, "w2": 1_000}
    assert await fees_of(books) == {"w1": -50}


async def test_only_what_pays_fees_pays_them(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Another service's deposit is whole; so is one in a currency without a schedule."""
    await priced(ledger, "deposit")

    await ledger.post(a.deposit("w1", "1.00"))
    await ledger.post(a.deposit("w2", "1.00", pays_fees=True))
    await ledger.post(a.deposit("w3", "100", pays_fees=True, opens_in="JPY"))

    assert await books.balances() == {"w1": 100, "w2": 50, "w3": 100}


async def test_all_or_none_pays_too(ledger: "Ledger", books: "Books", a: "Builders") -> None:
    """Commands of one transaction cost what they cost one by one."""
    await priced(ledger, "deposit", "withdraw", "transfer")
    asked = (
        a.deposit("w1", "10.00", pays_fees=True),
        a.deposit("w2", "1.00", pays_fees=True),
        a.transfer("w1", "w2", "2.00", pays_fees=True),
        a.withdrawal("w1", "1.00", pays_fees=True),
    )
    row = (new_id(), "POST", "/v1/batches", b"{}", "{}", None, 201, *(None,) * 3, "trace", 1)

    orders = [Order(each, "trace", str(row[0])) for each in asked]
    whole = await carry_out(ledger.database, orders, row, None)

    assert whole.is_done
    assert await books.balances() == {"w1": 550, "w2": 250}


@pytest.mark.parametrize("operation", ["deposit", "withdraw", "transfer"])
async def test_what_is_reversed_is_found_beside_its_fee(
    ledger: "Ledger", books: "Books", a: "Builders", operation: str
) -> None:
    """The operation's own entry, wherever the fee's stands."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.ask(a.opening("w2"))
    await priced(ledger, operation)
    transfer = a.transfer("w1", "w2", "3.00", pays_fees=True)
    plain: dict[str, Deposit | Withdraw] = {
        "deposit": a.deposit("w1", "3.00", pays_fees=True),
        "withdraw": a.withdrawal("w1", "3.00", pays_fees=True),
    }
    if operation in plain:
        done = await ledger.record(plain[operation])
        operation_id = done.operation.operation_id
    else:
        operation_id = (await ledger.transfer(transfer)).id

    row = await reversals.original(ledger.database.primary, operation_id)

    assert row is not None
    assert abs(row.amount_minor) == 300
