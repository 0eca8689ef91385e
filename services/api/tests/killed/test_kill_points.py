"""
Promises about a death at each step: before COMMIT nothing happened, after it all of it did.

The names of the steps are those of docs/faults.md. A lock or a trap shows that the process is at
its step, or the wire holds back the one message after which it dies.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest

from wallet_db_orm.database import Database, statement
from wallet_db_orm.verify import verify

if TYPE_CHECKING:
    import subprocess

    from services.api.tests.killed.conftest import Trap, Victim, Wire

Eventually = Callable[..., Awaitable[object]]
Worker = Callable[[], "subprocess.Popen[bytes]"]

# What a transaction's ends look like on the wire, asked and answered.
BEGIN, COMMIT, COMMITTED = b"BEGIN;\0", b"COMMIT;\0", b"C\0\0\0\x0bCOMMIT\0"

pytestmark = pytest.mark.slow


@asynccontextmanager
async def asking(victim: "Victim", path: str, body: dict[str, str]) -> AsyncIterator[None]:
    """Send a request whose answer never comes; inside, it is under way."""
    async with httpx.AsyncClient(base_url=victim.url, timeout=30) as client:
        asked = asyncio.create_task(client.post(f"/v1/wallets{path}", json=body))
        yield
        with pytest.raises(httpx.TransportError):
            await asked


async def prove(database_url: str) -> None:
    database = Database(database_url, application_name="kill-points", pool_size=2)
    async with statement(database.primary) as driver:
        # The trap is none of the schema's own triggers.
        await driver.execute("DROP FUNCTION IF EXISTS trap() CASCADE")
    report = await verify(database.primary)
    await database.dispose()
    assert [each.id for each in report.invariants if each.violations] == []


async def deposited(api: httpx.AsyncClient, wallet_id: str, amount: str) -> None:
    answer = await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": amount})
    assert answer.status_code == 201, answer.text


async def nobody_writes(sql: asyncpg.Connection) -> bool:
    """Whether the dead process's session has left the database, with or without its COMMIT."""
    left = await sql.fetchval("""
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'wallet-api' AND state <> 'idle'
    """)
    return bool(left == 0)


async def state_of(sql: asyncpg.Connection) -> str | None:
    state: str | None = await sql.fetchval("SELECT state FROM transfers")
    return state


@pytest.mark.parametrize(
    ("held", "table", "done"),
    [
        pytest.param(BEGIN, None, False, id="D0"),
        pytest.param(None, "lock operations", False, id="D1"),
        pytest.param(None, "ledger_entries", False, id="D2"),
        pytest.param(None, "events", False, id="D3"),
        pytest.param(None, "api_audit", False, id="D4"),
        pytest.param(COMMIT, None, False, id="D5"),
        pytest.param(COMMITTED, None, True, id="D6"),
    ],
)
async def test_a_deposit_whose_process_dies(
    api: httpx.AsyncClient,
    victim: "Victim",
    wire: "Wire",
    trap: "Trap",
    sql: asyncpg.Connection,
    eventually: Eventually,
    database_url: str,
    held: bytes | None,
    table: str | None,
    done: bool,
) -> None:
    """Killed at this step: there is all of it or nothing, and the same key brings it about once."""
    await deposited(api, "w", "1.00")
    body = {"amount": "5.00", "requestId": "k"}
    if held:
        wire.hold(held)
    elif table and table.startswith("lock "):
        await trap.lock(table.removeprefix("lock "))
    elif table:
        await trap.before_rows_of(table)

    async with asking(victim, "/w/deposit", body):
        await (asyncio.wait_for(wire.holds.wait(), 60) if held else eventually(trap.has_caught))
        victim.kill()
        await wire.close()  # A dead process holds no connection.
    if table:
        await trap.release()

    await eventually(lambda: nobody_writes(sql))
    rows = await sql.fetchval("SELECT count(*) FROM operations WHERE request_id = 'k'")
    assert rows == (1 if done else 0)
    answer = await api.post("/v1/wallets/w/deposit", json=body)
    assert (answer.status_code, answer.json()["balance"]) == (201, "6.00")
    assert ("Idempotent-Replay" in answer.headers) is done
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 2
    await prove(database_url)


async def test_a_deposit_whose_process_dies_after_its_answer(
    api: httpx.AsyncClient, victim: "Victim", database_url: str
) -> None:
    """D7: what was told before the death is told again, to the byte."""
    body = {"amount": "5.00", "requestId": "k"}
    async with httpx.AsyncClient(base_url=victim.url, timeout=30) as client:
        first = await client.post("/v1/wallets/w/deposit", json=body)
        victim.kill()

    again = await api.post("/v1/wallets/w/deposit", json=body)

    assert first.status_code == 201
    assert (again.status_code, again.content) == (first.status_code, first.content)
    await prove(database_url)


# A transfer is three transactions: the debit (which also initiates it), the credit, the end.
TRANSFER = {
    "T2": (COMMIT, 1, None),
    "T3": (COMMITTED, 1, "debited"),
    "T4": (COMMIT, 2, "debited"),
    "T5": (COMMITTED, 2, "debited"),
    "T6": (COMMIT, 3, "debited"),
    "T7": (COMMITTED, 3, "completed"),
}


async def die_amid_transfer(
    victim: "Victim", wire: "Wire", sql: asyncpg.Connection, eventually: Eventually, point: str
) -> dict[str, str]:
    """Let the process die at this step of a transfer of 4.00, and return what was asked."""
    body = {"amount": "4.00", "toWalletId": "to", "requestId": "k"}
    held, nth, state = TRANSFER[point]
    wire.hold(held, nth)
    async with asking(victim, "/from/transfer", body):
        await asyncio.wait_for(wire.holds.wait(), 60)
        victim.kill()
        await wire.close()  # A dead process holds no connection.

    await eventually(lambda: nobody_writes(sql))
    assert await state_of(sql) == state
    return body


@pytest.mark.parametrize("point", TRANSFER)
async def test_a_transfer_whose_process_dies(
    api: httpx.AsyncClient,
    victim: "Victim",
    wire: "Wire",
    sql: asyncpg.Connection,
    eventually: Eventually,
    database_url: str,
    point: str,
) -> None:
    """Killed at this step, asked again with the same key: the money arrives, once."""
    await deposited(api, "from", "10.00")
    await deposited(api, "to", "1.00")

    body = await die_amid_transfer(victim, wire, sql, eventually, point)

    answer = await api.post("/v1/wallets/from/transfer", json=body)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (201, "completed")
    assert (told["fromBalance"], told["toBalance"]) == ("6.00", "5.00")
    assert ("Idempotent-Replay" in answer.headers) is (point != "T2")
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 4
    await prove(database_url)


# In T4 and T6 the books are as in these: what was not committed is gone.
@pytest.mark.parametrize("point", ["T3", "T5"])
async def test_a_transfer_that_nobody_asks_for_again(
    api: httpx.AsyncClient,
    victim: "Victim",
    wire: "Wire",
    sql: asyncpg.Connection,
    eventually: Eventually,
    start_worker: Worker,
    database_url: str,
    point: str,
) -> None:
    """Killed at this step and never asked again: a worker brings the money there, once."""
    await deposited(api, "from", "10.00")
    await deposited(api, "to", "1.00")
    body = await die_amid_transfer(victim, wire, sql, eventually, point)

    start_worker()

    async def has_arrived() -> bool:
        return await state_of(sql) == "completed"

    # A second or two after the worker is up; that may take long where there is much else to do.
    await eventually(has_arrived, 75)
    answer = await api.post("/v1/wallets/from/transfer", json=body)
    assert (answer.status_code, answer.json()["toBalance"]) == (201, "5.00")
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 4
    await prove(database_url)


@pytest.mark.parametrize(
    ("held", "nth", "state"),
    [
        pytest.param(COMMITTED, 1, "debited", id="TC1"),
        pytest.param(COMMIT, 2, "debited", id="TC2"),
        pytest.param(COMMITTED, 2, "failed", id="TC3"),
    ],
)
async def test_a_compensation_whose_process_dies(
    api: httpx.AsyncClient,
    victim: "Victim",
    wire: "Wire",
    sql: asyncpg.Connection,
    eventually: Eventually,
    database_url: str,
    held: bytes,
    nth: int,
    state: str,
) -> None:
    """The recipient is frozen after the debit, the process dies: one refund, and no credit ever."""
    await deposited(api, "from", "10.00")
    await deposited(api, "to", "1.00")
    body = {"amount": "4.00", "toWalletId": "to", "requestId": "k"}
    wire.hold(COMMITTED)
    async with asking(victim, "/from/transfer", body):
        await asyncio.wait_for(wire.holds.wait(), 60)
        freeze = {"direction": "in", "reason": "asked"}
        assert (await api.post("/v1/wallets/to/freeze", json=freeze)).status_code == 201
        wire.hold(held, nth)
        await asyncio.wait_for(wire.holds.wait(), 60)
        victim.kill()
        await wire.close()  # A dead process holds no connection.

    await eventually(lambda: nobody_writes(sql))
    assert await state_of(sql) == state
    first = await api.post("/v1/wallets/from/transfer", json=body)
    await api.post("/v1/wallets/to/unfreeze", json={})
    again = await api.post("/v1/wallets/from/transfer", json=body)
    assert (first.status_code, first.json()["code"]) == (422, "wallet_frozen")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    balances = await sql.fetch("SELECT id, balance_minor FROM wallets ORDER BY id")
    assert [tuple(each) for each in balances] == [("from", 1000), ("to", 100)]
    await prove(database_url)
