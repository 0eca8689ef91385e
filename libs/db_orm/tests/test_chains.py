"""This module is where the chains are written as they are told, and told where they were cut."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import pytest

from wallet_common import chain
from wallet_db_orm.invariants_of_chains import digest_of
from wallet_db_orm.models import api_audit, ledger_entries

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

ODD: Final[Mapping[str, list[object]]] = {
    "text": ["", "a", " a ", "ä€😀", "\x01\n\t", "'\"\\", "\\x00", "x" * 70_000],
    "word": ["", "USD", "@external", "ß"],
    "json": ["{}", " { } ", '{"a":1,"a":2}', '{"a":"\\u0000"}', '{"ä":1e2}', "null"],
    "int8": [0, 1, -1, 2**63 - 1, -(2**63)],
    "int2": [0, 1, -1, 2**15 - 1, -(2**15)],
    "bytea": [b"", b"\x00", bytes(range(256)), b"x" * 70_000],
    "uuid": [str(UUID(int=0)), str(UUID(int=2**128 - 1)), "018f3a5c-0000-7000-8000-0000000000ff"],
    "timestamptz": [
        datetime(2, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 25, 1, 2, 3, 1, UTC),
        datetime(9998, 12, 31, 23, 59, 59, 999999, UTC),
    ],
}


@pytest.mark.parametrize("table", ["ledger_entries", "api_audit"])
async def test_both_spellings_of_a_digest_agree(books: "Books", table: str) -> None:
    """Whatever the columns hold, the service's bytes are those that the server would send."""
    is_entry = table == "ledger_entries"
    columns = chain.ENTRY if is_entry else chain.AUDIT
    digest = chain.entry_digest if is_entry else chain.audit_digest
    choose = random.Random(5)
    await books.execute(f"CREATE TABLE odd (LIKE {table})")
    for name in columns:
        await books.execute(f"ALTER TABLE odd ALTER COLUMN {name} DROP NOT NULL")
    values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    for _ in range(150):
        row = [choose.choice([None, *ODD[kind]]) for kind in columns.values()]
        await books.execute("DELETE FROM odd")
        if is_entry:
            names = ", ".join((*columns, "hash"))
            insert = f"INSERT INTO odd ({names}) VALUES ({values}, '')"
        else:
            insert = f"INSERT INTO odd ({', '.join(columns)}) VALUES ({values})"
        await books.execute(insert, *row)

        assert await books.value(f"SELECT {digest_of(columns)} FROM odd") == digest(row), row


def test_every_column_is_covered() -> None:
    """A column that comes later must not be left out of the digest."""
    assert set(chain.ENTRY) == {column.name for column in ledger_entries.c} - {"hash"}
    assert set(chain.AUDIT) == {column.name for column in api_audit.c}


async def test_a_wallets_entries_are_one_chain_whoever_writes_them(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Batches of two processes, transfers and refusals: each entry continues the one before."""
    await ledger.ask(a.opening("new"))
    for n in range(5):
        await ledger.post(a.deposit("w", "10.00", metadata=f'{{"n":{n}}}', reference="ä"))
        await other.post(a.withdrawal("w", "1.00"), audited=True)
    await other.record(a.withdrawal("w", "1000.00"))
    await ledger.transfer(a.transfer("w", "new", "5.00"))

    columns = ", ".join(chain.ENTRY)
    for wallet_id, entries in (("w", 11), ("new", 1)):
        rows = await books.rows(
            f"SELECT {columns}, hash FROM ledger_entries WHERE wallet_id = $1"
            " ORDER BY wallet_version",
            wallet_id,
        )
        head = chain.NO_HASH
        for row in rows:
            values = [str(v) if isinstance(v, UUID) else v for v in list(row.values())[:-1]]
            head = chain.link(head, chain.entry_digest(values))
            assert row["hash"] == head
        assert len(rows) == entries
        kept = await books.value("SELECT head FROM wallets WHERE id = $1", wallet_id)
        assert kept == head


async def test_a_wallet_without_entries_has_no_hash(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """An opened wallet's head is zeros until money comes."""
    await ledger.ask(a.opening("w"))

    assert await books.value("SELECT head FROM wallets") == chain.NO_HASH
