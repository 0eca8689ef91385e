"""This module is where transfers that nobody drives any more are taken to their end."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.orders import asked_for, freezing
from wallet_common.wallet import Direction
from wallet_db_orm import transfers

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker

Until = Callable[..., Awaitable[None]]


@pytest.fixture
def direct(worker_at: Callable[[None], "Worker"]) -> "Worker":
    """Return a worker without a broker; its parts are started by the test."""
    return worker_at(None)


@pytest.fixture
async def abandoned(bank: "Bank") -> list[str]:
    """Return twenty transfers whose driver died right after the sender had paid."""
    await bank.deposits(1, *(f"from{number}" for number in range(20)), "to")
    return [await bank.abandon_transfer(f"from{number}", "to", "3.00") for number in range(20)]


async def states(bank: "Bank") -> dict[str, int]:
    rows = await bank.rows("SELECT state, count(*) FROM transfers GROUP BY state")
    return {row["state"]: row["count"] for row in rows}


async def is_over(bank: "Bank") -> bool:
    return "debited" not in await states(bank)


async def test_abandoned_transfers_arrive_without_their_client(
    bank: "Bank", direct: "Worker", until: Until, abandoned: list[str]
) -> None:
    """Every transfer that stopped half-way is completed, and the money is there once."""
    direct.start_recovery()

    await until(lambda: is_over(bank))

    assert await states(bank) == {"completed": 20}
    assert await bank.value("SELECT balance_minor FROM wallets WHERE id = 'to'") == 1_000 + 20 * 300


async def test_two_recoverers_do_what_one_does(
    bank: "Bank", direct: "Worker", until: Until, abandoned: list[str]
) -> None:
    """Recovery twice at once, and the driver waking up late: each step is taken once."""
    for _ in range(2):
        direct.start_recovery()
    late = [
        await transfers.load(bank.database.primary, f"from{n}", abandoned[n]) for n in range(20)
    ]

    await until(lambda: is_over(bank))
    for stored in late:
        await transfers.finish(bank.lanes, stored)

    assert await bank.value("SELECT balance_minor FROM wallets WHERE id = 'to'") == 1_000 + 20 * 300
    direct.start_direct()
    await until(bank.is_quiet)
    assert await bank.violations() == []


async def test_what_cannot_arrive_goes_back(
    bank: "Bank", direct: "Worker", until: Until, abandoned: list[str]
) -> None:
    """The recipient was frozen meanwhile: every sender has its money back, the transfers failed."""
    freeze = freezing("to", Direction.IN)
    await bank.lanes.submit(asked_for(freeze))
    direct.start_recovery()

    await until(lambda: is_over(bank))

    assert await states(bank) == {"failed": 20}
    balances = await bank.rows("SELECT balance_minor FROM wallets")
    assert {row["balance_minor"] for row in balances} == {1_000}
    direct.start_direct()
    await until(bank.is_quiet)
    assert await bank.violations() == []


async def test_one_that_cannot_be_finished_holds_up_no_other(
    bank: "Bank", direct: "Worker", until: Until, abandoned: list[str]
) -> None:
    """A transfer whose end fails again and again stays; the others are completed."""
    await bank.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.id = '{abandoned[0]}' THEN RAISE EXCEPTION 'not this one'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON transfers
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    direct.start_recovery()
    await until(lambda: is_left(bank, 1))

    await bank.relent()

    await until(lambda: is_over(bank))
    assert await states(bank) == {"completed": 20}


async def is_left(bank: "Bank", count: int) -> bool:
    return (await states(bank)).get("debited") == count
