"""This module is where statistics come out right however the events arrive."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from wallet_common.events import Event, FundsDeposited
from wallet_common.fraud import FraudRules
from wallet_common.money import MAX_MINOR
from wallet_db_orm import inbox

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

FULL = "92233720368547758.07"
RULES = FraudRules()


async def a_day(ledger: "Ledger", a: "Builders") -> list[Event]:
    """Fill the books with every kind of event and return them in the order they went out."""
    wallet_ids = [f"w{number}" for number in range(6)]
    for wallet_id in wallet_ids:
        await ledger.post(a.deposit(wallet_id, "20000.00"))
    await ledger.post(a.deposit("full", FULL))
    await ledger.post(a.withdrawal("w0", "10000.00"))
    await asyncio.gather(
        *(ledger.post(a.withdrawal(wallet_ids[n % 4], "1.00")) for n in range(20)),
        *(ledger.post(a.deposit(wallet_ids[n % 6], "2.50")) for n in range(20)),
        *(
            ledger.transfer(a.transfer(wallet_ids[n % 6], wallet_ids[(n + 1) % 6], "3.00"))
            for n in range(20)
        ),
        *(ledger.transfer(a.transfer(each, "full", "1.00")) for each in wallet_ids),
    )
    return await ledger.told()


async def statistics(books: "Books") -> list[dict[str, Any]]:
    return await books.rows("SELECT * FROM wallet_stats ORDER BY wallet_id")


async def apply_all(ledger: "Ledger", events: list[Event], size: int = 50) -> None:
    for start in range(0, len(events), size):
        await inbox.apply(ledger.database.primary, events[start : start + size], RULES)


async def test_statistics_equal_their_recomputation(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """After every event the totals are those of the ledger, and the proof at rest is green."""
    await apply_all(ledger, await a_day(ledger, a))

    assert await ledger.violations(at_rest=True) == {}
    by_wallet = {row["wallet_id"]: row for row in await statistics(books)}
    assert by_wallet["full"]["total_deposited_minor"] == MAX_MINOR
    # What came back was never transferred out.
    assert by_wallet["w5"]["total_transferred_out_minor"] == 900
    assert by_wallet["w0"]["total_withdrawn_minor"] == 1_000_500


async def test_a_wallet_that_never_moved_has_statistics_too(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The opening alone makes a row of zeros with its time."""
    await ledger.ask(a.opening("w1", "JPY", owner_id="ann"))
    await apply_all(ledger, await ledger.told())

    (row,) = await statistics(books)
    assert (row["currency"], row["total_deposited_minor"], row["suspicious"]) == ("JPY", 0, False)
    assert row["last_activity_at"] == await books.value("SELECT created_at FROM wallets")
    assert await ledger.violations(at_rest=True) == {}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_duplicates_and_shuffles_through_two_consumers_change_nothing(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders", seed: int
) -> None:
    """Every event twice or more, in any order, to two consumers at once: the same statistics."""
    events = await a_day(ledger, a)
    chaos = random.Random(seed)
    deliveries = [events + chaos.choices(events, k=len(events)) for _ in range(2)]
    for delivery in deliveries:
        chaos.shuffle(delivery)

    await asyncio.gather(
        *(
            apply_all(process, delivery, size)
            for process, delivery, size in zip(
                (ledger, other), deliveries, (7 * seed, 40), strict=True
            )
        )
    )
    first = await statistics(books)
    await apply_all(ledger, await ledger.told() + events)

    assert await statistics(books) == first
    assert await ledger.violations(at_rest=True) == {}
    await asyncio.gather(ledger.close(), other.close())
    assert await books.deadlocks() == 0


async def test_an_event_counts_once_however_often_it_is_in_a_batch(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The same event many times in one transaction is one event."""
    await ledger.post(a.deposit("w1", "5.00"))
    events = await ledger.told()

    await inbox.apply(ledger.database.primary, events * 20, RULES)

    (row,) = await statistics(books)
    assert row["total_deposited_minor"] == 500
    assert await books.count("processed_events") == 2


async def test_a_batch_that_fails_leaves_its_events_for_the_next_attempt(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The note that an event was applied and its effect are one transaction."""
    await ledger.post(a.deposit("w1", "5.00"))
    events = await ledger.told()
    await books.execute("ALTER TABLE wallet_stats ADD CONSTRAINT jammed CHECK (false)")
    with pytest.raises(Exception, match="jammed"):
        await inbox.apply(ledger.database.primary, events, RULES)
    assert await books.count("processed_events") == 0

    await books.execute("ALTER TABLE wallet_stats DROP CONSTRAINT jammed")
    await inbox.apply(ledger.database.primary, events, RULES)

    assert await ledger.violations(at_rest=True) == {}


@pytest.mark.parametrize("size", [1, 100], ids=["one by one", "in one batch"])
async def test_totals_rest_at_the_limit_and_stall_nobody(
    ledger: "Ledger", books: "Books", a: "Builders", size: int
) -> None:
    """A wallet whose totals leave the 64-bit range keeps the limit; its neighbours are exact."""
    for _ in range(3):
        await ledger.post(a.deposit("w1", FULL))
        await ledger.post(a.withdrawal("w1", FULL))
    await ledger.post(a.deposit("w2", "5.00"))

    await apply_all(ledger, await ledger.told(), size)

    rows = {row["wallet_id"]: row for row in await statistics(books)}
    totals = (rows["w1"]["total_deposited_minor"], rows["w1"]["total_withdrawn_minor"])
    assert totals == (MAX_MINOR, MAX_MINOR)
    assert rows["w2"]["total_deposited_minor"] == 500
    assert await ledger.violations(at_rest=True) == {}


async def test_an_event_of_an_unknown_wallet_is_a_stranger(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Nobody's event is named as such and leaves nothing; the rest of the batch is applied."""
    await ledger.post(a.deposit("w1", "5.00"))
    events = await ledger.told()
    deposited = next(each for each in events if isinstance(each, FundsDeposited))
    stray = replace(deposited, wallet_id="nobody", id="stray")

    done = await inbox.apply(ledger.database.primary, [stray, *events], RULES)

    assert done.strangers == {"nobody"}
    assert [row["wallet_id"] for row in await statistics(books)] == ["w1"]
    assert await books.count("processed_events WHERE wallet_id = 'nobody'") == 0


async def test_an_amount_beyond_every_balance_saturates_too(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Even a foreign event with the largest spelled amount is counted without an overflow."""
    await ledger.post(a.deposit("w1", "5.00"))
    events = await ledger.told()
    deposited = next(each for each in events if isinstance(each, FundsDeposited))
    huge = replace(deposited.payload, amount="999999999999999999.99")
    foreign = replace(deposited, id="foreign", wallet_version=None, payload=huge)

    await inbox.apply(ledger.database.primary, [*events, foreign, foreign], RULES)

    (row,) = await statistics(books)
    assert row["total_deposited_minor"] == MAX_MINOR
