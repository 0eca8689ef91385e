"""This module is where it is shown what an event would change, and that looking changes nothing."""

from typing import TYPE_CHECKING

import asyncpg
import msgspec
import pytest

from wallet_common.events import Event, FundsWithdrawn
from wallet_common.fraud import FraudRules
from wallet_common.money import Amount
from wallet_db_orm import inbox
from wallet_db_orm.preview import preview

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Builders, Ledger

RULES = FraudRules(3, 60, Amount(50, 0))


@pytest.fixture
async def withdrawn(ledger: "Ledger", a: "Builders") -> Event:
    """Return the event of a large withdrawal that nobody has applied, its deposit's being so."""
    await ledger.post(a.deposit("ann", "100.00"))
    await inbox.apply(ledger.database.primary, await ledger.told(), RULES)
    await ledger.post(a.withdrawal("ann", "60.00"))
    (event,) = await ledger.told()
    assert isinstance(event, FundsWithdrawn)
    return event


async def test_the_preview_is_what_then_happens(ledger: "Ledger", withdrawn: Event) -> None:
    """What is foretold, flags and all, is what the inbox does; then nothing more would change."""
    engine = ledger.database.primary

    foretold = await preview(engine, withdrawn, RULES)
    await inbox.apply(engine, [withdrawn], RULES)
    afterwards = await preview(engine, withdrawn, RULES)

    assert foretold.before is not None
    assert foretold.after is not None
    assert foretold.before.total_withdrawn == "0.00"
    assert (foretold.after.total_withdrawn, foretold.after.suspicious) == ("60.00", True)
    assert len(foretold.after.flags) == 1
    assert afterwards.before == afterwards.after
    assert afterwards.before is not None
    assert afterwards.before.total_withdrawn == foretold.after.total_withdrawn
    assert "applied before" in str(afterwards.reason)


async def test_a_preview_leaves_no_trace(
    ledger: "Ledger", withdrawn: Event, database_url: str
) -> None:
    """No row of any table is another one afterwards."""
    tables = ("wallet_stats", "fraud_flags", "processed_events", "events", "outbox")
    look = ", ".join(f"(SELECT json_agg(t)::text FROM {each} t)" for each in tables)
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    before = await connection.fetchrow(f"SELECT {look}")

    await preview(ledger.database.primary, withdrawn, RULES)

    assert await connection.fetchrow(f"SELECT {look}") == before
    await connection.close()


async def test_a_stranger_has_no_projection(ledger: "Ledger", withdrawn: Event) -> None:
    """A wallet that nobody has: nothing before, nothing after, and why."""
    stranger = msgspec.structs.replace(withdrawn, wallet_id="nobody")

    told = await preview(ledger.database.primary, stranger, RULES)

    assert (told.before, told.after) == (None, None)
    assert "no wallet nobody" in str(told.reason)
