"""This module is where the past is rewritten, and the proof tells where."""

from typing import TYPE_CHECKING

import pytest

from wallet_common.checkpoints import Contradiction
from wallet_db_orm import checkpoints
from wallet_runtime.signing import SharedKey

if TYPE_CHECKING:
    from libs.db_orm.tests.checkpoints.conftest import Signed
    from libs.db_orm.tests.conftest import Books, Builders

KEY = SharedKey(bytes(range(32)))

# How a balance, a version and an entry are made to fit together again after a forgery.
RELINKED = r"""
    DO $$
    DECLARE
        before bytea := decode(repeat('00', 32), 'hex');
        entry record;
    BEGIN
        FOR entry IN
            SELECT *, sha256('\x01'::bytea || record_send(ROW(wallet_id, wallet_version, type,
                amount_minor, balance_after_minor, currency, counter_account, operation_id,
                transfer_id, request_id, reference, metadata, audit_id, trace_id, occurred_at
            ))) AS digest
            FROM ledger_entries WHERE wallet_id = 'ann' ORDER BY wallet_version
        LOOP
            before := sha256('\x02'::bytea || before || entry.digest);
            UPDATE ledger_entries SET hash = before
            WHERE wallet_id = 'ann' AND wallet_version = entry.wallet_version;
        END LOOP;
        UPDATE wallets SET head = before WHERE id = 'ann';
    END
    $$
"""
MARK = "WHERE wallet_id = 'ann' AND wallet_version = 3"
SWAP = """
    UPDATE ledger_entries AS e SET operation_id = o.operation_id, request_id = o.request_id,
        trace_id = o.trace_id, occurred_at = o.occurred_at
    FROM ledger_entries AS o
    WHERE e.wallet_id = 'ann' AND o.wallet_id = 'ann'
        AND e.wallet_version IN (3, 4) AND o.wallet_version = 7 - e.wallet_version
"""
TAIL = "DELETE FROM ledger_entries WHERE wallet_id = 'ann' AND wallet_version = 8"
FIXED_HEAD = """
    UPDATE wallets SET balance_minor = e.balance_after_minor, head = e.hash, version = 7
    FROM ledger_entries AS e WHERE id = 'ann' AND wallet_id = 'ann' AND wallet_version = 5
"""
FORGED_ENTRY = """
    INSERT INTO ledger_entries SELECT wallet_id, 9, type, amount_minor,
        balance_after_minor + amount_minor, currency, counter_account, gen_random_uuid(),
        transfer_id, 'forged', reference, metadata, occurred_at, audit_id, trace_id, hash
    FROM ledger_entries WHERE wallet_id = 'ann' AND wallet_version = 8
"""
FORGED_WALLET = "UPDATE wallets SET balance_minor = balance_minor + 100, version = 9 WHERE id='ann'"
# What is done, and where it has to be told: an invariant, a wallet's version.
FORGERIES: dict[str, tuple[list[str], str, int]] = {
    "a changed amount": (
        [f"UPDATE ledger_entries SET amount_minor = amount_minor + 1 {MARK}"],
        *("H1", 3),
    ),
    "a changed byte of metadata": (
        [f"UPDATE ledger_entries SET metadata = '{{\"a\": 1}}' {MARK}"],
        *("H1", 3),
    ),
    "a delete in the middle": ([f"DELETE FROM ledger_entries {MARK}"], "H1", 4),
    "a delete at the end with a fixed head": ([TAIL, FIXED_HEAD], "H3", 8),
    "two swapped rows": ([SWAP], "H1", 3),
    "a forged entry, balanced": ([FORGED_ENTRY, FORGED_WALLET], "H1", 9),
    "a suffix hashed again": (
        [f"UPDATE ledger_entries SET metadata = '{{\"a\":2}}' {MARK}", RELINKED],
        *("H3", 4),
    ),
    "a changed balance": (
        ["UPDATE wallets SET balance_minor = balance_minor + 1 WHERE id = 'ann'"],
        *("M3", 0),
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forgery_is_told_with_its_place(
    signed: "Signed", books: "Books", name: str
) -> None:
    """A superuser with the triggers off, in a replica's session, is found out all the same."""
    statements, invariant, version = FORGERIES[name]
    assert await signed.found() == {}
    async with books.session() as forger, forger.transaction():
        await forger.execute("SET session_replication_role = replica")
        await forger.execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
        for statement in statements:
            await forger.execute(statement)
        await forger.execute("ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only_rows")

    found = (await signed.found())[invariant]

    places = [(each["walletId"], each.get("walletVersion", 0)) for each in found]
    assert ("ann", version) in places, found
    assert {wallet_id for wallet_id, _ in places} == {"ann"}


async def test_heads_that_were_forged_with_the_rows_contradict_what_was_signed(
    signed: "Signed", books: "Books"
) -> None:
    """Who changes the checkpoint's heads too still lacks the key for the root."""
    await books.tamper(
        "checkpoint_heads", "UPDATE checkpoint_heads SET balance_minor = 1 WHERE wallet_id = 'cid'"
    )

    assert {"H3", "H4"} <= set(await signed.found())


# What was written about ann is written anew, and the checkpoints' heads are made to fit.
REWRITTEN_HEADS = """
    UPDATE checkpoint_heads AS h SET head = (
        SELECT hash FROM ledger_entries AS e
        WHERE e.wallet_id = h.wallet_id AND e.wallet_version <= h.version
        ORDER BY wallet_version DESC LIMIT 1
    ) WHERE wallet_id = 'ann'
"""


async def rewrite(books: "Books") -> None:
    sql = f"UPDATE ledger_entries SET metadata = '{{\"a\":2}}' {MARK}"
    await books.tamper("ledger_entries", sql)
    await books.tamper("ledger_entries", RELINKED)
    await books.tamper("checkpoint_heads", REWRITTEN_HEADS)


@pytest.mark.parametrize("form", ["new", "old"])
async def test_no_checkpoint_signs_a_rewritten_past(
    signed: "Signed", books: "Books", a: "Builders", form: str
) -> None:
    """It contradicts the one before, so none is taken, whatever happens to the wallet since."""
    if form == "old":
        await signed.in_the_old_form(books)
    assert await signed.found() == {}
    await rewrite(books)

    assert [each["checkpoint"] for each in (await signed.found())["H4"]] == [1, 2]
    for _ in range(2):
        with pytest.raises(Contradiction, match="checkpoint 2"):
            await checkpoints.take(signed.engine, KEY)
        await signed.ledger.post(a.deposit("ann", "1.00"), audited=True)
    assert [each["checkpoint"] for each in (await signed.found())["H4"]] == [1, 2]


@pytest.mark.parametrize("form", ["new", "old"])
async def test_a_forged_head_is_not_forgiven_by_later_checkpoints(
    signed: "Signed", books: "Books", a: "Builders", form: str
) -> None:
    """Every checkpoint has signed the heads that it keeps, those that later ones replace too."""
    if form == "old":
        await signed.in_the_old_form(books)
    forgery = "UPDATE checkpoint_heads SET head = sha256('') WHERE wallet_id = 'ann'"
    await books.tamper("checkpoint_heads", f"{forgery} AND checkpoint = 1")
    await signed.checkpoint()

    found = await signed.found()

    assert set(found) == {"H3", "H4"}
    assert [each["checkpoint"] for each in found["H4"]] == [1]


NOTE = """
    INSERT INTO archived_partitions VALUES ('api_audit_2020_%s',
        rpad(lpad(to_hex(extract(epoch FROM date '2020-%s-01')::bigint * 1000), 12, '0'), 32, '0')
        ::uuid,
        rpad(lpad(to_hex(extract(epoch FROM date '2020-%s-01')::bigint * 1000), 12, '0'), 32, '0')
        ::uuid, 0, 0, repeat('0', 64))
"""


async def test_notes_of_archives_are_signed(
    signed: "Signed", books: "Books", a: "Builders"
) -> None:
    """One that is changed or taken out later contradicts a checkpoint; one that is new does not."""
    await books.execute(NOTE % ("01", "01", "02"))
    await signed.checkpoint()
    await books.execute(NOTE % ("02", "02", "03"))
    assert await signed.found() == {}

    for forgery in ("UPDATE archived_partitions SET sha256 = repeat('1', 64)", "DELETE FROM {}"):
        sql = forgery.format("archived_partitions") + " WHERE name = 'api_audit_2020_01'"
        await books.tamper("archived_partitions", sql)
        assert {each["checkpoint"] for each in (await signed.found())["H4"]} == {3}


async def test_heads_of_no_checkpoint_are_told(signed: "Signed", books: "Books") -> None:
    """Rows that would be in the way of the next checkpoint do not wait for it unseen."""
    await books.execute(
        "INSERT INTO checkpoint_heads SELECT wallet_id, 7, version, balance_minor, head"
        " FROM checkpoint_heads WHERE wallet_id = 'cid'"
    )

    assert [each["checkpoint"] for each in (await signed.found())["H4"]] == [7]
