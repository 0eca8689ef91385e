"""This module is where a month of the audit leaves, and the proof neither cries wolf nor sleeps."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from wallet_common.errors import Busy
from wallet_db_orm import archive, invariants, seals, verify
from wallet_db_orm.archive import Exported, NotArchivable
from wallet_db_orm.partitions import first_id, month_after, partitions
from wallet_db_orm.reading import Invariant, Reading

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

Until = Callable[..., Awaitable[bool]]
OLD = month_after(datetime.now(UTC), -14)
MONTH = f"api_audit_{OLD:%Y_%m}"
HASH = "0" * 64


class Paper:
    """Where an exported partition goes."""

    def __init__(self) -> None:
        self.written = b""

    async def write(self, piece: bytes) -> None:
        self.written += piece


async def export(ledger: "Ledger") -> Exported:
    return await archive.export(ledger.database.primary, MONTH, Paper().write)


def id_of_then() -> str:
    """Return an audit id that was drawn in the month that leaves."""
    return str(UUID(int=first_id(OLD).int + secrets.randbits(72)))


@pytest.fixture
async def moved(breakable: "Ledger", a: "Builders", books: "Books") -> "Ledger":
    """Return books with an audit row, of long ago, for each of two deposits, a refusal, a move."""
    breakable.new_audit_id = id_of_then
    await breakable.post(a.deposit("ann", "5.00"), audited=True)
    await breakable.record(a.withdrawal("ann", "9.00"), audited=True)
    await breakable.post(a.deposit("bob", "5.00"), audited=True)
    await breakable.transfer(a.transfer("ann", "bob", "1.00"), audited=True)
    assert await books.value("SELECT make_audit_month($1)", OLD.date()) == "made"
    await seals.seal(breakable.database.primary)
    return breakable


async def test_after_an_archive_the_books_are_still_right(moved: "Ledger", books: "Books") -> None:
    """The rows are in the file, the table is gone, what was there is noted, the proof holds."""
    paper = Paper()
    exported = await archive.export(moved.database.primary, MONTH, paper.write)

    noted = await archive.drop(moved.database.primary, MONTH, exported, HASH)

    assert exported == Exported(rows=4, operations=5), "a transfer has an operation at either end"
    assert paper.written.count(b"\n") == 1 + 4
    assert await books.count("api_audit") == 0
    assert MONTH not in [each.name for each in await partitions(moved.database.primary)]
    assert list(await archive.archived(moved.database.primary)) == [noted]
    assert (noted.name, noted.rows, noted.operations, noted.sha256) == (MONTH, 4, 5, HASH)
    assert await moved.violations() == {}


async def test_the_file_can_be_read_back(moved: "Ledger", books: "Books") -> None:
    """COPY brings back every row as it was, into any table of that shape."""
    before = await books.rows(f"SELECT * FROM {MONTH} ORDER BY id")
    paper = Paper()
    await archive.export(moved.database.primary, MONTH, paper.write)
    await books.execute(f"CREATE TABLE again (LIKE {MONTH})")

    async def pieces() -> AsyncIterator[bytes]:
        yield paper.written

    async with books.session() as session:
        await session.copy_to_table("again", source=pieces(), format="csv", header=True)

    assert await books.rows("SELECT * FROM again ORDER BY id") == before


async def test_the_proof_still_sees_what_is_amiss(
    moved: "Ledger", books: "Books", a: "Builders"
) -> None:
    """An archive excuses the operations that it held, by number, and no others."""
    await archive.drop(moved.database.primary, MONTH, await export(moved), HASH)
    await moved.post(a.deposit("cid", "5.00"), audited=True)
    assert await moved.violations() == {}, "a new row goes to the rest"

    await books.tamper("api_audit", "DELETE FROM api_audit")

    violations = await moved.violations()
    assert set(violations) == {"A5", "A7"}
    assert "cid" in {each["walletId"] for each in violations["A7"]}


NOTE = """
    INSERT INTO archived_partitions (name, from_id, to_id, rows, operations, sha256)
    VALUES ($1, $2, $3, $4, 1, repeat('0', 64))
"""


async def test_a_note_of_an_archive_excuses_no_row_of_a_month_that_is_here(
    moved: "Ledger", books: "Books"
) -> None:
    """A deleted row and a note that fits it, whatever that calls itself: both are told."""
    lost = await books.value(f"SELECT id FROM {MONTH} WHERE wallet_id = 'bob'")
    await books.tamper("api_audit", "DELETE FROM api_audit WHERE id = $1", lost)
    month = (first_id(OLD), first_id(month_after(OLD, 1)))

    for name, bounds in ((MONTH, month), ("a_note", (lost, UUID(int=lost.int + 1)))):
        await books.execute(NOTE, name, *bounds, 1)

        found = (await moved.violations())["A5"]

        assert {each["archived"] for each in found} == {name}
        assert {each["auditId"] for each in found} == {str(lost), None}
        await books.tamper("archived_partitions", "DELETE FROM archived_partitions")


async def test_a_note_is_right_to_the_row(moved: "Ledger", books: "Books") -> None:
    """One row more or fewer than were sealed, a month that is not over, or another's: told."""
    await archive.drop(moved.database.primary, MONTH, await export(moved), HASH)
    assert await moved.violations() == {}

    for change, back in (
        ("rows = rows + 1", "rows = rows - 1"),
        ("rows = rows - 1", "rows = rows + 1"),
        ("archived_at = archived_at - interval '2 years'", "archived_at = clock_timestamp()"),
        ("archived_at = archived_at + interval '2 years'", "archived_at = clock_timestamp()"),
        ("name = 'api_audit_1999_01'", f"name = '{MONTH}'"),
    ):
        for sql in (change, back):
            await books.tamper("archived_partitions", f"UPDATE archived_partitions SET {sql}")
            assert ("A5" in await moved.violations()) == (sql == change), sql


async def test_a_lost_row_comes_to_light_before_its_month_is_archived(
    moved: "Ledger", books: "Books"
) -> None:
    """What somebody deleted behind the books' back is not covered up by an archive."""
    await books.tamper("api_audit", "DELETE FROM api_audit WHERE wallet_id = 'bob'")

    with pytest.raises(NotArchivable, match="1 operations"):
        await archive.drop(moved.database.primary, MONTH, await export(moved), HASH)

    assert await books.count(MONTH) == 3


async def test_a_transfer_on_its_way_keeps_its_audit(
    moved: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Its row is written at its end, after its month was archived: nothing is amiss at any time."""
    stored = await moved.debit(a.transfer("ann", "bob", "1.00"), audited=True)
    await archive.drop(moved.database.primary, MONTH, await export(moved), HASH)
    assert await moved.violations() == {}

    await moved.finished(stored)

    assert await books.count("api_audit_rest") == 1
    assert await moved.violations() == {}


async def test_a_row_that_came_later_is_not_thrown_away(
    moved: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Between file and database one row differs: nothing is dropped."""
    exported = await export(moved)
    await moved.post(a.deposit("cid", "5.00"), audited=True)
    await seals.seal(moved.database.primary)

    with pytest.raises(NotArchivable, match="5 rows, 4 were written"):
        await archive.drop(moved.database.primary, MONTH, exported, HASH)

    assert await books.count(MONTH) == 5


@pytest.mark.parametrize(
    "name", ["ledger_entries", "api_audit", "api_audit_rest", "api_audit_1999_01", "wallets"]
)
async def test_only_a_month_of_the_audit_can_leave(ledger: "Ledger", name: str) -> None:
    """Neither money nor the rest nor the whole audit, whoever asks for it."""
    with pytest.raises(NotArchivable):
        await archive.export(ledger.database.primary, name, Paper().write)
    with pytest.raises(NotArchivable):
        await archive.drop(ledger.database.primary, name, Exported(0, 0), HASH)


async def test_a_running_proof_sees_all_of_it_or_none(
    moved: "Ledger", books: "Books", until: Until
) -> None:
    """An archive waits for a proof that has begun: rows and note change in one instant for it."""
    exported = await export(moved)
    async with books.session() as proof:
        await proof.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await proof.execute("LOCK TABLE archived_partitions IN ACCESS SHARE MODE")
        dropping = asyncio.create_task(archive.drop(moved.database.primary, MONTH, exported, HASH))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        for _ in range(2):
            assert await until(lambda: books.value(waits))
            assert await until(lambda: is_none(books, waits))
        assert await proof.fetchval("SELECT count(*) FROM api_audit") == 4
        assert await proof.fetchval("SELECT count(*) FROM archived_partitions") == 0
        await proof.execute("COMMIT")
        await dropping

    assert await moved.violations() == {}


async def is_none(books: "Books", sql: str) -> bool:
    return not await books.value(sql)


async def test_the_lock_is_taken_before_the_snapshot(books: "Books") -> None:
    """LOCK TABLE fixes no snapshot: a proof that had to wait for it sees the archive's end."""
    async with books.session() as proof:
        await proof.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await proof.execute("SET LOCAL statement_timeout = 0")
        await proof.execute("LOCK TABLE archived_partitions IN ACCESS SHARE MODE")
        await books.execute(
            "INSERT INTO archived_partitions VALUES ('x', $1, $2, 0, 0, $3)",
            *(UUID(int=0), first_id(month_after(datetime.now(UTC), 0)), HASH),
        )
        assert await proof.fetchval("SELECT count(*) FROM archived_partitions") == 1


async def test_who_never_lets_go_is_not_waited_for_for_ever(
    moved: "Ledger", books: "Books", monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many attempts the archive gives up with nothing done."""
    monkeypatch.setattr("wallet_db_orm.partitions._TRIES", 2)
    exported = await export(moved)
    async with books.session() as reader, reader.transaction():
        await reader.execute("LOCK TABLE archived_partitions IN ACCESS SHARE MODE")

        with pytest.raises(Busy):
            await archive.drop(moved.database.primary, MONTH, exported, HASH)

    assert await books.count(MONTH) == 4


async def test_what_was_archived_cannot_be_forgotten(moved: "Ledger", books: "Books") -> None:
    """The notes are append-only as what they stand for."""
    await archive.drop(moved.database.primary, MONTH, await export(moved), HASH)

    for attempt in ("UPDATE archived_partitions SET rows = 0", "DELETE FROM archived_partitions"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await books.execute(attempt)


async def test_a_proof_takes_as_long_as_the_books_are_big(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the server's limit for a request's statement nor the driver's ends a proof."""
    limits = {"command_timeout": 0.5, "server_settings": {"statement_timeout": "500"}}
    engine = create_async_engine(database_url, poolclass=NullPool, connect_args=limits)
    slow = Reading(
        (Invariant("X", "slow", "wallets"),), "SELECT '' AS \"X\" FROM pg_sleep(1) OFFSET 1"
    )
    monkeypatch.setattr(invariants, "INVARIANTS", (slow,))

    report = await verify.verify(engine)

    assert report.ok
    assert report.invariants[0].seconds > 1
