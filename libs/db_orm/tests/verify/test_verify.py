"""This module is where the proof is proved: green on good books, in bounded space on bad ones."""

from typing import TYPE_CHECKING

from wallet_db_orm.invariants import checks, promised
from wallet_db_orm.proving import prove
from wallet_db_orm.verify import Finding, verify

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def test_good_books_are_green_and_everything_was_looked_at(good: "Ledger") -> None:
    """Every invariant is reported, with what it looked at; each was told as it came."""
    seen: list[Finding] = []

    report = await verify(good.database.primary, at_rest=True, progress=seen.append)

    assert report.ok, [each for each in report.invariants if each.violations]
    assert [(each.id, each.name) for each in report.invariants] == [
        each for check in checks(at_rest=True, is_whole=True) for each in promised(check)
    ]
    assert sorted(seen, key=lambda each: each.id) == sorted(
        report.invariants, key=lambda each: each.id
    )
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
    assert set(await good.violations(at_rest=True)) == {"S8", "E4"}


async def test_money_that_does_not_arrive_is_seen_by_every_proof(
    good: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A transfer that nobody ends within a minute is told, also when nothing has moved since."""
    stored = await good.debit(a.transfer("cid", "bob", "5.00"), audited=True)
    before = await prove(good.database, incremental=True, asked_by="test")
    await books.execute(
        "UPDATE transfers SET initiated_at = now() - interval '61 s' WHERE state = 'debited'"
    )
    after = await prove(good.database, incremental=True, asked_by="test")

    assert (before.report.ok, after.report.mode) == (True, "incremental")
    (stuck,) = [each for each in after.report.invariants if each.violations]
    place = {"walletId": "cid", "transferId": stored.transfer.id}
    assert (stuck.id, stuck.violations[0].items() >= place.items()) == ("S1", True)
    assert set(await good.violations()) == {"S1"}


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
