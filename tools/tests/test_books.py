"""This module is where the operator's `wallet verify` is shown to tell what it should."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from wallet_tools import cli
from wallet_tools.ports import free_port


@pytest.fixture(autouse=True)
def _here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)


def proved(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["verify", "--json", *arguments])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, told


def execute(url: str, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute(sql)
        await connection.close()

    asyncio.run(run())


def test_the_report_is_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    """Each invariant by id, name, rows, violations and time; the next one may be incremental."""
    code, whole = proved(capsys)
    _, incremental = proved(capsys, "--incremental")
    _, at_rest = proved(capsys, "--at-rest")

    assert (code, whole["ok"], whole["mode"]) == (0, True, "whole")
    assert all(
        set(each) == {"id", "name", "checked", "violations", "seconds"}
        for each in whole["invariants"]
    )
    assert incremental["mode"] == "incremental"
    ids = [{each["id"] for each in report["invariants"]} for report in (whole, at_rest)]
    assert ids[1] - ids[0] == {"S8", "E4"}


def test_violations_are_told_to_people(
    capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    """A table as the answers come, ten violations of each at most, and exit code 1."""
    execute(
        database_url,
        "INSERT INTO wallets (id, currency, balance_minor, held_minor, status, version, created_at,"
        " updated_at, head) SELECT 'w' || n, 'USD', 1, 0, 'active', 1, now(), now(),"
        " decode(repeat('00', 32), 'hex') FROM generate_series(1, 12) AS n",
    )

    code = cli.main(["verify"])
    said = capsys.readouterr().out

    assert code == 1
    assert "  BROKEN M3             12 " in said
    assert "… and 2 more" in said
    assert "  holds  K8 " in said
    assert "THE BOOKS CONTRADICT THEMSELVES: whole proof of 2" in said


def test_who_cannot_prove_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database is no violation: exit code 2."""
    monkeypatch.setenv("WALLET_DATABASE_URL", f"postgresql://w:s@127.0.0.1:{free_port()}/w")

    assert cli.main(["verify"]) == 2
    assert "not reachable" in capsys.readouterr().err
    monkeypatch.delenv("WALLET_DATABASE_URL")
    assert cli.main(["verify"]) == 2


def test_who_may_only_read_proves_all_the_same(
    capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    """The proof is not kept, and that is said."""
    name = database_url.rpartition("/")[2]
    execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    assert cli.main(["verify"]) == 0
    assert "not kept" in capsys.readouterr().err
