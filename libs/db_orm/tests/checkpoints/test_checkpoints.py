"""This module is where checkpoints are taken, and the file outside is held against the books."""

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from wallet_common import proofs
from wallet_common.checkpoints import read
from wallet_common.merkle import Tree, leaf
from wallet_db_orm import checkpoints
from wallet_db_orm.database import transaction
from wallet_db_orm.examination import Scope, Tally
from wallet_db_orm.examine_checkpoints import outside
from wallet_db_orm.proofs import NoSuchEntry, NotCovered, prove
from wallet_db_orm.verify import verify
from wallet_runtime.signing import SharedKey

if TYPE_CHECKING:
    from libs.db_orm.tests.checkpoints.conftest import Signed
    from libs.db_orm.tests.conftest import Books, Builders

KEY = SharedKey(bytes(range(32)))


async def test_a_checkpoint_states_every_wallet_and_is_taken_only_for_a_change(
    signed: "Signed", books: "Books"
) -> None:
    """Its root is that of all wallets; only those that changed are kept with it."""
    line = await signed.checkpoint()

    assert await checkpoints.take(signed.engine, KEY) is None
    assert await signed.found() == {}
    told, tree = read(line), Tree()
    async with transaction(signed.engine) as driver:
        async for head, _ in checkpoints.heads(driver, told.checkpoint):
            tree.add(leaf(head))
    assert (told.checkpoint, told.wallets, told.root) == (3, 3, tree.root().hex())
    assert KEY.has_signed(told.content(), bytes.fromhex(told.signature))
    kept = await books.rows("SELECT wallet_id, checkpoint FROM checkpoint_heads ORDER BY 2, 1")
    assert [(row["wallet_id"], row["checkpoint"]) for row in kept] == [
        *(("ann", 1), ("bob", 1), ("cid", 1)),
        *(("ann", 2), ("bob", 2)),
        ("bob", 3),
    ]


async def test_a_checkpoint_that_is_not_due_is_not_taken(signed: "Signed") -> None:
    """Two workers do not take twice as many."""
    assert await checkpoints.take(signed.engine, KEY, every_s=600) is None
    assert await checkpoints.take(signed.engine, KEY, every_s=0.001) is not None


async def test_a_file_that_was_changed_is_seen(signed: "Signed", a: "Builders") -> None:
    """Cut, edited, reordered or of another key: each is told with the checkpoint's number."""
    one, two = signed.file
    stranger = SharedKey(bytes(32))

    assert await signed.found() == {}
    cut = await signed.found([one])
    assert [each["checkpoint"] for each in cut["H5"]] == [2]
    assert {each["checkpoint"] for each in (await signed.found([two]))["H5"]} == {1, 2}
    edited = one.replace('"wallets":3', '"wallets":4')
    assert {each["checkpoint"] for each in (await signed.found([edited, two]))["H5"]} == {1, 2}
    blank = one.replace(",", ", ", 1)
    assert {each["checkpoint"] for each in (await signed.found([blank, two]))["H5"]} == {1, 2}
    by_another = await signed.found(key=stranger)
    assert [each["checkpoint"] for each in by_another["H5"]] == [1, 2]


async def test_a_checkpoint_that_is_taken_meanwhile_is_no_fault(
    signed: "Signed", a: "Builders"
) -> None:
    """The file may be a moment behind what the proof sees, and far ahead of it at the end."""
    looks: list[int] = []
    await signed.checkpoint()

    def file() -> list[str]:
        looks.append(1)
        return signed.file if len(looks) > 3 else signed.file[:2]

    report = await verify(signed.engine, outside=[outside(file, KEY)])
    assert report.ok
    assert len(looks) == 4

    async with transaction(signed.engine) as driver:
        await driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await driver.fetchval("SELECT count(*) FROM checkpoints")
        check, tally = outside(lambda: signed.file, KEY), Tally()
        await signed.ledger.post(a.deposit("ann", "1.00"), audited=True)
        await signed.checkpoint()
        await check.examine(driver, Scope(), tally)
        assert tally.violations == []


async def test_a_database_that_was_set_back_is_seen(
    signed: "Signed", books: "Books", a: "Builders"
) -> None:
    """An earlier state of the books is good in itself; the file remembers the later one."""
    later = [*signed.file]
    for table in ("checkpoint_heads", "checkpoints"):
        await books.tamper(table, f"DELETE FROM {table} WHERE checkpoint = 2")

    assert {each["checkpoint"] for each in (await signed.found(later))["H5"]} == {2}


async def test_an_entry_is_proved_without_the_books(signed: "Signed", books: "Books") -> None:
    """By version or operation, up to the first checkpoint after it, with all that lies between."""
    operation = await books.value(
        "SELECT operation_id FROM ledger_entries WHERE wallet_id = 'ann' AND wallet_version = 3"
    )

    for entry in (3, UUID(str(operation))):
        proof = await prove(signed.engine, "ann", entry)
        kept = proofs.decode(proofs.encode(proof))
        assert proofs.check(kept, KEY).checkpoint == 1
        assert (kept.entry.wallet_version, len(kept.following)) == (3, 1)
    assert proofs.check(await prove(signed.engine, "bob", 3), KEY).checkpoint == 2


async def test_what_no_checkpoint_covers_cannot_be_proved_yet(signed: "Signed") -> None:
    """The newest entry waits for the next checkpoint; what is not there is told as that."""
    with pytest.raises(NotCovered):
        await prove(signed.engine, "bob", 4)
    with pytest.raises(NoSuchEntry):
        await prove(signed.engine, "ann", 99)
    with pytest.raises(NoSuchEntry):
        await prove(signed.engine, "nobody", 1)

    await signed.checkpoint()

    assert proofs.check(await prove(signed.engine, "bob", 4), KEY).checkpoint == 3
