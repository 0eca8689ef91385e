"""This module is where tests of the proof get good books, and spoil them for a while."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from libs.db_orm.tests.quotes import a_quote
from wallet_common.commands import ReverseOperation, Reversible
from wallet_common.fraud import FraudRules
from wallet_common.messages import Failure
from wallet_common.settlements import tombstone
from wallet_db_orm import checkpoints, inbox, seals, settlements
from wallet_db_orm.ids import new_id
from wallet_db_orm.proving import prove
from wallet_runtime.signing import SharedKey

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

FULL = "92233720368547758.07"

Forged = Callable[[str, str], AbstractAsyncContextManager[None]]


@pytest.fixture
async def good(breakable: "Ledger", books: "Books", a: "Builders") -> "Ledger":
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
    await breakable.post(a.deposit("hal", "30.00"), audited=True)
    hold = a.hold("hal", "20.00")
    await breakable.post(hold, audited=True)
    await breakable.post(a.capture(hold, "5.00"), audited=True)
    await breakable.post(a.release(hold, "4.00"), audited=True)
    await breakable.transfer(a.capture(hold, "3.00", to_wallet_id="bob"), audited=True)
    await breakable.post(a.hold("hal", "2.00"), audited=True)
    withdrawal = a.withdrawal("hal", "1.00")
    await breakable.post(withdrawal, audited=True)
    back = ReverseOperation(
        wallet_id="hal",
        request_id="back",
        operation_id=new_id(),
        kind=Reversible.WITHDRAWAL,
        reverses=withdrawal.operation_id,
        original_minor=100,
    )
    await breakable.post(back, audited=True)
    quote = await a_quote(books, breakable)
    await breakable.ask(a.opening("eur", "EUR"), audited=True)
    await breakable.post(a.deposit("eli", "200.00"), audited=True)
    exchange = a.transfer("eli", "eur", "100.10", quote_id=quote.terms.quote_id)
    await breakable.transfer(exchange, audited=True)
    await settlements.keep(breakable.database.fresh, tombstone(Failure("t1")))
    for _ in range(2):
        await inbox.apply(breakable.database.primary, await breakable.told(), FraudRules())
    await seals.seal(breakable.database.primary)
    await checkpoints.take(breakable.database.primary, SharedKey(bytes(32)))
    await prove(breakable.database, incremental=False, asked_by="test")
    return breakable


@pytest.fixture
def forged(books: "Books") -> Forged:
    """Return how to forge a table, and put it back as it was when the block ends."""

    @asynccontextmanager
    async def forge(table: str, forgery: str) -> AsyncIterator[None]:
        await books.execute(f"CREATE TABLE kept AS TABLE {table}")
        await books.tamper(table, forgery)
        yield
        await books.tamper(table, f"TRUNCATE {table}")
        await books.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept")
        await books.execute("DROP TABLE kept")

    return forge
