"""This module is where the audit is sealed, and what was done to it afterwards is told."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from wallet_common import chain
from wallet_db_orm import archive, seals
from wallet_db_orm.archive import NotArchivable
from wallet_db_orm.audit import record_rows

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

COLUMNS = ", ".join(chain.AUDIT)


def row(wallet_id: str, url: str = "/") -> tuple[object, ...]:
    """Return an audit row as an edge writes it."""
    an_id = "018f3a5c-0000-7000-8000-" + wallet_id.encode().hex().zfill(12)
    return (an_id, "POST", url, b"\x00", "{}", None, 422, None, wallet_id, None, "t", 1)


@pytest.fixture
async def sealed(breakable: "Ledger", a: "Builders") -> "Ledger":
    """Return books whose requests are sealed, in two seals, and one that waits for it."""
    for wallet_id in ("ann", "bob"):
        await breakable.post(a.deposit(wallet_id, "5.00"), audited=True)
    await record_rows(breakable.database.primary, [row("cid"), row("dan")])
    assert await seals.seal(breakable.database.primary) == 3
    await breakable.transfer(a.transfer("ann", "bob", "1.00"), audited=True)
    assert await seals.seal(breakable.database.primary) == 1
    await breakable.post(a.deposit("eve", "5.00"), audited=True)
    return breakable


async def test_seals_cover_every_row_in_the_order_of_their_transactions(
    sealed: "Ledger", books: "Books"
) -> None:
    """The digests are those of the rows, and each seal continues the one before, from the first."""
    rows = await books.rows(f"SELECT {COLUMNS} FROM api_audit")
    digests = {
        str(each["id"]): chain.audit_digest(
            [str(value) if isinstance(value, UUID) else value for value in each.values()]
        )
        for each in rows
    }

    before, covered = chain.NO_HASH, []
    for number, each in enumerate(await books.rows("SELECT * FROM audit_seals ORDER BY seal"), 1):
        ids = [str(an_id) for an_id in each["ids"]]
        covered += ids
        assert each["seal"] == number
        assert each["digests"] == b"".join(digests[an_id] for an_id in ids)
        before = chain.seal(before, number, each["sealed_at"], ids, each["digests"])
        assert each["hash"] == before
    waiting = await books.value("SELECT ids FROM unsealed_audit")
    assert len(covered) == 5
    assert sorted([*covered, *map(str, waiting)]) == sorted(digests)
    assert await sealed.violations() == {}


async def test_a_row_that_was_there_already_is_not_sealed_twice(
    sealed: "Ledger", books: "Books"
) -> None:
    """What is written again after a lost answer adds nothing to what waits."""
    await record_rows(sealed.database.primary, [row("cid"), row("dan")])

    assert await books.count("unsealed_audit") == 1
    await seals.seal(sealed.database.primary)
    assert await seals.seal(sealed.database.primary) == 0
    assert await sealed.violations() == {}


async def test_sealers_at_once_do_no_harm(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Two workers seal while requests come in: every row has one seal, in one chain."""
    done = asyncio.Event()

    async def work(books_of: "Ledger") -> None:
        while not done.is_set():
            await seals.seal(books_of.database.primary)

    sealers = [asyncio.create_task(work(each)) for each in (ledger, other)]
    await asyncio.gather(*(ledger.post(a.deposit("w", "1.00"), audited=True) for _ in range(200)))
    done.set()
    await asyncio.gather(*sealers)
    await seals.seal(ledger.database.primary)

    assert await books.count("unsealed_audit") == 0
    assert await books.value("SELECT sum(cardinality(ids)) FROM audit_seals") == 200


CID = "WHERE wallet_id = 'cid'"
SEAL = "UPDATE audit_seals SET"
# A table, what is done to it, and whose row has to be told (None: a seal, not a row).
FORGERIES: dict[str, tuple[str, str, str | None]] = {
    "a changed status": ("api_audit", f"UPDATE api_audit SET status = 201 {CID}", "cid"),
    "a changed byte of the body": (
        "api_audit",
        f"UPDATE api_audit SET body = '\\x01' {CID}",
        "cid",
    ),
    "an emptied column": ("api_audit", f"UPDATE api_audit SET principal = '' {CID}", "cid"),
    "a deleted row": ("api_audit", "DELETE FROM api_audit WHERE wallet_id = 'ann'", "ann"),
    "the newest row, deleted": ("api_audit", "DELETE FROM api_audit WHERE wallet_id='eve'", "eve"),
    "a forged row": (
        "api_audit",
        (
            f"INSERT INTO api_audit SELECT uuidv7(), {COLUMNS.removeprefix('id, ')}"
            f" FROM api_audit {CID}"
        ),
        "cid",
    ),
    "two swapped rows": (
        "api_audit",
        (
            "UPDATE api_audit SET wallet_id = CASE wallet_id WHEN 'cid' THEN 'dan' ELSE 'cid' END"
            " WHERE wallet_id IN ('cid', 'dan')"
        ),
        "dan",
    ),
    "a changed digest": (
        "audit_seals",
        f"{SEAL} digests = overlay(digests PLACING '\\x00' FROM 1) WHERE seal = 1",
        "ann",
    ),
    "a deleted seal": ("audit_seals", "DELETE FROM audit_seals WHERE seal = 1", None),
    "another time of sealing": ("audit_seals", f"{SEAL} sealed_at = now() WHERE seal = 1", None),
    "seals in another order": ("audit_seals", f"{SEAL} seal = seal + 5 WHERE seal = 1", None),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_what_was_done_to_the_audit_is_told(
    sealed: "Ledger", books: "Books", name: str
) -> None:
    """Each change names the row, by its id and its wallet, or the seal."""
    table, forgery, wallet_id = FORGERIES[name]

    await books.tamper(table, forgery)

    found = (await sealed.violations())["A5"]
    if wallet_id is None:
        assert any(each["seal"] is not None for each in found)
    else:
        told = [each for each in found if each["walletId"] == wallet_id]
        assert told
        assert all(each["auditId"] for each in told)


async def test_a_row_that_vanished_before_its_seal_stays_missing(
    sealed: "Ledger", books: "Books"
) -> None:
    """The sealer goes on, and its seal keeps that something was not there."""
    await books.tamper("api_audit", "DELETE FROM api_audit WHERE wallet_id = 'eve'")

    assert await seals.seal(sealed.database.primary) == 1

    assert [each["walletId"] for each in (await sealed.violations())["A5"]] == ["eve"]


async def test_an_archive_is_held_against_the_seals(
    sealed: "Ledger", books: "Books", tmp_path: Path
) -> None:
    """Row by row: what was changed, left out or put into the file is named."""
    engine, name = (
        sealed.database.primary,
        await books.value("SELECT tableoid::regclass::text FROM api_audit WHERE wallet_id = 'eve'"),
    )
    file = tmp_path / "month.csv"
    with file.open("wb") as output:

        async def write(piece: bytes) -> None:
            output.write(piece)

        exported = await archive.export(engine, name, write)
    with pytest.raises(NotArchivable, match=r"1 rows of .* no seal"):
        await archive.drop(engine, name, exported, "0" * 64)
    with pytest.raises(NotArchivable, match=r"no .* was archived"):
        await archive.contradictions(engine, name, file)
    await seals.seal(engine)
    await archive.drop(engine, name, exported, "0" * 64)

    # This month is not over, so nobody is to believe that it was archived.
    assert {each["archived"] for each in (await sealed.violations())["A5"]} == {name}
    assert await archive.contradictions(engine, name, file) == (exported.rows, [])
    lines = file.read_text().splitlines(keepends=True)
    for changed in (
        [lines[0], lines[1].replace("POST", "PUT"), *lines[2:]],
        [lines[0], *lines[2:]],
        [
            *lines,
            "f" + lines[1][1:],
        ],
    ):
        file.write_text("".join(changed))
        assert len((await archive.contradictions(engine, name, file))[1]) == 1
