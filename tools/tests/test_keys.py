"""Promises about `wallet keys`: what a master key is used for, its change, an owner's erasure."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from wallet_db_orm import roles
from wallet_db_orm.ids import new_id
from wallet_db_orm.vault import OwnerKey, Vault
from wallet_runtime.settings import SettingsRefused
from wallet_tools import cli
from wallet_tools.postgres import PostgresServer
from wallet_tools.state import StateFolder

OLD, NEW = bytes(range(32)).hex(), bytes(range(100, 132)).hex()
OWNERS = ("ada", "bob", "cyd")


class Wallet:
    """The operator's command against this test's database, with the master keys it is given."""

    def __init__(self, url: str, masters: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url.replace("+asyncpg", "")
        self._masters = masters
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(["keys", *arguments])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def listed(self) -> Any:  # noqa: ANN401  # JSON
        code, out, _ = self("list", "--json")
        assert code == 0
        return json.loads(out)

    def knows(self, *masters: str) -> None:
        self._masters.write_text("\n".join(masters))

    def execute(self, sql: str, *rows: tuple[object, ...]) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self._url)
            try:
                if rows:
                    await connection.executemany(sql, rows)
                    return []
                return [tuple(row) for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        return asyncio.run(run())


@pytest.fixture
def wallet(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Wallet:
    """Return the command with a database that has three owners under the master key `old`."""
    masters = tmp_path / "masters"
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    monkeypatch.setenv("WALLET_MASTER_KEY_FILE", str(masters))
    monkeypatch.delenv("WALLET_MASTER_KEY", raising=False)
    monkeypatch.delenv("WALLET_PII_METADATA_KEYS", raising=False)
    wallet = Wallet(database_url, masters, capsys)
    wallet.knows(f"old:{OLD}")
    vault = Vault({"old": bytes.fromhex(OLD)})
    keys = [vault.new_key(owner, new_id()) for owner in OWNERS]
    wallet.execute(
        "INSERT INTO owner_keys (owner_id, key_id, master_id, wrapped) VALUES ($1, $2, $3, $4)",
        *((key.owner_id, key.key_id, key.master_id, key.wrapped) for key in keys),
    )
    sealed = [_sealed(vault, key) for key in keys]
    wallet.execute(
        "INSERT INTO wallets VALUES ($1, $1, 'USD', 0, 0, 'active', 1, $2, now(), now())",
        *((owner, text) for owner, text, _ in sealed),
    )
    wallet.execute(
        "INSERT INTO pii_index VALUES ($1, 'email', $2, 'old')",
        *((owner, digest) for owner, _, digest in sealed),
    )
    return wallet


def _sealed(vault: Vault, key: OwnerKey) -> tuple[str, str, bytes]:
    metadata = json.dumps({"email": f"{key.owner_id}@example.org"})
    text, index = vault.seal(key, key.owner_id, metadata, frozenset({"email"}))
    return key.owner_id, text, index[0].digest


def used(name: str, owners: int, *, current: bool, configured: bool = True) -> dict[str, object]:
    return {
        "id": name,
        "current": current,
        "configured": configured,
        "owners": owners,
        "indexed": owners,
    }


def test_a_master_key_is_changed_in_three_steps(wallet: Wallet) -> None:
    """Before the old one, rotate, take the old one out: everything is then under the new one."""
    assert wallet.listed() == {"masters": [used("old", 3, current=True)], "erasedOwners": 0}
    wallet.knows(f"new:{NEW}", f"old:{OLD}")
    assert wallet.listed()["masters"] == [
        used("new", 0, current=True),
        used("old", 3, current=False),
    ]

    code, out, err = wallet("rotate", "--batch", "2", "--by", "me")

    assert (code, out) == (0, "3 owners are now under the master key new\n")
    assert err.splitlines() == ["2 owners, up to bob", "3 owners, up to cyd"]
    wallet.knows(f"new:{NEW}")
    assert wallet.listed()["masters"] == [used("new", 3, current=True)]
    assert wallet("rotate", "--json")[1] == (
        '{\n  "master": "new",\n  "moved": 0,\n  "unreadable": []\n}\n'
    )
    acts = wallet.execute("SELECT operator, act, subject FROM operator_log ORDER BY id LIMIT 1")
    assert acts == [("me", "keys.rotate", "new")]


def test_a_master_key_that_lacks_is_told(wallet: Wallet) -> None:
    """Rotating without the old key changes nothing, names the owners, and ends with 1."""
    wallet.knows(f"new:{NEW}")

    code, out, err = wallet("rotate", "--json")

    assert code == 1
    assert json.loads(out) == {"master": "new", "moved": 0, "unreadable": list(OWNERS)}
    assert "their master key is not configured" in err
    assert "old " in wallet("list")[1]
    assert "NOT CONFIGURED" in wallet("list")[1]


def test_an_owner_is_erased_with_a_reason(wallet: Wallet) -> None:
    """The key goes, once; who did it and why is in the operator log."""
    code, out, _ = wallet("erase", "ada", "--reason", "asked by mail", "--by", "me")
    again = wallet("erase", "ada", "--reason", "asked by mail", "--json")

    assert (code, out) == (0, "ada is erased\n")
    assert again[0] == 0
    assert json.loads(again[1])["ownerId"] == "ada"
    assert "was erased before" in wallet("erase", "ada", "--reason", "again")[1]
    assert wallet("erase", "nobody", "--reason", "asked")[0] == 1
    assert wallet("erase", "bob", "--reason", " ")[0] == 1
    assert wallet.listed() == {"masters": [used("old", 2, current=True)], "erasedOwners": 1}
    keys = "SELECT owner_id FROM owner_keys WHERE wrapped IS NULL"
    assert wallet.execute(keys) == [("ada",)]
    acts = wallet.execute(
        "SELECT operator, act, subject, details ->> 'reason' FROM operator_log ORDER BY id LIMIT 1"
    )
    assert acts == [("me", "owner.erase", "ada", "asked by mail")]


def test_what_was_stored_before_its_key_was_declared_is_sealed(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wallet once, in batches; what cannot be sealed is named, and the run ends with 1."""
    code, _, err = wallet("seal")
    assert (code, "WALLET_PII_METADATA_KEYS" in err) == (1, True)
    monkeypatch.setenv("WALLET_PII_METADATA_KEYS", "email,phone")
    wallet.execute(
        "INSERT INTO wallets VALUES ($1, $2, 'EUR', 0, 0, 'active', 1, $3, now(), now())",
        *((f"{owner}-2", owner, '{"phone": "555-0199"}') for owner in OWNERS),
    )
    wallet("erase", "bob", "--reason", "asked by mail")

    code, out, err = wallet("seal", "--batch", "4", "--by", "me")

    assert (code, out.splitlines()[0][:10]) == (0, "2 wallets ")
    assert out.splitlines()[1].startswith("1 more were of erased owners")
    assert err.splitlines() == ["2 wallets, up to bob-2", "3 wallets, up to cyd-2"]
    assert wallet.execute("SELECT FROM wallets WHERE metadata::text LIKE '%555%'") == []
    assert wallet.listed()["masters"][0]["indexed"] == 4
    assert wallet("seal", "--json")[1] == '{\n  "sealed": 0,\n  "erased": 0,\n  "left": []\n}\n'
    acts = wallet.execute(
        "SELECT operator, act, subject, details ->> 'keys' FROM operator_log"
        " WHERE act = 'keys.seal' ORDER BY id LIMIT 1"
    )
    assert acts == [("me", "keys.seal", "old", '["email","phone"]')]

    wallet.execute(
        "UPDATE wallets SET owner_id = NULL, metadata = '{\"email\": 1}' WHERE id = 'cyd'"
    )
    code, out, err = wallet("seal", "--json")
    assert (code, json.loads(out)["left"], "(cyd)" in err) == (1, ["cyd"], True)


def test_who_does_not_own_the_tables_seals_nothing(
    wallet: Wallet,
    postgres_server: PostgresServer,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The API's role is refused before anything happens, and told who may."""
    url = postgres_server.url(database_url.rpartition("/")[2], roles.API)
    monkeypatch.setenv("WALLET_DATABASE_URL", url)
    monkeypatch.setenv("WALLET_PII_METADATA_KEYS", "email")

    code, _, err = wallet("seal")

    assert (code, "wallet_owner" in err) == (1, True)
    assert wallet.execute("SELECT FROM operator_log") == []


def test_without_a_master_key_nothing_is_rotated(wallet: Wallet) -> None:
    """No key, or one that is none, is refused with what to set, and not shown."""
    wallet.knows()
    code, _, err = wallet("rotate")
    assert (code, "WALLET_MASTER_KEY_FILE" in err) == (1, True)

    wallet.knows("hush")
    with pytest.raises(SettingsRefused, match="WALLET_MASTER_KEY") as refused:
        wallet("rotate")
    assert "hush" not in str(refused.value)


def test_a_stacks_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The key stays from one start to the next, nobody else may read it, and `wipe` forgets it."""
    state = StateFolder(tmp_path / "state")
    state.create()
    state.ensure_master_key()
    first = state.master_key_file.read_text("ascii")
    state.ensure_master_key()

    assert state.master_key_file.read_text("ascii") == first
    assert len(bytes.fromhex(first)) == 32
    assert state.master_key_file.stat().st_mode & 0o777 == 0o600
    state.wipe()
    assert not state.path.exists()
