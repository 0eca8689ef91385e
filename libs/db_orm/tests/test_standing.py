"""This module is where wallets are frozen and closed while money wants to move."""

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.orders import closing, freezing, unfreezing
from wallet_common.operations import StandingReceipt
from wallet_common.wallet import Direction, Rejected, RejectionReason as Reason
from wallet_db_orm import instants
from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def test_of_a_close_and_a_deposit_exactly_one_wins(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Of 40 wallets each is closed and empty, or open and has the money."""
    wallet_ids = [f"w{number}" for number in range(40)]
    await asyncio.gather(*(ledger.ask(a.opening(each)) for each in wallet_ids))

    closed, recorded = await asyncio.gather(
        asyncio.gather(*(other.record(closing(each)) for each in wallet_ids)),
        asyncio.gather(*(ledger.record(a.deposit(each, "1.00")) for each in wallet_ids)),
    )

    for wallet_id, end, deposit in zip(wallet_ids, closed, recorded, strict=True):
        sql = "SELECT status, balance_minor FROM wallets WHERE id = $1"
        (wallet,) = await books.rows(sql, wallet_id)
        outcome = end.operation.outcome
        if isinstance(outcome, Rejected):
            assert outcome.reason is Reason.WALLET_NOT_EMPTY
            assert wallet == {"status": "active", "balance_minor": 100}
        else:
            assert deposit.operation.outcome == Rejected(Reason.WALLET_CLOSED)
            assert wallet == {"status": "closed", "balance_minor": 0}


async def test_a_wallet_whose_money_is_on_its_way_is_not_closed(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Its refund would lie where nobody can spend it; once the transfer has ended it closes."""
    await ledger.post(a.deposit("w1", "1.00"))
    await ledger.ask(a.opening("w2"))
    stored = await ledger.debit(a.transfer("w1", "w2", "1.00"))

    early = (await ledger.record(closing("w1"))).operation.outcome
    await ledger.finished(stored)
    late = await ledger.post(closing("w1"))

    assert isinstance(early, Rejected)
    assert early.reason is Reason.WALLET_NOT_EMPTY
    assert isinstance(late, StandingReceipt)
    assert late.status == "closed"


async def test_freezing_and_paying_at_once_leave_what_the_last_one_said(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Withdrawals and freezes of one wallet through two processes: no money goes once it stands."""
    await ledger.post(a.deposit("w1", "50.00"))

    outcomes, _ = await asyncio.gather(
        asyncio.gather(
            *((ledger, other)[n % 2].record(a.withdrawal("w1", "1.00")) for n in range(50))
        ),
        other.ask(freezing("w1", Direction.OUT)),
    )

    paid = [each for each in outcomes if not isinstance(each.operation.outcome, Rejected)]
    assert await books.balances() == {"w1": 5_000 - 100 * len(paid)}
    assert await books.value("SELECT frozen FROM wallets") == "out"
    refused = await ledger.record(a.withdrawal("w1", "1.00"))
    assert refused.operation.outcome == Rejected(Reason.WALLET_FROZEN)


async def test_of_many_repetitions_one_changes_how_a_wallet_stands(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """One freeze and one unfreeze, fifty times each through two processes: an event of each."""
    await ledger.ask(a.opening("w1"))
    freeze, unfreeze = freezing("w1"), unfreezing("w1")
    await ledger.ask(freeze)

    recorded = await asyncio.gather(
        *(
            process.record(replace(command, operation_id=new_id()))
            for process in (ledger, other) * 25
            for command in (freeze, unfreeze)
        )
    )

    assert sum(not each.is_replay for each in recorded) == 1
    told = await books.rows("SELECT type FROM events ORDER BY wallet_version")
    assert [each["type"] for each in told] == ["WalletCreated", "WalletFrozen", "WalletUnfrozen"]
    assert await books.value("SELECT status FROM wallets") == "active"


async def test_several_changes_in_one_transaction_end_in_the_last(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Frozen, opened, frozen the other way: three versions, and the wallet stands as said last."""
    await ledger.ask(a.opening("w1"))

    await asyncio.gather(
        ledger.ask(freezing("w1", Direction.IN)),
        ledger.ask(unfreezing("w1")),
        ledger.ask(freezing("w1", Direction.OUT)),
    )

    (wallet,) = await books.rows("SELECT status, frozen, version FROM wallets")
    assert wallet == {"status": "frozen", "frozen": "out", "version": 4}


async def test_how_a_wallet_stood_is_known_of_every_instant(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Before, between and after."""
    await ledger.ask(a.opening("w1"))
    for command in (freezing("w1"), unfreezing("w1"), closing("w1")):
        await ledger.ask(command)
    rows = await books.rows("SELECT occurred_at FROM events ORDER BY wallet_version")

    seen = [
        await instants.wallet_at(ledger.database.primary, "w1", row["occurred_at"]) for row in rows
    ]

    assert [row.status for row in seen if row] == ["active", "frozen", "active", "closed"]
