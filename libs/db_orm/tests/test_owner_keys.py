"""Promises about owners' keys: one for each, moved and destroyed whole, whoever acts beside."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_common.commands import OpenWallet
from wallet_common.wallet import Wallet
from wallet_db_orm import owner_keys, queries
from wallet_db_orm.owner_keys import MasterUse
from wallet_db_orm.vault import Vault

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
PRIVATE = frozenset({"email"})
BEFORE, DURING, AFTER = Vault({"o": OLD}), Vault({"n": NEW, "o": OLD}), Vault({"n": NEW})


async def sealed(ledger: "Ledger", vault: Vault, owner: str, currency: str = "USD") -> OpenWallet:
    """Return the command that opens a wallet of `owner` with an e-mail address, sealed."""
    key = await owner_keys.obtain(ledger.database.fresh, vault, owner)
    wallet_id, metadata = f"{owner}-{currency}", json.dumps({"email": f"{owner}@example.org"})
    text, index = vault.seal(key, wallet_id, metadata, PRIVATE)
    return OpenWallet(wallet_id, currency, owner, text, index)


async def opened(ledger: "Ledger", vault: Vault, owner: str, currency: str = "USD") -> None:
    assert isinstance(await ledger.ask(await sealed(ledger, vault, owner, currency)), Wallet)


async def shown(ledger: "Ledger", vault: Vault, wallet_id: str) -> str:
    row = await queries.wallet(ledger.database.fresh, wallet_id)
    assert row is not None
    keys = await owner_keys.find(ledger.database.fresh, [row.owner_id])
    return str(json.loads(vault.reveal(keys[row.owner_id], row.id, row.metadata).metadata)["email"])


async def found(ledger: "Ledger", vault: Vault, email: str) -> list[str]:
    rows = await queries.wallets(
        ledger.database.reads,
        owner_id=None,
        currency=None,
        status=None,
        wanted=("email", vault.digests("email", email)),
        after="",
        limit=10,
    )
    return [row.id for row in rows]


async def rotate(ledger: "Ledger", vault: Vault, limit: int = 2) -> tuple[int, list[str]]:
    moved, unreadable, after = 0, list[str](), ""
    while done := await owner_keys.rotate(ledger.database.primary, vault, after=after, limit=limit):
        moved, after = moved + done.moved, done.after
        unreadable += done.unreadable
    return moved, unreadable


async def test_those_who_come_at_once_share_one_key(ledger: "Ledger", books: "Books") -> None:
    """However many open an owner's first wallets at once, one key is made and all use it."""
    keys = await asyncio.gather(
        *(owner_keys.obtain(ledger.database.fresh, BEFORE, "ada") for _ in range(8))
    )

    assert len({key.key_id for key in keys}) == 1
    assert await books.count("owner_keys") == 1


async def test_a_refused_wallet_is_not_indexed(ledger: "Ledger", books: "Books") -> None:
    """The index changes with the wallet: opened again, or refused, nothing is added."""
    await opened(ledger, BEFORE, "ada")
    await opened(ledger, BEFORE, "ada")
    taken = await sealed(ledger, BEFORE, "bob")
    await ledger.ask(OpenWallet("ada-USD", "USD", "bob", taken.metadata, taken.index))

    assert await books.count("pii_index") == 1
    assert await found(ledger, BEFORE, "bob@example.org") == []


async def test_a_rotation_moves_every_owner_and_can_be_repeated(
    ledger: "Ledger", books: "Books"
) -> None:
    """Afterwards the new master key alone reads and finds everything; nothing else has changed."""
    owners = ["ada", "bob", "cyd", "dan", "eve"]
    for owner in owners:
        await opened(ledger, BEFORE, owner)
    await opened(ledger, BEFORE, "ada", "EUR")
    wallets = await books.rows("SELECT id, metadata::text FROM wallets ORDER BY id")

    first = await owner_keys.rotate(ledger.database.primary, DURING, after="", limit=2)
    assert first is not None
    assert (first.moved, first.after) == (2, "bob")
    used, _ = await owner_keys.masters(ledger.database.primary)
    assert used == [MasterUse("n", 2, 3), MasterUse("o", 3, 3)]
    assert await found(ledger, DURING, "ada@example.org") == ["ada-EUR", "ada-USD"]
    assert await found(ledger, DURING, "eve@example.org") == ["eve-USD"]

    assert await rotate(ledger, DURING) == (3, [])
    assert await rotate(ledger, DURING) == (0, [])
    for owner in owners:
        assert await shown(ledger, AFTER, f"{owner}-USD") == f"{owner}@example.org"
        assert await found(ledger, BEFORE, f"{owner}@example.org") == []
    assert await found(ledger, AFTER, "ada@example.org") == ["ada-EUR", "ada-USD"]
    assert await books.rows("SELECT id, metadata::text FROM wallets ORDER BY id") == wallets


async def test_a_wallet_that_came_late_is_moved_next_time(ledger: "Ledger") -> None:
    """One that was sealed before the rotation and committed after it is found by the next run."""
    await opened(ledger, BEFORE, "ada")
    late = await sealed(ledger, BEFORE, "ada", "EUR")
    assert await rotate(ledger, DURING) == (1, [])
    await ledger.ask(late)

    assert await rotate(ledger, DURING) == (1, [])

    assert await found(ledger, AFTER, "ada@example.org") == ["ada-EUR", "ada-USD"]
    assert await shown(ledger, AFTER, "ada-EUR") == "ada@example.org"


async def test_who_cannot_be_moved_is_named_and_stops_nobody(
    ledger: "Ledger", books: "Books"
) -> None:
    """An owner under an unknown master key, or with a changed value, stays as before; others go."""
    for owner in ("ada", "bob", "cyd"):
        await opened(ledger, BEFORE, owner)
    await books.execute("UPDATE owner_keys SET master_id = 'x' WHERE owner_id = 'ada'")
    await books.execute(
        "UPDATE wallets SET metadata = (SELECT metadata FROM wallets WHERE id = 'cyd-USD')"
        " WHERE id = 'bob-USD'"
    )

    assert await rotate(ledger, DURING) == (1, ["ada", "bob"])

    masters = "SELECT owner_id, master_id FROM owner_keys ORDER BY owner_id"
    assert [tuple(row.values()) for row in await books.rows(masters)] == [
        ("ada", "x"),
        ("bob", "o"),
        ("cyd", "n"),
    ]


async def test_an_erasure_is_for_good_and_touches_no_wallet(
    ledger: "Ledger", books: "Books"
) -> None:
    """The key is gone, nothing finds the owner, a rotation leaves it so, and the rows are equal."""
    await opened(ledger, BEFORE, "ada")
    await opened(ledger, BEFORE, "bob")
    wallets = await books.rows("SELECT * FROM wallets ORDER BY id")

    first = await owner_keys.erase(ledger.database.primary, "ada")
    again = await owner_keys.erase(ledger.database.primary, "ada")

    assert first is not None
    assert again is not None
    assert (first.is_new, again.is_new, first.erased_at) == (True, False, again.erased_at)
    assert await owner_keys.erase(ledger.database.primary, "nobody") is None
    assert await rotate(ledger, DURING) == (1, [])
    assert await shown(ledger, DURING, "ada-USD") == "[erased]"
    assert await found(ledger, DURING, "ada@example.org") == []
    assert await shown(ledger, DURING, "bob-USD") == "bob@example.org"
    assert await books.rows("SELECT * FROM wallets ORDER BY id") == wallets
    with pytest.raises(asyncpg.CheckViolationError):
        await books.execute("UPDATE owner_keys SET erased_at = NULL WHERE owner_id = 'ada'")


async def test_a_wallet_that_comes_after_the_erasure_is_born_erased(
    ledger: "Ledger", books: "Books"
) -> None:
    """One that was sealed before its owner was erased is not indexed and shows nothing."""
    late = await sealed(ledger, BEFORE, "ada")
    await owner_keys.erase(ledger.database.primary, "ada")

    assert isinstance(await ledger.ask(late), Wallet)

    assert await books.count("pii_index") == 0
    assert await shown(ledger, BEFORE, "ada-USD") == "[erased]"


async def test_an_erasure_waits_for_the_wallet_that_is_being_opened(
    ledger: "Ledger", books: "Books", until: Callable[..., Awaitable[bool]]
) -> None:
    """An index row that is written but not committed yet is removed too."""
    await opened(ledger, BEFORE, "ada")
    async with books.session() as opener, opener.transaction():
        await opener.execute("SELECT FROM owner_keys WHERE owner_id = 'ada' FOR SHARE")
        await opener.execute(
            "INSERT INTO wallets SELECT 'late', owner_id, 'EUR', 0, 0, status, 1, metadata,"
            " created_at, updated_at FROM wallets WHERE id = 'ada-USD'"
        )
        await opener.execute(
            "INSERT INTO pii_index SELECT 'late', key, digest, master_id FROM pii_index"
        )
        erasing = asyncio.create_task(owner_keys.erase(ledger.database.primary, "ada"))
        waits = (
            "SELECT count(*) = 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert await until(lambda: books.value(waits))

    assert await erasing is not None
    assert await books.count("pii_index") == 0
    await books.execute("DELETE FROM wallets WHERE id = 'late'")
