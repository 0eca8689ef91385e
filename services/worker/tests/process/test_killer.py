"""This module is where a message kills every worker that handles it, and takes no other along."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_common import topology as names
from wallet_common.topology import Topology
from wallet_tools.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker
    from services.worker.tests.process.conftest import Process, Tap

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]
NEIGHBOURS = [f"w{number}" for number in range(30)]
# Whoever applies the killer's deposit has to wait for this lock, and dies waiting.
TRAP = 4_711


async def lay_trap(bank: "Bank") -> asyncpg.Connection:
    """Make the killer's deposit wait for a lock that the session returned holds."""
    await bank.execute(f"""
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.wallet_id = 'killer' AND NEW.total_deposited_minor > 0 THEN
                PERFORM pg_advisory_xact_lock({TRAP});
            END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER wait BEFORE INSERT ON wallet_stats FOR EACH ROW EXECUTE FUNCTION wait()
    """)
    holder = await bank.session()
    await holder.execute(f"SELECT pg_advisory_lock({TRAP})")
    return holder


def killers(tap: "Tap") -> list[bytes]:
    """Return the killer's deposits that the stranger has heard of."""
    return [
        each.body
        for each in tap.heard
        if b'"killer"' in each.body and each.routing_key == "FundsDeposited"
    ]


async def test_a_killer_goes_alone(
    bank: "Bank",
    broker: RabbitServer,
    worker_at: Callable[..., "Worker"],
    start: Callable[..., "Process"],
    tap: "Tap",
    topology: Topology,
    until: Until,
) -> None:
    """Every worker dies over one message: it ends as a letter, and those beside it take effect."""
    relay = worker_at(broker.url)
    relay.start_relay()
    await bank.deposits(1, *NEIGHBOURS[:15], "killer", *NEIGHBOURS[15:])
    await until(bank.has_sent_all)
    # The broker has confirmed it; the stranger hears of it a moment later.
    await until(lambda: killers(tap))
    (killer,) = killers(tap)
    holder = await lay_trap(bank)
    caught = f"""
        SELECT count(*) > 0 FROM pg_locks
        WHERE locktype = 'advisory' AND objid = {TRAP} AND NOT granted
    """

    async def is_over() -> bool:
        return await tap.depth(topology.dead_letter_queue) > 0

    deaths = 0
    while not await is_over():
        victim = start(broker.url)

        async def has_met_it() -> bool:
            return bool(await bank.value(caught)) or await is_over()

        await until(has_met_it, 60)
        if await bank.value(caught):
            victim.kill()
            deaths += 1
            await until(lambda: bank.value(f"SELECT NOT ({caught})"))

    start(broker.url)
    await until(lambda: bank.lacks(1), 30)
    await holder.close()
    assert deaths == 21
    await check_letter(tap, topology, killer)


async def check_letter(tap: "Tap", topology: Topology, body: bytes) -> None:
    """Assert that this body is the one dead letter, and says why it is there."""
    letters = await tap.queue(topology.dead_letter_queue)
    letter = await letters.get(no_ack=True)
    assert letter is not None
    assert letter.body == body
    assert letter.headers[names.ERROR_CLASS_HEADER] == "OftenReturned"
    assert letter.headers[names.ROUTING_KEY_HEADER] == "FundsDeposited"
    assert await letters.get(fail=False) is None
