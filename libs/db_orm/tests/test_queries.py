"""This module is where reads show the present, the past and one page after another."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.orders import freezing
from wallet_common.operations import Receipt
from wallet_common.transfer import TransferState
from wallet_common.wallet import Direction
from wallet_db_orm import instants, queries

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

LATER = datetime(9999, 12, 30, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)


async def test_a_wallet_is_shown_as_it_stood_at_any_instant(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Before it existed there is none; at and after each event stands what that event left."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("w2", "5.00"))
    await ledger.post(a.withdrawal("w1", "2.00"))
    await ledger.transfer(a.transfer("w1", "w2", "1.00"))
    engine = ledger.database.reads
    rows = await books.rows(
        "SELECT occurred_at, max(wallet_version) AS version FROM events WHERE wallet_id = 'w1'"
        " GROUP BY occurred_at ORDER BY occurred_at"
    )
    moments = [row["occurred_at"] for row in rows]

    before = await instants.wallet_at(engine, "w1", moments[0] - A_MOMENT)
    seen = []
    for instant in [*moments, *(each + A_MOMENT for each in moments), LATER]:
        row = await instants.wallet_at(engine, "w1", instant)
        assert row is not None
        seen.append((row.version, row.balance_minor, row.updated_at <= instant))

    # The opening and its deposit, and the transfer's first two events, share their instants.
    stood = [(2, 500, True), (3, 300, True), (5, 200, True), (6, 200, True)]
    assert before is None
    assert [row["version"] for row in rows] == [2, 3, 5, 6]
    assert seen == [*stood, *stood, stood[-1]]
    assert await instants.wallet_at(engine, "nobody", LATER) is None


async def test_the_latest_instant_is_the_present(ledger: "Ledger", a: "Builders") -> None:
    """Asked at the time of its last change, the past and the present agree in every column."""
    await ledger.ask(a.opening("w1", "EUR", owner_id="ann", metadata='{"n": 1}'))
    await ledger.post(a.deposit("w1", "5.00"))
    engine = ledger.database.reads

    now = await queries.wallet(engine, "w1")
    assert now is not None
    then = await instants.wallet_at(engine, "w1", now.updated_at)

    assert then is not None
    assert dict(then._mapping) == dict(now._mapping)
    assert await queries.wallet(engine, "nobody") is None


async def test_pages_of_wallets_show_each_once_in_the_order_of_ids(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Page after page, with every filter, each matching wallet is shown exactly once."""
    ids = ["B-1", "a.1", "a:2", "b", "b-1", "z"]
    await asyncio.gather(*(ledger.ask(a.opening(each, owner_id=f"of-{each}")) for each in ids))
    await ledger.ask(a.opening("euros", "EUR", owner_id="of-b"))
    await ledger.ask(freezing("z", Direction.IN))

    async def listed(**filters: str) -> list[str]:
        usual = {"owner_id": None, "currency": None, "status": None, "wanted": None}
        given: dict[str, Any] = usual | filters
        found: list[str] = []
        while page := await queries.wallets(
            ledger.database.reads, **given, after=found[-1] if found else "", limit=2
        ):
            found += [row.id for row in page]
        return found

    assert await listed() == sorted([*ids, "euros"])
    assert await listed(currency="USD") == ids
    assert await listed(owner_id="of-b") == ["b", "euros"]
    assert await listed(owner_id="of-b", currency="EUR") == ["euros"]
    assert await listed(status="frozen") == ["z"]
    assert await listed(status="closed") == []


async def test_history_and_entries_are_paged_newest_first_without_gap_or_repeat(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Pages below a version continue where the last one ended, while new steps arrive on top."""
    for _ in range(12):
        await ledger.post(a.deposit("w1", "1.00"))
    engine = ledger.database.reads
    events: list[int] = []
    entries: list[int] = []

    for _ in range(5):
        page = await queries.history(
            engine,
            "w1",
            below_version=events[-1] if events else None,
            before=None,
            limit=3,
        )
        events += [each.wallet_version or 0 for each in page]
        rows = await queries.entries(
            engine,
            "w1",
            below_version=entries[-1] if entries else None,
            since=None,
            until=None,
            entry_type=None,
            limit=3,
        )
        entries += [row.wallet_version for row in rows]
        await ledger.post(a.deposit("w1", "1.00"))

    assert events == list(range(13, 0, -1))
    assert entries == list(range(14, 1, -1))[1:]


async def test_entries_are_found_by_time_and_type(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """`since` is included, `until` is not; a type shows only its own entries."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.withdrawal("w1", "2.00"))
    await ledger.post(a.withdrawal("w1", "1.00"))
    rows = await books.rows("SELECT occurred_at FROM ledger_entries ORDER BY wallet_version")
    _, second, third = (row["occurred_at"] for row in rows)

    async def amounts(**given: object) -> list[int]:
        asked = {"below_version": None, "since": None, "until": None, "entry_type": None} | given
        found = await queries.entries(ledger.database.reads, "w1", **asked, limit=9)  # type: ignore[arg-type]  # given by name
        return [row.amount_minor for row in found]

    assert await amounts() == [-100, -200, 500]
    assert await amounts(since=second) == [-100, -200]
    assert await amounts(since=second, until=third) == [-200]
    assert await amounts(until=second) == [500]
    assert await amounts(entry_type="withdraw") == [-100, -200]


async def test_history_before_an_instant_leaves_that_instant_out(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """`before` shows what happened earlier than it."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.withdrawal("w1", "2.00"))
    last = await books.value("SELECT max(occurred_at) FROM events")

    shown = await queries.history(
        ledger.database.reads, "w1", below_version=None, before=last, limit=9
    )

    assert [each.type for each in shown] == ["FundsDeposited", "WalletCreated"]


async def test_an_operation_is_found_by_its_key(ledger: "Ledger", a: "Builders") -> None:
    """Did my payment happen? The recorded operation says so, or there is none."""
    recorded = await ledger.record(a.deposit("w1", "5.00", request_id="k1"))
    engine = ledger.database.reads

    assert await queries.operation(engine, "w1", "k1") == recorded.operation
    assert isinstance(recorded.operation.outcome, Receipt)
    assert await queries.operation(engine, "w1", "k2") is None
    assert await queries.operation(engine, "w2", "k1") is None


async def test_a_transfer_is_shown_with_the_times_of_its_steps(
    ledger: "Ledger", a: "Builders"
) -> None:
    """Initiated, credited, finished: each step has its time as soon as it has happened."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("w2", "5.00"))
    engine = ledger.database.reads

    debited = await ledger.debit(a.transfer("w1", "w2", "1.00"))
    on_its_way = await queries.transfer(engine, debited.transfer.id)
    await ledger.finished(debited)
    at_its_end = await queries.transfer(engine, debited.transfer.id)

    assert on_its_way is not None
    assert at_its_end is not None
    assert on_its_way[0] == debited
    assert (on_its_way[1].credited_at, on_its_way[1].finished_at) == (None, None)
    assert at_its_end[0].transfer.state is TransferState.COMPLETED
    row = at_its_end[1]
    assert row.initiated_at < row.credited_at < row.finished_at
    assert await queries.transfer(engine, "00000000-0000-7000-8000-000000000000") is None


async def test_statistics_are_null_until_the_first_event_arrives(
    ledger: "Ledger", a: "Builders"
) -> None:
    """A wallet that nobody has told of yet has a row without totals; no wallet has none."""
    await ledger.post(a.deposit("w1", "5.00"))
    engine = ledger.database.reads

    row = await queries.stats(engine, "w1")

    assert row is not None
    assert (row.currency, row.total_deposited_minor, row.suspicious) == ("USD", None, None)
    assert await queries.stats(engine, "nobody") is None
    assert await queries.flags(engine, "w1", limit=9) == []
