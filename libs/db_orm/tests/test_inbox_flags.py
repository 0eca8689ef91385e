"""This module is where withdrawals are judged, and judged alike whenever they arrive."""

import asyncio
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wallet_common.events import Event, FundsWithdrawn, WalletFlagged, amount_minor
from wallet_common.fraud import FraudRules, Withdrawal, examine
from wallet_db_orm import inbox, queries

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

RULES = FraudRules()
Verdicts = dict[tuple[str, str], tuple[Any, ...]]


async def stored(books: "Books") -> Verdicts:
    """Return the stored verdicts by withdrawal and rule."""
    rows = await books.rows("SELECT event_id, rule_id, verdict FROM fraud_flags")
    found = {}
    for row in rows:
        verdict = msgspec.json.decode(row["verdict"])
        found[row["event_id"], row["rule_id"]] = (
            *(verdict["threshold"], verdict["observed"]),
            tuple(verdict["evidence"]),
        )
    return found


def recomputed(events: list[Event], rules: FraudRules) -> Verdicts:
    """Judge every withdrawal on all that came before it in its wallet."""
    found, earlier = {}, defaultdict[str, list[Withdrawal]](list)
    withdrawn = [each for each in events if isinstance(each, FundsWithdrawn)]
    for event in sorted(withdrawn, key=lambda each: each.wallet_version or 0):
        minor, currency = amount_minor(event.payload), event.payload.currency
        judged = Withdrawal(event.id, event.occurred_at, minor, currency)
        for flag in examine(judged, earlier[event.wallet_id], rules):
            found[event.id, flag.rule_id] = (flag.threshold, flag.observed, flag.evidence)
        earlier[event.wallet_id].append(judged)
    return found


async def move_back(books: "Books", wallet_id: str, version: int, seconds: int) -> None:
    """Let a step of a wallet have happened earlier, in all the books."""
    by_operation = "WHERE operation_id IN (SELECT operation_id FROM ledger_entries"
    for table, where in {
        "operations": f"{by_operation} WHERE wallet_id = $1 AND wallet_version = $2)",
        "events": "WHERE wallet_id = $1 AND wallet_version = $2",
        "ledger_entries": "WHERE wallet_id = $1 AND wallet_version = $2",
    }.items():
        earlier = f"UPDATE {table} SET occurred_at = occurred_at - make_interval(secs => $3)"
        await books.tamper(table, f"{earlier} {where}", wallet_id, version, seconds)


@pytest.mark.parametrize("order", ["backwards", "shuffled", "one by one backwards"])
async def test_the_verdict_is_the_same_whatever_the_order_of_arrival(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders", order: str
) -> None:
    """Flags equal the recomputation from event times, with the same evidence, in any order."""
    for wallet_id in ("w1", "w2", "w3"):
        await ledger.post(a.deposit(wallet_id, "50000.00"))
    for amount in ("1.00", "10000.00", "2.00", "9999.99", "3.00", "10000.01"):
        await asyncio.gather(
            *(ledger.post(a.withdrawal(wallet_id, amount)) for wallet_id in ("w1", "w2"))
        )
    await ledger.post(a.withdrawal("w3", "1.00"))
    events = await ledger.told()
    arriving = events + events[::3]
    if order == "shuffled":
        random.Random(7).shuffle(arriving)
    else:
        arriving.reverse()
    size = 1 if order.startswith("one") else 9

    for start in range(0, len(arriving), 2 * size):
        await asyncio.gather(
            inbox.apply(ledger.database.primary, arriving[start : start + size], RULES),
            inbox.apply(other.database.primary, arriving[start + size :][:size], RULES),
        )

    expected = recomputed(events, RULES)
    assert len(expected) == 12
    assert await stored(books) == expected
    told = await books.rows(
        "SELECT wallet_id, suspicious, suspicious_reason FROM wallet_stats ORDER BY wallet_id"
    )
    latest = "withdrawal of 10000.01 USD (threshold 10000.00)"
    assert [tuple(row.values()) for row in told] == [
        *(("w1", True, latest), ("w2", True, latest)),
        ("w3", False, None),
    ]
    assert await ledger.violations(at_rest=True) == {}


@pytest.mark.parametrize(("seconds", "flags"), [(50, 1), (61, 0)], ids=["within", "outside"])
async def test_only_withdrawals_within_the_window_are_neighbours(
    breakable: "Ledger", books: "Books", a: "Builders", seconds: int, flags: int
) -> None:
    """Three withdrawals are rapid by their event times, whenever they are looked at."""
    await breakable.post(a.deposit("w1", "50.00"))
    for _ in range(3):
        await breakable.post(a.withdrawal("w1", "1.00"))
    await move_back(books, "w1", 3, seconds)

    done = await inbox.apply(breakable.database.primary, await breakable.told(), RULES)

    assert len(done.flagged) == len(await stored(books)) == flags
    assert set(await breakable.violations()) == {"H1"}, "whoever moves a time is seen"


async def test_a_flag_names_its_evidence_in_the_order_of_events(
    ledger: "Ledger", a: "Builders"
) -> None:
    """The third fast withdrawal is flagged with the ids of all three, oldest first."""
    await ledger.post(a.deposit("w1", "50.00"))
    for _ in range(3):
        await ledger.post(a.withdrawal("w1", "1.00"))
    events = await ledger.told()

    done = await inbox.apply(ledger.database.primary, events, RULES)

    (flagged,) = done.flagged
    withdrawals = [each for each in events if isinstance(each, FundsWithdrawn)]
    assert flagged.wallet_id == "w1"
    assert (flagged.event_id, flagged.trace_id) == (withdrawals[2].id, withdrawals[2].trace_id)
    assert flagged.flag.evidence == tuple(each.id for each in withdrawals)
    assert (flagged.flag.threshold, flagged.flag.observed) == (3, 3)
    assert flagged.flag.window_seconds == 60


async def test_the_threshold_counts_units_of_the_wallets_currency(
    ledger: "Ledger", a: "Builders"
) -> None:
    """A withdrawal of exactly the threshold is large, one minor unit less is not."""
    large = {"JPY": "10000", "KWD": "10000.000", "USD": "10000.00"}
    for currency, below in {"JPY": "9999", "KWD": "9999.999", "USD": "9999.99"}.items():
        await ledger.post(a.deposit(currency, "50000", opens_in=currency))
        await ledger.post(a.withdrawal(currency, below))
        await ledger.post(a.withdrawal(currency, large[currency]))
    events = await ledger.told()

    done = await inbox.apply(ledger.database.primary, events, RULES)

    assert {each.wallet_id: each.flag.observed for each in done.flagged} == large
    assert {each.flag.rule_id for each in done.flagged} == {"large_transaction"}
    last = {each.wallet_id: (each.id,) for each in events}
    assert {each.wallet_id: each.flag.evidence for each in done.flagged} == last


async def test_a_flag_is_published_once_and_is_no_step_of_the_wallet(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The verdict goes out as an event without a wallet version, however often it was judged."""
    await ledger.post(a.deposit("w1", "50000.00"))
    await ledger.post(a.withdrawal("w1", "10000.00"))
    events = await ledger.told()

    await asyncio.gather(
        *(inbox.apply(each.database.primary, events, RULES) for each in (ledger, other) * 4)
    )
    told = await ledger.told()
    done = await inbox.apply(ledger.database.primary, told, RULES)

    (flagged,) = told
    assert isinstance(flagged, WalletFlagged)
    assert flagged.wallet_version is None
    assert flagged.payload.evidence == (events[-1].id,)
    assert (list(done.flagged), done.strangers) == ([], frozenset())
    history = await queries.history(
        ledger.database.reads, "w1", below_version=None, before=None, limit=10
    )
    assert [each.wallet_version for each in history] == [3, 2, 1]
    written = await books.rows(
        "SELECT xmin::text FROM fraud_flags UNION SELECT xmin::text FROM events"
        " WHERE type = 'WalletFlagged'"
    )
    assert len(written) == 1


async def test_a_crowded_window_is_judged_on_a_bounded_number_of_neighbours(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """However busy the wallet, a verdict lists at most 100 neighbours and the withdrawal itself."""
    await ledger.post(a.deposit("w1", "500.00"))
    await asyncio.gather(*(ledger.post(a.withdrawal("w1", "1.00")) for _ in range(130)))

    await inbox.apply(ledger.database.primary, await ledger.told(), RULES)

    evidence = [len(verdict[2]) for verdict in (await stored(books)).values()]
    assert sorted(evidence) == [*range(3, 101)] + [101] * 30


async def test_the_rules_are_those_that_were_set(ledger: "Ledger", a: "Builders") -> None:
    """With other thresholds the same events give other verdicts."""
    await ledger.post(a.deposit("w1", "50.00"))
    for _ in range(3):
        await ledger.post(a.withdrawal("w1", "1.00"))

    done = await inbox.apply(
        ledger.database.primary, await ledger.told(), FraudRules(rapid_count=2)
    )

    assert [(each.flag.threshold, each.flag.observed) for each in done.flagged] == [(2, 2), (2, 3)]
