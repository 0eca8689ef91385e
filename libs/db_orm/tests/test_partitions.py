"""This module is where the audit's months are made ahead, whatever the rest holds of them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from wallet_db_orm import partitions, storage
from wallet_db_orm.ids import new_id
from wallet_db_orm.partitions import Partition, first_id, instant_of, month_after
from wallet_db_orm.storage import MOVED_MAX

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger

NOW = datetime.now(UTC)
Until = Callable[..., Awaitable[bool]]
# Whoever writes a row queues it for its seal.
INSERT = """
WITH written AS (
    INSERT INTO api_audit SELECT id, clock_timestamp(), 'POST', '/', '', '{}', NULL, 201,
        NULL, NULL, NULL, 't', 1 FROM unnest($1::uuid[]) AS id
    ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO unsealed_audit (ids) SELECT array_agg(id) FROM written HAVING count(*) > 0
"""


def name_of(months_ahead: int) -> str:
    return f"api_audit_{month_after(NOW, months_ahead):%Y_%m}"


def id_in(months_ahead: int, nth: int = 0) -> UUID:
    return UUID(int=first_id(month_after(NOW, months_ahead)).int + nth)


async def homes(books: "Books") -> dict[UUID, str]:
    """Return, by id, the partition in which each row is."""
    rows = await books.rows("SELECT id, tableoid::regclass::text AS home FROM api_audit")
    return {row["id"]: row["home"] for row in rows}


async def forget(books: "Books", *months_ahead: int) -> None:
    """Make it so that nobody has made these months' partitions."""
    for month in months_ahead:
        await books.execute(f"DROP TABLE {name_of(month)}")


def test_a_month_is_a_range_of_ids() -> None:
    """The bounds enclose what is drawn in between, over the year's end too."""
    december = datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)

    assert month_after(december, 0) == datetime(2026, 12, 1, tzinfo=UTC)
    assert month_after(december, 1) == datetime(2027, 1, 1, tzinfo=UTC)
    assert month_after(december, -12) == datetime(2025, 12, 1, tzinfo=UTC)
    assert instant_of(first_id(december)) == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert first_id(month_after(NOW, 0)) < UUID(new_id()) < first_id(month_after(NOW, 1))


async def test_each_row_is_where_its_id_belongs(ledger: "Ledger", books: "Books") -> None:
    """The last id of a month and the first of the next part; a far-off one goes to the rest."""
    last = UUID(int=id_in(1).int - 1)
    far, broken = UUID(int=(1 << 128) - 1), UUID(int=0)

    await books.execute(INSERT, [last, id_in(1), far, broken])

    assert await homes(books) == {
        last: name_of(0),
        id_in(1): name_of(1),
        far: "api_audit_rest",
        broken: "api_audit_rest",
    }
    await books.execute(INSERT, [last, id_in(1), far, broken])
    assert await books.count("api_audit") == 4, "a row is written once, in whichever partition"


async def test_months_are_made_ahead_once(ledger: "Ledger", books: "Books") -> None:
    """What lacks is made; asked again there is nothing to do."""
    made = await partitions.ensure(ledger.database.primary, months_ahead=5)
    again = await partitions.ensure(ledger.database.primary, months_ahead=5)

    assert list(made.created) == [name_of(4), name_of(5)]
    assert not again.created
    listed = await partitions.partitions(ledger.database.primary)
    assert [each.name for each in listed] == [*(name_of(n) for n in range(6)), "api_audit_rest"]
    assert [each.to_id for each in listed[:5]] == [each.from_id for each in listed[1:6]]


async def test_many_at_once_make_each_month_once(
    ledger: "Ledger", other: "Ledger", books: "Books"
) -> None:
    """Upkeepers that start together share the work; none fails, none makes anything twice."""
    engines = [ledger.database.primary, other.database.primary] * 3

    made = await asyncio.gather(*(partitions.ensure(each, months_ahead=9) for each in engines))

    created = sorted(name for each in made for name in each.created)
    assert created == sorted(name_of(months) for months in range(4, 10))


async def test_what_the_rest_holds_of_a_month_moves_into_it(
    ledger: "Ledger", books: "Books"
) -> None:
    """Rows that came before their partition are moved, all others stay; none is lost or doubled."""
    early = [id_in(5, nth) for nth in range(100)]
    far = id_in(40)
    await books.execute(INSERT, [*early, far])

    made = await partitions.ensure(ledger.database.primary, months_ahead=6)

    assert list(made.created) == [name_of(4), name_of(5), name_of(6)]
    assert await homes(books) == dict.fromkeys(early, name_of(5)) | {far: "api_audit_rest"}
    with pytest.raises(asyncpg.RestrictViolationError):
        await books.execute("DELETE FROM api_audit_rest")


async def test_a_month_that_nobody_prepared_is_made_up_for(
    ledger: "Ledger", books: "Books"
) -> None:
    """A running month with too many rows in the rest waits until it is over; the next does not."""
    await forget(books, 0, 1)
    many = (
        "WITH written AS (INSERT INTO api_audit_rest"
        " SELECT uuidv7(), now(), 'POST', '/', '', '{}', NULL, 201, NULL, NULL, NULL, 't', 1"
        " FROM generate_series(1, $1::int) RETURNING id)"
        " INSERT INTO unsealed_audit (ids) SELECT array_agg(id) FROM written"
    )
    await books.execute(many, MOVED_MAX + 1)

    made = await partitions.ensure(ledger.database.primary)

    assert list(made.created) == [name_of(1)]
    assert list(made.postponed) == [name_of(0)]
    assert await books.count("api_audit") == await books.count("api_audit_rest") == MOVED_MAX + 1


async def test_a_past_month_moves_whole(ledger: "Ledger", books: "Books") -> None:
    """Months that passed without a partition get theirs, and what the rest holds of them."""
    await books.execute(INSERT, [id_in(-2), id_in(-1), id_in(-1, 1)])
    for statement in storage.audit_partition("api_audit_first"):
        await books.execute(statement)
    await books.execute(
        "ALTER TABLE api_audit ATTACH PARTITION api_audit_first"
        f" FOR VALUES FROM ('{UUID(int=0)}') TO ('{id_in(-2)}')"
    )

    made = await partitions.ensure(ledger.database.primary)

    assert list(made.created) == [name_of(-2), name_of(-1)]
    assert await homes(books) == {
        id_in(-2): name_of(-2),
        id_in(-1): name_of(-1),
        id_in(-1, 1): name_of(-1),
    }


async def test_writers_do_not_notice_a_new_partition(ledger: "Ledger", books: "Books") -> None:
    """While a partition is being made, however long that takes, this month's rows come in."""
    async with books.session() as maker, maker.transaction():
        await maker.execute("LOCK TABLE ONLY api_audit IN SHARE UPDATE EXCLUSIVE MODE")
        await maker.execute("LOCK TABLE api_audit_rest IN ACCESS EXCLUSIVE MODE")

        async with books.session() as writer:
            await writer.execute("SET lock_timeout = 50")
            await writer.execute(INSERT, [UUID(new_id())])

    assert await books.count("api_audit") == 1


async def test_a_reader_only_delays_a_new_partition(
    ledger: "Ledger", books: "Books", until: Until
) -> None:
    """Somebody who reads the audit for long is waited for in short attempts."""
    async with books.session() as reader:
        await reader.execute("BEGIN")
        await reader.execute("SELECT count(*) FROM api_audit")
        making = asyncio.create_task(partitions.ensure(ledger.database.primary, months_ahead=4))
        refused = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        for _ in range(2):
            assert await until(lambda: books.value(refused))
            assert await until(lambda: is_none(books, refused))
        await reader.execute("COMMIT")
        assert list((await making).created) == [name_of(4)]


async def is_none(books: "Books", sql: str) -> bool:
    return not await books.value(sql)


@pytest.mark.parametrize("role", ["origin", "replica", "local"])
async def test_every_partition_refuses_every_change(
    ledger: "Ledger", books: "Books", role: str
) -> None:
    """The parent, the rest, an early month and one made just now: the past cannot be changed."""
    await partitions.ensure(ledger.database.primary, months_ahead=4)
    rows = [id_in(0), id_in(4), id_in(90)]
    await books.execute(INSERT, rows)
    tables = ["api_audit", *set((await homes(books)).values())]
    assert len(tables) == 4

    async with books.session() as stranger:
        await stranger.execute(f"SET session_replication_role = {role}")
        for table in tables:
            for attempt in (
                f"UPDATE {table} SET trace_id = 'forged'",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                f"TRUNCATE ONLY {table}" if table != "api_audit" else "TRUNCATE api_audit CASCADE",
            ):
                with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                    await stranger.execute(attempt)

    assert sorted(await homes(books)) == rows


async def test_a_partition_is_like_the_rest_in_all_but_its_bounds(
    ledger: "Ledger", books: "Books"
) -> None:
    """What the migration made and what is made later have the same settings, keys and refusals."""
    await partitions.ensure(ledger.database.primary, months_ahead=4)

    async def traits(table: str) -> list[str]:
        rows = await books.rows(
            """
            SELECT reloptions::text AS trait FROM pg_class WHERE oid = $1::regclass
            UNION ALL
            SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = $1::regclass
            UNION ALL
            SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
            WHERE tgrelid = $1::regclass
            UNION ALL
            SELECT concat(attname, attnum, atttypid, attnotnull) FROM pg_attribute
            WHERE attrelid = $1::regclass AND attnum > 0
            """,
            table,
        )
        return sorted(str(row["trait"]).replace(table, "TABLE") for row in rows)

    rest = await traits("api_audit_rest")
    assert any("autovacuum" in trait for trait in rest)
    assert await traits(name_of(0)) == await traits(name_of(4)) == rest


def test_what_may_be_archived_ended_long_enough_ago() -> None:
    """A month may go when so many whole months lie between its end and the running one's start."""
    now = datetime(2026, 11, 21, tzinfo=UTC)

    def ended(months_ago: int) -> Partition:
        return Partition(
            "p", UUID(int=0), first_id(month_after(now, -months_ago)), rows_estimated=0, bytes=0
        )

    assert ended(12).is_archivable(now)
    assert not ended(11).is_archivable(now)
    assert ended(0).is_archivable(now, keep_months=0)
    assert not ended(-1).is_archivable(now, keep_months=0)
    assert not Partition("api_audit_rest", None, None, 0, 0).is_archivable(now, keep_months=0)
