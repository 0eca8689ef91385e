"""This module is where a relay stops in the middle of a statement."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_db_orm import outbox
from wallet_db_orm.outbox import RelaySession

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Until = Callable[..., Awaitable[bool]]
# More than the sockets between the two take in.
FILLED = """
WITH filler AS (
    INSERT INTO events (wallet_id, id, wallet_version, type, trace_id, payload, occurred_at)
    SELECT 'w1', gen_random_uuid(), 2 + n, 'FundsDeposited', 't',
        json_build_object('x', repeat('x', 100000)), now()
    FROM generate_series(1, 400) AS n
    RETURNING wallet_id, id
)
INSERT INTO outbox (wallet_id, event_id) SELECT wallet_id, id FROM filler
"""
# Longer than a statement may take for the server, and not as long as its client would wait.
PATIENCE_S = outbox.STATEMENT_TIMEOUT_MS / 1000 + 3


@pytest.mark.parametrize("is_prepared", [False, True])
async def test_a_relay_that_stops_within_a_statement_loses_its_place(
    breakable: "Ledger", books: "Books", a: "Builders", until: Until, is_prepared: bool
) -> None:
    """Before it has named the arguments, or amid the answer: the server ends it all the same."""
    await breakable.post(a.deposit("w1", "1.00"))
    await books.execute(FILLED)
    relay, standby = RelaySession(breakable.url), RelaySession(breakable.url)
    assert await relay.acquire()
    if is_prepared:
        await relay.take(1)
    # As if the process were stopped: what arrives stays in its socket.
    relay._held()._transport.pause_reading()
    taking = asyncio.create_task(relay.take(1_000))

    try:
        assert await until(standby.acquire, PATIENCE_S)
    finally:
        taking.cancel()
        await asyncio.wait([taking])
        await relay.close()
        await standby.close()
