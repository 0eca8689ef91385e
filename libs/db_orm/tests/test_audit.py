"""This module is where each request leaves one row, in the transaction of what it did."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from asyncpg import CheckViolationError

from wallet_common.errors import IdempotencyKeyReused
from wallet_common.transfer import TransferState

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

FULL = "92233720368547758.07"


async def test_a_deposit_its_refusal_and_its_replay_leave_a_row_each(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Every request has its own row with the status it was answered, refusals and repeats too."""
    await ledger.post(a.deposit("w1", "5.00", request_id="k1"), audited=True)
    await ledger.record(a.withdrawal("w1", "9.00", request_id="k2"), audited=True)
    await ledger.record(a.deposit("w1", "5.00", request_id="k1"), audited=True)
    await ledger.record(a.withdrawal("w1", "9.00", request_id="k2"), audited=True)
    reused = await ledger.ask(a.withdrawal("w1", "1.00", request_id="k1"), audited=True)
    assert isinstance(reused, IdempotencyKeyReused)
    await ledger.ask(a.withdrawal("nobody", "1.00", request_id="k3"), audited=True)

    rows = await books.rows("SELECT * FROM api_audit ORDER BY id")
    assert [(row["request_id"], row["status"]) for row in rows] == [
        *(("k1", 201), ("k2", 422), ("k1", 201), ("k2", 422), ("k1", 422)),
        ("k3", 422),
    ]
    assert all(row["duration_us"] >= 0 and row["body"] == b"{}" for row in rows)


async def test_an_operation_and_its_event_name_the_row_of_their_request(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Operation, entry, event and audit row carry the same audit id and trace id."""
    await ledger.post(a.deposit("w1", "5.00"), audited=True)

    audit_id = await books.value("SELECT id FROM api_audit")
    for table in ("operations", "ledger_entries", "events"):
        links = await books.rows(f"SELECT DISTINCT audit_id, trace_id FROM {table}")
        assert links == [{"audit_id": audit_id, "trace_id": f"trace-{audit_id}"}]


async def test_racing_repeats_leave_a_row_each(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """64 identical requests at once are one operation and 64 audit rows."""
    await asyncio.gather(
        *(
            (ledger, other)[n % 2].post(a.deposit("w1", "5.00", request_id="k1"), audited=True)
            for n in range(64)
        )
    )

    assert await books.count("operations") == 1
    assert await books.count("api_audit WHERE status = 201") == 64


async def test_no_money_moves_without_its_audit_row(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """When the audit row cannot be written nothing happens, and the key stays free."""
    await ledger.post(a.deposit("w1", "5.00"), audited=True)
    await books.execute("ALTER TABLE api_audit ADD CONSTRAINT jammed CHECK (status = 0) NOT VALID")

    with pytest.raises(CheckViolationError):
        await ledger.record(a.deposit("w1", "5.00", request_id="k1"), audited=True)

    assert await books.balances() == {"w1": 500}
    await books.execute("ALTER TABLE api_audit DROP CONSTRAINT jammed")
    recorded = await ledger.record(a.deposit("w1", "5.00", request_id="k1"), audited=True)
    assert not recorded.is_replay


async def test_a_completed_transfer_is_audited_once_at_its_end(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """While the answer is open there is no row; the end writes it, once, with the true status."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "5.00"))

    stored = await ledger.debit(a.transfer("w1", "w2", "1.00", request_id="k1"), audited=True)
    open_rows = await books.count("api_audit")
    await asyncio.gather(*(ledger.finished(stored) for _ in range(5)))

    assert open_rows == 0
    rows = await books.rows("SELECT id, status, request_id FROM api_audit")
    assert [(row["status"], row["request_id"]) for row in rows] == [(201, "k1")]
    assert rows[0]["id"] == await books.value("SELECT audit_id FROM transfers")
    assert await books.count("transfers WHERE audit IS NOT NULL") == 0


async def test_a_compensated_transfer_is_audited_as_refused(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A transfer that came back has one row, 422, whoever drove it to its end."""
    await ledger.post(a.deposit("w1", "5.00"))
    await ledger.post(a.deposit("full", FULL))
    stored = await ledger.debit(a.transfer("w1", "full", "1.00"), audited=True)

    ended = await other.finished(stored)

    assert ended.state is TransferState.FAILED
    rows = await books.rows("SELECT status FROM api_audit")
    assert [row["status"] for row in rows] == [422]
    same_transaction = """
        SELECT count(DISTINCT xmin::text) FROM (
            SELECT xmin FROM api_audit
            UNION ALL SELECT xmin FROM transfers
            UNION ALL SELECT xmin FROM ledger_entries WHERE type = 'transfer_refund'
            UNION ALL SELECT xmin FROM events WHERE type = 'TransferFailed'
        ) AS written
    """
    assert await books.value(same_transaction) == 1


async def test_a_transfer_refused_at_once_is_audited_at_once(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """A transfer that never starts has its row in the transaction that refused it."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "5.00"))

    await ledger.record(a.transfer("w1", "w2", "9.00"), audited=True)

    rows = await books.rows("SELECT status FROM api_audit")
    assert [row["status"] for row in rows] == [422]
