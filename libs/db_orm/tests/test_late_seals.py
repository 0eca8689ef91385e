"""Promises about what was stored before its key was declared: sealed later, and nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from wallet_common.commands import OpenWallet
from wallet_common.wallet import Wallet
from wallet_db_orm import late_seals, owner_keys, queries, roles
from wallet_db_orm.database import Database
from wallet_db_orm.late_seals import LateSeals
from wallet_db_orm.vault import Vault
from wallet_tools import environment
from wallet_tools.postgres import PostgresServer

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

VAULT = Vault({"m": bytes(range(32))})
DECLARED = frozenset({"email", "phone"})
OWNERS = ("ada", "bob", "cyd", "dan", "eve")
# All that must not change: every column but one, and everything beside the wallets.
UNTOUCHED = """
SELECT json_build_array(
    (SELECT json_agg(to_jsonb(w) - 'metadata' ORDER BY id) FROM wallets AS w),
    (SELECT json_agg(e ORDER BY wallet_id, id) FROM events AS e),
    (SELECT json_agg(l ORDER BY wallet_id, wallet_version) FROM ledger_entries AS l)
)::text
"""


async def opened(ledger: "Ledger", wallet_id: str, owner: str | None, metadata: str) -> None:
    """Open a wallet as it was done while no key was declared."""
    done = await ledger.ask(OpenWallet(wallet_id, "USD", owner, metadata))
    assert isinstance(done, Wallet)


async def town(ledger: "Ledger") -> None:
    """Open a wallet with an address in plain text for each owner, and one without any."""
    for owner in OWNERS:
        await opened(ledger, owner, owner, f'{{"n": 1.50, "email": "{owner}@example.org"}}')
    await opened(ledger, "zoe", "zoe", '{"tier": "gold"}')


async def sealed(ledger: "Ledger", limit: int = 2) -> list[LateSeals]:
    found, after = [], ""
    while done := await late_seals.seal(
        ledger.database.primary, VAULT, DECLARED, after=after, limit=limit
    ):
        found.append(done)
        after = done.after
    return found


async def shown(ledger: "Ledger", wallet_id: str) -> str:
    row = await queries.wallet(ledger.database.fresh, wallet_id)
    assert row is not None
    keys = await owner_keys.find(ledger.database.fresh, [row.owner_id])
    return VAULT.reveal(keys.get(row.owner_id), row.id, row.metadata).metadata


async def stored(books: "Books", wallet_id: str) -> str:
    return str(await books.value("SELECT metadata FROM wallets WHERE id = $1", wallet_id))


async def found(ledger: "Ledger", email: str) -> list[str]:
    rows = await queries.wallets(
        ledger.database.reads,
        owner_id=None,
        currency=None,
        status=None,
        wanted=("email", VAULT.digests("email", email)),
        after="",
        limit=10,
    )
    return [row.id for row in rows]


async def test_what_was_plain_is_sealed_and_found(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Afterwards it reads and is found as if its key had been declared; no other byte changed."""
    await town(ledger)
    await ledger.post(a.deposit("ada", "5.00"))
    before = await books.value(UNTOUCHED)

    done = await sealed(ledger)

    assert [name for each in done for name in each.sealed] == list(OWNERS)
    assert [(each.erased, each.left) for each in done] == [((), ())] * 3
    for owner in OWNERS:
        assert f"{owner}@" not in await stored(books, owner)
        assert await shown(ledger, owner) == f'{{"n":1.50,"email":"{owner}@example.org"}}'
        assert await found(ledger, f"{owner}@example.org") == [owner]
    assert await stored(books, "zoe") == '{"tier": "gold"}'
    assert await books.value("SELECT count(*) FROM owner_keys WHERE owner_id = 'zoe'") == 0
    assert await books.value(UNTOUCHED) == before


async def test_a_run_that_was_cut_is_gone_on_with(ledger: "Ledger", books: "Books") -> None:
    """What a batch has sealed stays, byte for byte; the next run does the rest, a third nothing."""
    await town(ledger)
    first = await late_seals.seal(ledger.database.primary, VAULT, DECLARED, after="", limit=2)
    assert first == LateSeals("bob", ("ada", "bob"), (), ())
    kept = await stored(books, "ada")

    again = [name for each in await sealed(ledger) for name in each.sealed]

    assert again == ["cyd", "dan", "eve"]
    assert [each.sealed for each in await sealed(ledger)] == [()] * 3
    assert await stored(books, "ada") == kept
    assert await books.count("pii_index") == len(OWNERS)


async def test_a_key_that_is_declared_later_joins_what_is_sealed(
    ledger: "Ledger", books: "Books"
) -> None:
    """Beside a sealed value a plain one is sealed under the same key; both are read and found."""
    await opened(ledger, "ada", "ada", '{"email": "a@example.org", "phone": 7, "b": [1, null]}')
    for declared in (frozenset({"email"}), DECLARED):
        await late_seals.seal(ledger.database.primary, VAULT, declared, after="", limit=9)

    assert await shown(ledger, "ada") == '{"email":"a@example.org","phone":7,"b":[1, null]}'
    assert await books.count("owner_keys") == 1
    assert await books.count("pii_index") == 2


async def test_what_an_erased_owner_left_in_plain_text_is_erased(
    ledger: "Ledger", books: "Books"
) -> None:
    """It turns into noise that nobody has a key of, is not indexed, and reads as erased."""
    await town(ledger)
    await owner_keys.obtain(ledger.database.fresh, VAULT, "bob")
    await owner_keys.erase(ledger.database.primary, "bob")

    (done,) = await sealed(ledger, limit=9)

    assert done.erased == ("bob",)
    assert "bob" not in done.sealed
    assert "bob@" not in await stored(books, "bob")
    assert await shown(ledger, "bob") == '{"n":1.50,"email":"[erased]"}'
    assert await found(ledger, "bob@example.org") == []
    assert await books.value("SELECT wrapped FROM owner_keys WHERE owner_id = 'bob'") is None


async def test_what_cannot_be_sealed_is_named_and_stops_nobody(
    ledger: "Ledger", books: "Books"
) -> None:
    """A wallet without an owner, a value deeper down, a key that does not open: told, and left."""
    texts = {
        "deep": ("deb", '{"a": [{"email": "d@example.org"}]}'),
        "half": ("hal", '{"phone": 1, "a": {"email": "h@example.org"}}'),
        "lost": ("lou", '{"email": "l@example.org"}'),
        "odd": ("ode", '{"email": "\\ud800"}'),
        "ownerless": (None, '{"email": "o@example.org"}'),
    }
    for wallet_id, (owner, metadata) in texts.items():
        await opened(ledger, wallet_id, owner, metadata)
    await owner_keys.obtain(ledger.database.fresh, VAULT, "lou")
    await books.execute("UPDATE owner_keys SET master_id = 'x' WHERE owner_id = 'lou'")
    await opened(ledger, "zed", "zed", '{"email": "z@example.org"}')

    (done,) = await sealed(ledger, limit=9)

    assert done.left == tuple(texts)
    assert done.sealed == ("half", "zed")
    assert json.loads(await stored(books, "half"))["phone"].startswith("wallet-pii:1:")
    for wallet_id in texts.keys() - {"half"}:
        assert await stored(books, wallet_id) == texts[wallet_id][1]


async def test_payments_erasures_and_another_run_come_at_the_same_time(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Two runs, deposits and an erasure at once: each value is sealed once, no deposit is lost."""
    await town(ledger)
    await owner_keys.obtain(ledger.database.fresh, VAULT, "cyd")

    paid = asyncio.gather(*(ledger.insist(a.deposit(name, "1.00")) for name in OWNERS * 4))
    one, other, erased, _ = await asyncio.gather(
        sealed(ledger, 1), sealed(ledger, 2), owner_keys.erase(ledger.database.primary, "cyd"), paid
    )

    assert erased is not None
    names = [name for run in (one, other) for each in run for name in (*each.sealed, *each.erased)]
    assert sorted(names) == list(OWNERS)
    assert await shown(ledger, "cyd") == '{"n":1.50,"email":"[erased]"}'
    assert await books.count("pii_index") == len(OWNERS) - 1
    assert set((await books.balances()).values()) == {0, 400}


async def test_an_erasure_waits_for_what_is_being_sealed(
    ledger: "Ledger", books: "Books", until: Callable[..., Awaitable[bool]]
) -> None:
    """An index row that is about to be written for the owner is removed too."""
    await opened(ledger, "ada", "ada", '{"email": "a@example.org"}')
    await owner_keys.obtain(ledger.database.fresh, VAULT, "ada")
    waiting = (
        "SELECT count(*) = {} FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with books.session() as payer, payer.transaction():
        await payer.execute("SELECT FROM wallets WHERE id = 'ada' FOR UPDATE")
        sealing = asyncio.create_task(sealed(ledger))
        assert await until(lambda: books.value(waiting.format(1)))
        erasing = asyncio.create_task(owner_keys.erase(ledger.database.primary, "ada"))
        assert await until(lambda: books.value(waiting.format(2)))

    assert [each.sealed for each in await sealing] == [("ada",)]
    assert await erasing is not None
    assert await books.count("pii_index") == 0
    assert await shown(ledger, "ada") == '{"email":"[erased]"}'


@pytest.mark.parametrize(
    ("role", "may"), [(roles.OWNER, True), (roles.API, False), (roles.WORKER, False)]
)
async def test_only_the_owner_of_the_tables_may(
    postgres_server: PostgresServer, database_url: str, role: str, may: bool
) -> None:
    """No service changes metadata that is stored, so none of them seals it."""
    url = postgres_server.url(database_url.rpartition("/")[2], role)
    address = environment.addresses(url, None)["WALLET_DATABASE_URL"]
    database = Database(address, application_name="wallet-test")
    try:
        assert await late_seals.may_seal(database.primary) is may
    finally:
        await database.dispose()
