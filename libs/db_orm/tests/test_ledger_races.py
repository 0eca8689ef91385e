"""This module is where two processes want the same wallets at the same time."""

import asyncio
from typing import TYPE_CHECKING

from wallet_common.operations import Receipt
from wallet_common.transfer import TransferState
from wallet_common.wallet import Rejected, RejectionReason as Reason, Wallet
from wallet_db_orm.orders import Recorded

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def test_a_first_deposit_asked_64_times_at_once_happens_once(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """64 identical first deposits through two processes: one effect, 64 equal outcomes."""
    asked = [
        (ledger, other)[number % 2].record(a.deposit("w1", "10.00", request_id="k1"))
        for number in range(64)
    ]

    recorded = await asyncio.gather(*asked)

    assert [each.operation for each in recorded] == [recorded[0].operation] * 64
    assert [each.is_replay for each in recorded].count(False) == 1
    assert await books.balances() == {"w1": 1000}
    assert (await books.count("ledger_entries"), await books.count("events")) == (1, 2)


async def test_first_deposits_under_different_keys_all_count(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Whoever opens the wallet, every deposit of the race is in it and one says it opened it."""
    asked = [
        (ledger, other)[number % 2].post(a.deposit(f"w{number % 4}", "1.00"))
        for number in range(64)
    ]

    receipts = await asyncio.gather(*asked)

    assert await books.balances() == {f"w{number}": 1600 for number in range(4)}
    assert sum(each.created for each in receipts) == 4


async def test_opposite_transfers_leave_both_balances_as_they_were(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """500 transfers each way, through two processes: same balances, no deadlock, no transit."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "500.00"))

    ended = await asyncio.gather(
        *(ledger.transfer(a.transfer("w1", "w2", "1.00")) for _ in range(250)),
        *(ledger.transfer(a.transfer("w2", "w1", "1.00")) for _ in range(250)),
        *(other.transfer(a.transfer("w1", "w2", "1.00")) for _ in range(250)),
        *(other.transfer(a.transfer("w2", "w1", "1.00")) for _ in range(250)),
    )

    assert {each.state for each in ended} == {TransferState.COMPLETED}
    assert await books.balances() == {"w1": 50_000, "w2": 50_000}
    assert await books.in_transit() == 0
    assert await ledger.violations() == {}
    await asyncio.gather(ledger.close(), other.close())
    assert await books.deadlocks() == 0


async def test_many_wallets_paying_in_a_circle_never_deadlock(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Transfers around a ring, both ways round and in two processes, end without a deadlock."""
    ring = [f"w{number}" for number in range(10)]
    await asyncio.gather(*(ledger.post(a.deposit(each, "100.00")) for each in ring))

    await asyncio.gather(
        *(
            process.transfer(a.transfer(ring[at], ring[(at + step) % 10], "1.00"))
            for process, step in ((ledger, 1), (other, -1), (other, 3), (ledger, -3))
            for at in list(range(10)) * 4
        )
    )

    assert set((await books.balances()).values()) == {10_000}
    assert await books.in_transit() == 0
    assert await ledger.violations() == {}
    await asyncio.gather(ledger.close(), other.close())
    assert await books.deadlocks() == 0


async def test_no_race_spends_money_twice(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Of 40 withdrawals of all there is, one gets it and 39 are refused."""
    await ledger.post(a.deposit("w1", "10.00"))

    recorded = await asyncio.gather(
        *((ledger, other)[n % 2].record(a.withdrawal("w1", "10.00")) for n in range(40))
    )

    outcomes = [each.operation.outcome for each in recorded]
    assert sum(isinstance(each, Receipt) for each in outcomes) == 1
    assert {each.reason for each in outcomes if isinstance(each, Rejected)} == {
        Reason.INSUFFICIENT_FUNDS
    }
    assert await books.balances() == {"w1": 0}


async def test_a_refused_order_harms_no_neighbour_in_its_batch(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Good and hopeless orders share transactions; each gets its own answer."""
    await ledger.post(a.deposit("rich", "100.00"))
    await ledger.post(a.deposit("poor", "1.00"))
    good = [ledger.record(a.withdrawal("rich", "1.00")) for _ in range(20)]
    poor = [ledger.record(a.withdrawal("poor", "2.00")) for _ in range(20)]
    unknown = [ledger.ask(a.withdrawal("nobody", "2.00")) for _ in range(20)]
    too_fine = [ledger.ask(a.deposit("rich", "0.001")) for _ in range(20)]

    answers = await asyncio.gather(
        *(order for orders in zip(good, poor, unknown, too_fine, strict=True) for order in orders)
    )

    told = [each.operation.outcome if isinstance(each, Recorded) else each for each in answers]
    reasons = [each.reason if isinstance(each, Rejected) else None for each in told]
    assert reasons == 20 * [
        *(None, Reason.INSUFFICIENT_FUNDS),
        *(Reason.WALLET_NOT_FOUND, Reason.INVALID_AMOUNT),
    ]
    assert await books.balances() == {"rich": 8000, "poor": 100}


async def test_an_owner_has_one_wallet_in_a_currency_however_many_are_asked_for(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """32 wallets of one owner and currency asked for at once: one is opened, 31 are conflicts."""
    asked = [
        (ledger, other)[number % 2].ask(a.opening(f"w{number}", owner_id="ann"))
        for number in range(32)
    ]

    settled = await asyncio.gather(*asked)

    assert sum(isinstance(each, Wallet) for each in settled) == 1
    assert settled.count(Rejected(Reason.WALLET_EXISTS)) == 31
    assert len(await books.balances()) == 1
    assert isinstance(await ledger.ask(a.opening("w-eur", "EUR", owner_id="ann")), Wallet)


async def test_the_same_wallet_asked_for_at_once_is_opened_once(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Equal openings that race all answer with the one wallet; one event tells of it."""
    settled = await asyncio.gather(
        *((ledger, other)[n % 2].ask(a.opening("w1", owner_id="ann")) for n in range(32))
    )

    assert settled == [Wallet("w1", "USD", "ann", version=1)] * 32
    assert await books.count("events") == 1


async def test_owners_who_cross_each_other_get_their_wallets(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Two processes opening the same owners' wallets in opposite order leave one for each owner."""
    owners = [f"owner{number}" for number in range(50)]

    settled = await asyncio.gather(
        *(ledger.ask(a.opening(f"a{at:02}", owner_id=o)) for at, o in enumerate(owners)),
        *(other.ask(a.opening(f"b{at:02}", owner_id=o)) for at, o in enumerate(reversed(owners))),
    )

    assert sum(isinstance(each, Wallet) for each in settled) == 50
    rows = await books.rows("SELECT owner_id FROM wallets ORDER BY owner_id")
    assert [row["owner_id"] for row in rows] == sorted(owners)
