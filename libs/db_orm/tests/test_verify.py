"""This module is where the proof is proved: it is green on good books and sees every forgery."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from wallet_common.fraud import FraudRules
from wallet_db_orm import inbox
from wallet_db_orm.invariants import AT_REST, INVARIANTS
from wallet_db_orm.verify import Finding, verify

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

FULL = "92233720368547758.07"


@pytest.fixture
async def good(breakable: "Ledger", a: "Builders") -> "Ledger":
    """Return books with something of everything, at rest."""
    for wallet_id in ("ann", "bob", "cid"):
        await breakable.post(a.deposit(wallet_id, "50.00"), audited=True)
    await breakable.post(a.deposit("full", FULL), audited=True)
    await breakable.post(a.deposit("yen", "500", opens_in="JPY"), audited=True)
    for _ in range(3):
        await breakable.post(a.withdrawal("ann", "1.00"), audited=True)
    await breakable.record(a.withdrawal("bob", "99.00"), audited=True)
    await breakable.transfer(a.transfer("ann", "bob", "5.00"), audited=True)
    await breakable.transfer(a.transfer("bob", "full", "5.00"), audited=True)
    await breakable.post(a.deposit("cid", "1.00"), audited=True)
    for _ in range(2):
        await inbox.apply(breakable.database.primary, await breakable.told(), FraudRules())
    return breakable


async def test_good_books_are_green_and_everything_was_looked_at(good: "Ledger") -> None:
    """Every invariant is reported, with what it looked at, in the order in which it came."""
    seen: list[Finding] = []

    report = await verify(good.database.primary, at_rest=True, progress=seen.append)

    assert report.ok
    assert [each.id for each in report.invariants] == [
        invariant.id for invariant in (*INVARIANTS, *AT_REST)
    ]
    assert seen == list(report.invariants)
    assert all(each.checked > 0 and not each.violations for each in seen)


async def test_empty_books_are_green(breakable: "Ledger") -> None:
    """A new database has nothing to complain about."""
    assert await breakable.violations(at_rest=True) == {}


async def test_the_proof_holds_while_money_is_on_its_way(
    good: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A debited transfer is no fault of the books, but they are not at rest."""
    await good.debit(a.transfer("cid", "bob", "5.00"))

    assert await good.violations() == {}
    assert set(await good.violations(at_rest=True)) == {"S1", "E4"}


FIRST = "wallet_id = 'cid' AND wallet_version = 2"
FORGED: dict[str, tuple[str, str, set[str], str]] = {
    "a changed amount": (
        "ledger_entries",
        f"UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE {FIRST}",
        {"M1", "M3", "M5", "E1"},
        "cid",
    ),
    "a changed balance after an entry": (
        "ledger_entries",
        f"UPDATE ledger_entries SET balance_after_minor = balance_after_minor + 1 WHERE {FIRST}",
        {"M5", "K1", "E1"},
        "cid",
    ),
    "a changed balance": (
        "wallets",
        "UPDATE wallets SET balance_minor = balance_minor + 1 WHERE id = 'cid'",
        {"M1", "M3"},
        "cid",
    ),
    "a deleted entry": (
        "ledger_entries",
        f"DELETE FROM ledger_entries WHERE {FIRST}",
        {"M1", "M3", "M5", "K1", "E1"},
        "cid",
    ),
    "a deleted event": ("events", f"DELETE FROM events WHERE {FIRST}", {"M6", "E1"}, "cid"),
    "a deleted last event": (
        "events",
        "DELETE FROM events WHERE wallet_id = 'ann' AND type = 'TransferCompleted'",
        {"M6"},
        "ann",
    ),
    "a deleted wallet": ("wallets", "DELETE FROM wallets WHERE id = 'cid'", {"M3", "M6"}, "cid"),
    "a deleted operation": (
        "operations",
        "DELETE FROM operations WHERE wallet_id = 'yen'",
        {"K1"},
        "yen",
    ),
    "a deleted audit row": (
        "api_audit",
        "DELETE FROM api_audit WHERE wallet_id = 'yen'",
        {"A7"},
        "yen",
    ),
    "a deleted transfer": (
        "transfers",
        "DELETE FROM transfers WHERE from_wallet_id = 'bob'",
        {"S3"},
        "bob",
    ),
    "a forged entry": (
        "ledger_entries",
        (
            "INSERT INTO ledger_entries (wallet_id, wallet_version, type, amount_minor,"
            " balance_after_minor, currency, counter_account, operation_id, request_id,"
            " occurred_at, trace_id) SELECT 'cid', 4, 'deposit', 100, 5200, 'USD', '@external',"
            " gen_random_uuid(), 'forged', now(), 'forged'"
        ),
        {"M1", "M3", "K1", "E1"},
        "cid",
    ),
    "a forged event": (
        "events",
        (
            "INSERT INTO events (wallet_id, id, wallet_version, type, payload, occurred_at)"
            " SELECT wallet_id, gen_random_uuid(), 4, type, payload, occurred_at FROM events"
            f" WHERE {FIRST}"
        ),
        {"M6", "E1"},
        "cid",
    ),
    "an event with another amount": (
        "events",
        (
            'UPDATE events SET payload = replace(payload::text, \'"amount":"50.00"\','
            f' \'"amount":"50.01"\')::json WHERE {FIRST}'
        ),
        {"E1"},
        "cid",
    ),
    "an entry in another currency": (
        "ledger_entries",
        f"UPDATE ledger_entries SET currency = 'EUR' WHERE {FIRST}",
        {"M1", "M7", "E1"},
        "cid",
    ),
    "an operation with another outcome": (
        "operations",
        (
            'UPDATE operations SET outcome = \'{"type":"rejected","reason":"same_wallet"}\''
            " WHERE wallet_id = 'yen'"
        ),
        {"K1"},
        "yen",
    ),
    "a completed transfer that says it failed": (
        "transfers",
        "UPDATE transfers SET state = 'failed', reason = 'forged' WHERE from_wallet_id = 'ann'",
        {"S3"},
        "ann",
    ),
    "a failed transfer that says it completed": (
        "transfers",
        (
            "UPDATE transfers SET state = 'completed', to_balance_minor = 0"
            " WHERE from_wallet_id = 'bob'"
        ),
        {"S3"},
        "bob",
    ),
    "a completed transfer that says it is on its way": (
        "transfers",
        "UPDATE transfers SET state = 'debited', finished_at = NULL WHERE from_wallet_id = 'ann'",
        {"S7"},
        "ann",
    ),
    "a failed transfer that says it is on its way": (
        "transfers",
        "UPDATE transfers SET state = 'debited', finished_at = NULL WHERE from_wallet_id = 'bob'",
        {"S3", "S5", "S7"},
        "bob",
    ),
    "a transfer of another amount": (
        "transfers",
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE from_wallet_id = 'ann'",
        {"S3"},
        "ann",
    ),
}


@asynccontextmanager
async def forged(books: "Books", table: str, forgery: str) -> AsyncIterator[None]:
    """Forge a table, and put it back as it was when the block ends."""
    await books.execute(f"CREATE TABLE kept AS TABLE {table}")
    await books.tamper(table, forgery)
    yield
    await books.tamper(table, f"TRUNCATE {table}")
    await books.execute(f"INSERT INTO {table} SELECT * FROM kept")
    await books.execute("DROP TABLE kept")


async def test_every_forgery_is_seen_and_its_wallet_named(good: "Ledger", books: "Books") -> None:
    """Whatever is changed behind the books' back stands out, at the wallet where it was done."""
    for name, (table, forgery, broken, wallet_id) in FORGED.items():
        async with forged(books, table, forgery):
            violations = await good.violations()

        named = {each: {v["walletId"] for v in found} for each, found in violations.items()}
        assert broken <= set(named), name
        assert all(wallet_id in named[each] for each in broken), name
        assert all(None not in wallet_ids for wallet_ids in named.values()), name
    assert await good.violations(at_rest=True) == {}


async def test_changed_statistics_are_seen_at_rest(good: "Ledger", books: "Books") -> None:
    """Each total, the last activity and the suspicion are recomputed from the ledger."""
    for forgery in (
        "UPDATE wallet_stats SET total_deposited_minor = 1",
        "UPDATE wallet_stats SET total_withdrawn_minor = 1",
        "UPDATE wallet_stats SET total_transferred_in_minor = 1",
        "UPDATE wallet_stats SET total_transferred_out_minor = 1",
        "UPDATE wallet_stats SET last_activity_at = now()",
        "UPDATE wallet_stats SET suspicious = false",
        "DELETE FROM wallet_stats",
        "DELETE FROM fraud_flags",
    ):
        table = "fraud_flags" if "fraud_flags" in forgery else "wallet_stats"
        async with forged(books, table, f"{forgery} WHERE wallet_id = 'ann'"):
            assert await good.violations() == {}
            assert await good.violations(at_rest=True) == {"E4": [{"walletId": "ann"}]}, forgery

    nobody = (
        "INSERT INTO wallet_stats SELECT 'nobody', currency, 0, 0, 0, 0, now(), false, NULL, NULL"
        " FROM wallet_stats WHERE wallet_id = 'ann'"
    )
    async with forged(books, "wallet_stats", nobody):
        assert await good.violations(at_rest=True) == {"E4": [{"walletId": "nobody"}]}
    assert await good.violations(at_rest=True) == {}


async def test_a_thousand_faults_are_told_by_some_examples(
    breakable: "Ledger", books: "Books"
) -> None:
    """A ledger that is broken everywhere is reported in bounded space."""
    await books.execute(
        "INSERT INTO wallets SELECT 'w' || n, NULL, 'USD', 1, 0, 'active', 1, NULL, now(), now()"
        " FROM generate_series(1, 1000) AS n"
    )

    violations = await breakable.violations()

    assert set(violations) == {"M1", "M3", "M6"}
    assert {len(found) for found in violations.values()} == {100}
