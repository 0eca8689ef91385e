"""This module is where an operator lists, makes and archives the audit's months."""

import asyncio
import csv
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from wallet_db_orm import seals
from wallet_db_orm.database import Database
from wallet_db_orm.partitions import first_id, month_after
from wallet_tools import cli

NOW = datetime.now(UTC)
OLD = f"api_audit_{month_after(NOW, -14):%Y_%m}"
ROW = (
    "clock_timestamp(), 'POST', '/a,b', '\\x00ff', '{\"a\": \"\"}', NULL, 201, '', 'w\n1', NULL,"
    " 't', 1"
)


class Wallet:
    """The operator's command against this test's database, and the database itself."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url.replace("+asyncpg", "")
        self._capsys = capsys
        self.said = ""
        self.complained = ""

    def __call__(self, *arguments: str) -> int:
        code = cli.main(arguments)
        captured = self._capsys.readouterr()
        self.said, self.complained = captured.out, captured.err
        return code

    def listed(self, *verb: str) -> dict[str, Any]:
        assert self("partitions", *verb, "--json") == 0
        told: dict[str, Any] = json.loads(self.said)
        return told

    def fetch(self, sql: str, *arguments: object) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self._url)
            try:
                return [row[0] for row in await connection.fetch(sql, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def seal(self) -> None:
        async def run() -> None:
            database = Database(self._url, application_name="wallet-test")
            assert await seals.seal(database.primary)
            await database.dispose()

        asyncio.run(run())


@pytest.fixture
def wallet(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wallet:
    """Return the command with a database that has a month of long ago, with three rows."""
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    wallet = Wallet(database_url, capsys)
    bounds = [first_id(month_after(NOW, months)) for months in (-14, -13)]
    wallet.fetch(
        f"CREATE TABLE {OLD} PARTITION OF api_audit"
        f" FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
    )
    for nth in range(3):
        wallet.fetch(f"INSERT INTO api_audit SELECT $1, {ROW}", UUID(int=bounds[0].int + nth))
    return wallet


def test_the_months_are_listed(wallet: Wallet) -> None:
    """Each with its days, rows and bytes, and whether it may be archived; the rest has no days."""
    told = wallet.listed()

    assert wallet.listed("list")["items"] == told["items"]
    names = [each["name"] for each in told["items"]]
    assert names[0] == OLD
    assert names[-1] == "api_audit_rest"
    assert len(names) == 6
    first, rest = told["items"][0], told["items"][-1]
    assert (first["from"], first["to"]) == tuple(
        f"{month_after(NOW, months):%Y-%m-%d}" for months in (-14, -13)
    )
    assert first["bytes"] > 0
    assert (rest["from"], rest["to"]) == (None, None)
    assert [each["name"] for each in told["items"] if each["archivable"]] == [OLD]
    assert told["archived"] == []

    assert wallet("partitions") == 0
    assert OLD in wallet.said
    assert wallet.said.count("may be archived") == 1


def test_months_are_made_ahead(wallet: Wallet) -> None:
    """So many as are asked for, and those that are there are left alone."""
    assert wallet("partitions", "create", "--months", "5") == 0
    made = wallet.said.split()
    assert wallet("partitions", "create", "--months", "5") == 0

    assert made == [
        *("created", f"api_audit_{month_after(NOW, 4):%Y_%m}"),
        *("created", f"api_audit_{month_after(NOW, 5):%Y_%m}"),
    ]
    assert wallet.said == ""


def test_migrating_makes_the_coming_months(wallet: Wallet) -> None:
    """After `wallet migrate` this month and the next three have their partition."""
    lost = f"api_audit_{month_after(NOW, 2):%Y_%m}"
    wallet.fetch(f"DROP TABLE {lost}")

    assert wallet("migrate") == 0

    assert lost in [each["name"] for each in wallet.listed()["items"]]


def test_a_month_is_written_out_and_stays(wallet: Wallet, tmp_path: Path) -> None:
    """Without --drop there is a file, for its owner alone, and nothing else has changed."""
    file = tmp_path / "audit.csv"

    assert wallet("partitions", "archive", OLD, "--to", str(file)) == 0

    assert hashlib.sha256(file.read_bytes()).hexdigest() in wallet.said
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == [
        str(each) for each in wallet.fetch(f"SELECT id FROM {OLD} ORDER BY id")
    ]
    assert {row["wallet_id"] for row in rows} == {"w\n1"}
    assert list(tmp_path.iterdir()) == [file]
    assert wallet.fetch("SELECT count(*) FROM api_audit") == [3]
    assert wallet.listed()["archived"] == []


def test_a_month_is_archived_and_dropped(wallet: Wallet, tmp_path: Path) -> None:
    """With --drop its table goes, and the list remembers it with the file's hash."""
    file = tmp_path / "audit.csv"

    assert wallet("partitions", "archive", OLD, "--to", str(file), "--drop") == 0

    assert wallet.fetch("SELECT count(*) FROM api_audit") == [0]
    told = wallet.listed()
    assert OLD not in [each["name"] for each in told["items"]]
    (noted,) = told["archived"]
    assert (noted["name"], noted["rows"], noted["operations"]) == (OLD, 3, 0)
    assert noted["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert wallet("verify") == 0
    assert wallet("partitions") == 0
    assert noted["sha256"] in wallet.said
    assert wallet("partitions", "create") == 0
    assert wallet.said == "", "a month that left does not come back"


def test_an_archived_file_is_held_against_the_seals(wallet: Wallet, tmp_path: Path) -> None:
    """Each row is as it was sealed, or is named; what is no such file is refused."""
    file, other = tmp_path / "audit.csv", tmp_path / "other.csv"
    wallet.fetch("INSERT INTO unsealed_audit (ids) SELECT array_agg(id) FROM api_audit")
    wallet.seal()
    assert wallet("partitions", "archive", OLD, "--to", str(file), "--drop") == 0

    assert wallet("partitions", "check", OLD, str(file)) == 0
    assert "3 rows, all as sealed" in wallet.said
    other.write_text(file.read_text().replace("/a,b", "/a,c", 1))
    assert wallet("partitions", "check", OLD, str(other), "--json") == 1
    told = json.loads(wallet.said)
    assert (told["rows"], told["ok"], len(told["auditIds"])) == (3, False, 1)
    other.write_text("id,method\nnothing,at all\n")
    assert wallet("partitions", "check", OLD, str(other)) == 1
    assert "is no archive" in wallet.complained
    assert wallet("partitions", "check", "api_audit_1999_01", str(file)) == 1
    assert wallet("partitions", "check", OLD, str(tmp_path / "none")) == 1


def test_what_has_to_stay_is_refused(wallet: Wallet, tmp_path: Path) -> None:
    """Money, the rest, this month and the coming ones, what is too young: no file, no change."""
    file = tmp_path / "audit.csv"
    names = [f"api_audit_{month_after(NOW, ahead):%Y_%m}" for ahead in (0, 1)]

    for name in ("ledger_entries", "operations", "api_audit", "api_audit_rest", "x; y", *names):
        arguments = ("--to", str(file), "--keep-months", "0", "--drop")
        assert wallet("partitions", "archive", name, *arguments) == 1
        assert name in wallet.complained
    young = ("--to", str(file), "--keep-months", "14")
    assert wallet("partitions", "archive", OLD, *young) == 1
    assert "14 months" in wallet.complained

    assert list(tmp_path.iterdir()) == []
    assert wallet.fetch("SELECT count(*) FROM api_audit") == [3]


def test_a_file_is_never_written_over(wallet: Wallet, tmp_path: Path) -> None:
    """A name that is taken, or a folder that is not there: refused, and nothing is dropped."""
    file = tmp_path / "audit.csv"
    file.write_text("precious")

    for target in (file, tmp_path / "nowhere" / "audit.csv"):
        assert wallet("partitions", "archive", OLD, "--to", str(target), "--drop") == 1
        assert str(target) in wallet.complained

    assert file.read_text() == "precious"
    assert wallet.fetch("SELECT count(*) FROM api_audit") == [3]


def test_a_number_of_months_is_a_number(wallet: Wallet) -> None:
    """Less than none and more than a century are misread, as any word is."""
    for months in ("-1", "1201", "many"):
        with pytest.raises(SystemExit) as ended:
            wallet("partitions", "create", f"--months={months}")
        assert ended.value.code == 2
