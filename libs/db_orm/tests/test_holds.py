"""This module is where holds bind money exactly once, whoever captures, releases or waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.orders import freezing
from wallet_common.commands import ExpireHolds, PlaceHold
from wallet_common.events import HoldExpired
from wallet_common.holds import HoldStatus
from wallet_common.operations import HoldReceipt
from wallet_common.wallet import Rejected, RejectionReason as Reason
from wallet_db_orm import holds, instants, queries
from wallet_db_orm.orders import Recorded
from wallet_db_orm.rows import stored_hold_of

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

PAST = datetime(2020, 1, 1, tzinfo=UTC)


async def placed(ledger: "Ledger", hold: PlaceHold) -> HoldReceipt:
    receipt = await ledger.post(hold)
    assert isinstance(receipt, HoldReceipt)
    return receipt


def taken_minor(recorded: Recorded) -> int:
    """Return whether the operation took effect, as a number."""
    outcome = recorded.operation.outcome
    if isinstance(outcome, Rejected):
        assert outcome.reason in {Reason.HOLD_EXCEEDED, Reason.HOLD_CLOSED}, outcome
        return 0
    return 1


async def let_pass(books: "Books", hold: PlaceHold) -> None:
    """Put the end of a hold into the past, as time does."""
    await books.execute("UPDATE holds SET expires_at = $1 WHERE id = $2", PAST, hold.operation_id)


async def test_what_is_held_is_owned_and_cannot_be_spent(ledger: "Ledger", a: "Builders") -> None:
    """A hold leaves the balance alone, and nothing can be paid with what it binds."""
    await ledger.post(a.deposit("w1", "10.00"))

    receipt = await placed(ledger, a.hold("w1", "7.00"))
    refused = await ledger.record(a.withdrawal("w1", "3.01"))
    twice = await ledger.record(a.hold("w1", "3.01"))
    rest = await ledger.post(a.withdrawal("w1", "3.00"))

    assert (receipt.balance_minor, receipt.held_minor) == (1_000, 700)
    assert [each.operation.outcome for each in (refused, twice)] == [
        Rejected(Reason.INSUFFICIENT_FUNDS, "USD", required_minor=301, available_minor=300)
    ] * 2
    assert rest.balance_minor == 700


async def test_fifty_captures_at_once_never_take_more_than_was_held(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """50 captures of 3.00 of one hold of 100.00, through two processes: 33 of them, and no more."""
    await ledger.post(a.deposit("w1", "500.00"))
    hold = a.hold("w1", "100.00")
    await ledger.post(hold)

    recorded = await asyncio.gather(
        *((ledger, other)[number % 2].record(a.capture(hold, "3.00")) for number in range(50))
    )

    assert sum(map(taken_minor, recorded)) == 33
    assert await books.balances() == {"w1": 40_100}
    assert await books.value("SELECT held_minor FROM wallets") == 100
    assert await books.value("SELECT captured_minor FROM holds") == 9_900


async def test_each_unit_is_won_by_one_of_all_who_want_it(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Captures out and to others, and releases, all at once: together they make the hold."""
    await ledger.post(a.deposit("w1", "100.00"))
    await ledger.post(a.deposit("w2", "1.00"))
    hold = a.hold("w1", "30.00")
    await ledger.post(hold)

    async def pay(where: "Ledger") -> int:
        command = a.capture(hold, "1.00", to_wallet_id="w2")
        recorded = await where.record(command)
        if taken_minor(recorded):
            await where.finished(await where.stored(command))
        return taken_minor(recorded)

    async def ask(where: "Ledger", number: int) -> int:
        command = a.release(hold, "1.00") if number % 2 else a.capture(hold, "1.00")
        return taken_minor(await where.record(command))

    won = await asyncio.gather(
        *(pay((ledger, other)[number % 2]) for number in range(20)),
        *(ask((ledger, other)[number % 2], number // 2) for number in range(40)),
    )

    row = (await books.rows("SELECT * FROM holds"))[0]
    paid = sum(won[:20])
    assert sum(won) == 30
    assert row["captured_minor"] + row["released_minor"] == 3_000
    balances = {"w1": 10_000 - row["captured_minor"], "w2": 100 + 100 * paid}
    assert await books.balances() == balances
    assert await books.value("SELECT held_minor FROM wallets WHERE id = 'w1'") == 0


async def test_the_last_capture_and_the_release_of_all_exclude_each_other(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Twenty holds, each captured and released as a whole at once: one of the two, every time."""
    await ledger.post(a.deposit("w1", "20.00"))
    commands = [a.hold("w1", "1.00") for _ in range(20)]
    for hold in commands:
        await ledger.post(hold)

    recorded = await asyncio.gather(
        *(ledger.record(a.capture(hold)) for hold in commands),
        *(other.record(a.release(hold)) for hold in commands),
    )

    assert sum(map(taken_minor, recorded)) == 20
    captured = sum(map(taken_minor, recorded[:20]))
    assert await books.balances() == {"w1": 2_000 - 100 * captured}
    statuses = [row["status"] for row in await books.rows("SELECT status FROM holds")]
    assert (statuses.count("captured"), statuses.count("released")) == (captured, 20 - captured)


async def test_a_capture_that_is_asked_twice_happens_once(
    ledger: "Ledger", other: "Ledger", a: "Builders"
) -> None:
    """One key through two processes is one capture, told to all in the same words."""
    await ledger.post(a.deposit("w1", "10.00"))
    hold = a.hold("w1", "10.00")
    await ledger.post(hold)
    capture = a.capture(hold, "1.00")

    recorded = await asyncio.gather(
        *((ledger, other)[number % 2].record(capture) for number in range(16))
    )

    outcomes = [each.operation.outcome for each in recorded]
    assert outcomes == [outcomes[0]] * 16
    assert isinstance(outcomes[0], HoldReceipt)
    assert outcomes[0].hold.captured_minor == 100


async def test_what_is_due_is_free_though_nobody_noted_it(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """At the very instant reads show it available, and the next payment can have it."""
    await ledger.post(a.deposit("w1", "10.00"))
    soon = datetime.now(UTC) + timedelta(hours=1)
    hold, endless = a.hold("w1", "6.00", expires_at=soon), a.hold("w1", "1.00")
    await ledger.post(hold)
    await ledger.post(endless)
    await let_pass(books, hold)
    engine = ledger.database.fresh

    seen = await queries.wallet(engine, "w1")
    row = await holds.hold(engine, hold.operation_id)
    expired = await holds.of_wallet(engine, "w1", status=HoldStatus.EXPIRED, below=None, limit=9)
    paid = await ledger.post(a.withdrawal("w1", "9.00"))
    late = await ledger.record(a.capture(hold))

    assert seen is not None
    assert row is not None
    assert (seen.held_minor, row.held_minor, paid.balance_minor) == (100, 100, 100)
    assert [str(each.id) for each in expired] == [hold.operation_id]
    assert stored_hold_of(row).hold.seen_at(row.now).status is HoldStatus.EXPIRED
    assert late.operation.outcome == Rejected(Reason.HOLD_EXPIRED)
    told = [event for event in await ledger.told() if isinstance(event, HoldExpired)]
    assert [(each.payload.amount, each.payload.held) for each in told] == [("6.00", "1.00")]


async def test_an_expiry_is_noted_once_whoever_asks(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Two workers and a capture meet at the end of a hold: it expires once, and is not captured."""
    await ledger.post(a.deposit("w1", "10.00"))
    hold = a.hold("w1", "6.00", expires_at=datetime.now(UTC) + timedelta(hours=1))
    await ledger.post(hold)
    await let_pass(books, hold)
    assert await holds.due_wallets(ledger.database.primary, limit=9) == ["w1"]

    settled = await asyncio.gather(
        ledger.ask(ExpireHolds(wallet_id="w1")),
        other.ask(ExpireHolds(wallet_id="w1")),
        ledger.ask(a.capture(hold)),
    )

    assert isinstance(settled[2], Recorded)
    assert settled[2].operation.outcome == Rejected(Reason.HOLD_EXPIRED)
    assert await holds.due_wallets(ledger.database.primary, limit=9) == []
    assert await books.value("SELECT count(*) FROM events WHERE type = 'HoldExpired'") == 1
    row = (await books.rows("SELECT held_minor, balance_minor, version FROM wallets"))[0]
    assert (row["held_minor"], row["balance_minor"], row["version"]) == (0, 1_000, 4)


async def test_a_hold_of_a_wallet_that_is_held_elsewhere_waits(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Its time is over while a stranger has the wallet: whoever asks waits and is told so."""
    await ledger.post(a.deposit("w1", "10.00"))
    hold = a.hold("w1", "6.00", expires_at=datetime.now(UTC) + timedelta(hours=1))
    await ledger.post(hold)
    await let_pass(books, hold)

    async with books.lock_on("w1"):
        waiting = asyncio.create_task(ledger.record(a.capture(hold)))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
    recorded = await waiting

    assert not done
    assert recorded.operation.outcome == Rejected(Reason.HOLD_EXPIRED)


async def test_a_hold_cannot_begin_when_its_time_is_over(ledger: "Ledger", a: "Builders") -> None:
    """An end in the past is a flaw of the request: nothing is held and the key stays free."""
    await ledger.post(a.deposit("w1", "10.00"))
    late = a.hold("w1", "6.00", request_id="k1", expires_at=PAST)

    assert await ledger.ask(late) == Rejected(Reason.INVALID_EXPIRY, detail="must be in the future")
    assert (await placed(ledger, a.hold("w1", "6.00", request_id="k1"))).held_minor == 600


async def test_a_capture_whose_recipient_is_gone_gives_the_money_back(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """What was captured for a wallet that takes nothing is the sender's again, and not held."""
    await ledger.post(a.deposit("w1", "10.00"))
    await ledger.post(a.deposit("w2", "10.00"))
    hold = a.hold("w1", "6.00")
    await ledger.post(hold)
    capture = a.capture(hold, to_wallet_id="w2")
    stored = await ledger.debit(capture)
    await ledger.ask(freezing("w2"))

    ended = await ledger.finished(stored)

    assert (ended.state, ended.reason) == ("failed", "wallet_frozen")
    assert await books.balances() == {"w1": 1_000, "w2": 1_000}
    assert await books.value("SELECT held_minor FROM wallets WHERE id = 'w1'") == 0


async def test_what_was_held_is_known_of_every_instant(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Before, between and after the steps, and between a hold's end and whoever noted it."""
    await ledger.post(a.deposit("w1", "10.00"))
    first = a.hold("w1", "6.00", expires_at=datetime.now(UTC) + timedelta(hours=1))
    second = a.hold("w1", "1.00")
    for command in (first, second, a.capture(first, "2.00"), a.release(second, "0.50")):
        await ledger.post(command)
    rows = await books.rows("SELECT occurred_at FROM events ORDER BY wallet_version")
    moments = [row["occurred_at"] for row in rows]
    engine = ledger.database.primary

    async def held(at: datetime) -> int:
        row = await instants.wallet_at(engine, "w1", at)
        assert row is not None
        return int(row.held_minor)

    end = moments[-1] + timedelta(milliseconds=1)
    assert [await held(at) for at in moments[1:]] == [0, 600, 700, 500, 450]
    await books.execute("UPDATE holds SET expires_at = $1 WHERE expires_at IS NOT NULL", end)
    assert await held(end - timedelta(microseconds=1)) == 450
    assert await held(end) == 50
    await ledger.post(a.deposit("w1", "1.00"))
    assert await held(end - timedelta(microseconds=1)) == 450
    assert await held(end) == 50
