"""This module is where money changes its currency in the books, while many want the same quote."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from libs.db_orm.tests.quotes import a_quote
from tests.orders import freezing
from wallet_common.wallet import Direction, Rejected, RejectionReason as Reason
from wallet_db_orm import accounts, fx
from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def sums(ledger: "Ledger", books: "Books", currency: str) -> Any:  # noqa: ANN401  # a Decimal
    """Return what wallets and system accounts of a currency sum to, in minor units."""
    found = await accounts.balances(ledger.database.primary, currency=currency)
    kept = await books.value(
        "SELECT coalesce(sum(balance_minor), 0) FROM wallets WHERE currency = $1", currency
    )
    return kept + sum(each.minor + 100 * each.residue for each in found.values())


async def test_a_quote_is_used_once_whoever_asks_and_where(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Of 40 transfers of four wallets through two processes one has the quote; nothing is lost."""
    quote = await a_quote(books, ledger)
    await ledger.ask(a.opening("eur", "EUR"))
    for number in range(4):
        await ledger.post(a.deposit(f"w{number}", "1000.00"))

    async def pay(way: "Ledger", number: int) -> str | None:
        command = a.transfer(f"w{number % 4}", "eur", "100.10", quote_id=quote.terms.quote_id)
        recorded = await way.record(command)
        if isinstance(recorded.operation.outcome, Rejected):
            return recorded.operation.outcome.reason.value
        await way.finished(await way.stored(command))
        return None

    ways = [ledger, other] * 20
    told = await asyncio.gather(*(pay(way, number) for number, way in enumerate(ways)))

    assert (told.count(None), told.count(Reason.QUOTE_USED.value)) == (1, 39)
    balances = await books.balances()
    assert balances.pop("eur") == 9_268
    assert sorted(balances.values()) == [89_990, 100_000, 100_000, 100_000]
    assert [await sums(ledger, books, each) for each in ("USD", "EUR")] == [0, 0]
    assert await ledger.violations(at_rest=False) == {}


async def test_two_transfers_of_one_batch_cannot_share_a_quote(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The second sees what the first has used, before anything is written."""
    quote = await a_quote(books, ledger)
    await ledger.ask(a.opening("eur", "EUR"))
    await ledger.post(a.deposit("w1", "1000.00"))
    asked = [a.transfer("w1", "eur", "100.10", quote_id=quote.terms.quote_id) for _ in range(3)]

    recorded = await asyncio.gather(*map(ledger.record, asked))

    refused = [each for each in recorded if isinstance(each.operation.outcome, Rejected)]
    assert len(refused) == 2
    assert await books.balances() == {"w1": 89_990, "eur": 0}


async def test_what_the_recipient_cannot_take_comes_back_as_it_left(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """The sender gets its dollars, no euro and no residue was ever there; the quote stays used."""
    quote = await a_quote(books, ledger)
    await ledger.ask(a.opening("eur", "EUR"))
    await ledger.post(a.deposit("w1", "1000.00"))
    stored = await ledger.debit(a.transfer("w1", "eur", "100.10", quote_id=quote.terms.quote_id))
    assert [await sums(ledger, books, each) for each in ("USD", "EUR")] == [0, 0]
    await ledger.ask(freezing("eur", Direction.IN))

    ended = await ledger.finished(stored)

    assert ended.reason == Reason.WALLET_FROZEN.value
    assert await books.balances() == {"w1": 100_000, "eur": 0}
    found = await accounts.balances(ledger.database.primary)
    assert {name: each for name, each in found.items() if each.minor or each.residue} == {
        ("@external", "USD"): accounts.Balance(-100_000)
    }
    used = await fx.find_quote(ledger.database.primary, quote.terms.quote_id)
    assert used is not None
    assert used.transfer_id == ended.id


async def test_a_quote_is_no_longer_good_at_its_end(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """By the database's clock; the refusal is remembered, and the quote stays unused."""
    quote = await a_quote(books, ledger, lasts=timedelta(microseconds=1))
    await ledger.ask(a.opening("eur", "EUR"))
    await ledger.post(a.deposit("w1", "1000.00"))
    command = a.transfer("w1", "eur", "100.10", quote_id=quote.terms.quote_id)

    told = [(await ledger.record(command)).operation.outcome for _ in range(2)]

    assert [each.reason for each in told if isinstance(each, Rejected)] == [
        Reason.QUOTE_EXPIRED
    ] * 2
    assert await books.balances() == {"w1": 100_000, "eur": 0}


async def test_a_rate_is_in_force_from_its_time_until_its_end(
    books: "Books", ledger: "Ledger"
) -> None:
    """Of those in force the one set last counts, not the one that begins last."""
    engine = ledger.database.primary
    for rate, since, until in (
        ("1.1", "-2 h", None),
        ("1.2", "-3 h", None),
        ("1.3", "-1 h", "-1 s"),
        ("1.4", "1 h", None),
    ):
        await books.execute(
            "INSERT INTO fx_rates SELECT 'USD', 'EUR', $1::uuid, $2, now() + $3::text::interval,"
            " now() + $4::text::interval, $1::uuid, now()",
            *(new_id(), rate, since, until),
        )

    found = await fx.current_rate(engine, "USD", "EUR")

    assert found is not None
    assert found.rate == "1.2"
    assert await fx.current_rate(engine, "EUR", "USD") is None
