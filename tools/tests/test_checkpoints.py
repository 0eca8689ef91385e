"""This module is where an operator signs the books, and a stranger checks what he is shown."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.orders import asked_for
from wallet_common.commands import Deposit
from wallet_common.money import parse_amount
from wallet_db_orm import roles
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_tools import cli
from wallet_tools.postgres import PostgresServer


class Operator:
    """The `wallet` command against this test's books, and the folder of its files."""

    def __init__(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self.folder = folder
        self._capsys = capsys
        self.said = ""
        self.complained = ""

    def __call__(self, *arguments: object) -> int:
        code = cli.main([str(each) for each in arguments])
        captured = self._capsys.readouterr()
        self.said, self.complained = captured.out, captured.err
        return code

    def deposit(self, wallet_id: str, count: int = 1) -> None:
        async def run() -> None:
            database = Database(self._url, application_name="wallet-test")
            lanes = GroupCommit(database)
            for _ in range(count):
                command = Deposit(
                    wallet_id=wallet_id,
                    request_id=new_id(),
                    operation_id=new_id(),
                    amount=parse_amount("1.00"),
                    opens_in="USD",
                )
                await lanes.submit(asked_for(command))
            await lanes.close()
            await database.dispose()

        asyncio.run(run())

    def execute(self, sql: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self._url.replace("+asyncpg", ""))
            await connection.execute(sql)
            await connection.close()

        asyncio.run(run())

    def violations(self, *options: object) -> dict[str, list[dict[str, Any]]]:
        code = self("verify", "--json", *options)
        told = json.loads(self.said)
        found = {each["id"]: each["violations"] for each in told["invariants"]}
        assert (code == 0) == told["ok"]
        return {name: violations for name, violations in found.items() if violations}


@pytest.fixture
def operator(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Operator:
    pair = Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    monkeypatch.setenv("WALLET_CHECKPOINT_KEY_FILE", str(private))
    monkeypatch.setenv("WALLET_CHECKPOINT_FILE", str(tmp_path / "checkpoints.jsonl"))
    return Operator(database_url, tmp_path, capsys)


def test_an_entry_is_proved_to_who_has_only_the_public_key(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof needs no database; one changed figure or another key, and it proves nothing."""
    for wallet_id in ("ann", "bob", "cid", "dan", "eve"):
        operator.deposit(wallet_id, 3)
    file, public = operator.folder / "proof.json", operator.folder / "public.pem"
    assert operator("proof", "cid", 3, "--to", file) == 1
    assert "wallet checkpoint" in operator.complained
    assert operator("checkpoint") == 0
    assert operator("proof", "cid", 3, "--to", file) == 0
    assert operator("proof", "cid", 3, "--to", file) == 1
    assert "--to" in operator.complained
    for name in ("WALLET_DATABASE_URL", "WALLET_CHECKPOINT_KEY_FILE", "WALLET_CHECKPOINT_FILE"):
        monkeypatch.delenv(name)

    assert operator("proof", "check", file, "--key-file", public, "--json") == 0
    told = json.loads(operator.said)
    assert (told["ok"], told["entry"]["wallet_id"], told["entry"]["wallet_version"]) == (
        *(True, "cid"),
        3,
    )
    assert operator("proof", "check", file) == 1
    assert "--key-file" in operator.complained
    other = operator.folder / "other.key"
    other.write_text("ab" * 32)
    assert operator("proof", "check", file, "--key-file", other) == 1
    assert "not signed by this key" in operator.complained
    proof = json.loads(file.read_text())
    for part, value in (
        ("before", "00" * 32),
        ("following", []),
        ("path", proof["path"][1:]),
        ("head", proof["head"] | {"balanceMinor": 301}),
        ("entry", proof["entry"] | {"amount_minor": 101}),
        ("entry", proof["entry"] | {"operation_id": "no id"}),
        ("checkpoint", proof["checkpoint"].replace('"wallets":5', '"wallets":6')),
        ("checkpoint", "{}"),
    ):
        file.write_text(json.dumps(proof | {part: value}))
        assert operator("proof", "check", file, "--key-file", public) == 1, part
        assert "proves nothing" in operator.complained
    file.write_text("nothing")
    assert operator("proof", "check", file, "--key-file", public) == 1


def test_what_cannot_be_proved_is_told(operator: Operator) -> None:
    """Which wallet, which entry, which file: each refusal says what was asked in vain."""
    operator.deposit("ann")

    assert operator("proof", "ann", 9) == 1
    assert "ann has no entry 9" in operator.complained
    assert operator("proof", "ann", new_id()) == 1
    assert operator("proof", "ann", "first") == 1
    assert "neither a version nor an operation's id" in operator.complained
    assert operator("proof", "check", operator.folder / "none") == 1
    assert "is not there" in operator.complained


def test_verify_compares_with_the_file(operator: Operator) -> None:
    """The file that is set or named is held against the books; a public key is enough for that."""
    operator.deposit("ann")
    assert operator("checkpoint") == 0
    assert operator("checkpoint") == 0
    assert "nothing has changed" in operator.said
    operator.deposit("ann")
    assert operator("checkpoint", "--json") == 0
    assert json.loads(operator.said)["checkpoint"]["checkpoint"] == 2
    file, copy = operator.folder / "checkpoints.jsonl", operator.folder / "copy"

    assert operator.violations() == {}
    copy.write_text(file.read_text().splitlines()[0] + "\n")
    assert [each["checkpoint"] for each in operator.violations("--checkpoints", copy)["H5"]] == [2]
    assert operator("verify", "--checkpoints", operator.folder / "none") == 2
    assert "is not there" in operator.complained


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WALLET_CHECKPOINT_KEY_FILE", "", "WALLET_CHECKPOINT_KEY is not set"),
        ("WALLET_CHECKPOINT_FILE", "", "neither WALLET_CHECKPOINT_FILE nor"),
        ("WALLET_CHECKPOINT_KEY_FILE", "public.pem", "the private one is needed"),
    ],
)
def test_a_checkpoint_that_cannot_be_signed_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """What lacks is named, and nothing is taken."""
    operator.deposit("ann")
    monkeypatch.setenv(name, value and str(operator.folder / value))

    assert operator("checkpoint") == 1

    assert told in operator.complained


def test_only_the_worker_s_role_takes_a_checkpoint(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: PostgresServer,
    database_url: str,
) -> None:
    """The API's role is refused and told who may; nothing is signed for it."""
    name = database_url.rpartition("/")[2]
    # Privileges on a database are not copied with its template.
    postgres_server.ensure_database(name)
    operator.deposit("ann")
    for role, code in ((roles.API, 1), (roles.WORKER, 0)):
        monkeypatch.setenv("WALLET_DATABASE_URL", postgres_server.url(name, role))
        assert operator("checkpoint") == code
        assert ("wallet_worker" in operator.complained) == (code == 1)
