"""This module is where an operator deals with letters by `wallet dlq`, on a table of letters."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database
from wallet_db_orm.ids import new_id
from wallet_tools import cli
from wallet_tools.postgres import PostgresServer

# Beginning with the one-byte form of an escape sequence, and turning the direction of writing.
STEERING = "\x9b2J\u202e\x7f"
ANNS = f'{{"walletId": "ann", "n": 1.50, "s": "{STEERING}"}}'.encode()

Wallet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def wallet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> Wallet:
    """Return how to run the command; its exit code, what it said, what it complained of."""
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    monkeypatch.delenv("RABBITMQ_URL", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["dlq", *arguments])
        except SystemExit as misread:
            code = int(misread.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def ids(database_url: str) -> list[str]:
    """Lay down three letters, the first two dead of the same; return their ids."""

    async def lay() -> list[str]:
        database = Database(database_url, application_name="wallet-test")
        bodies = {
            ANNS: "wrong 1",
            b"\x1b[31m": "wrong 2",
            b"c": "late",
        }
        found = []
        for body, error in bodies.items():
            found.append(new_id())
            now = datetime.now(UTC)
            await dead_letters.keep(
                database.primary,
                dead_letters.Letter(
                    id=found[-1],
                    queue="wallet.events.worker",
                    routing_key="FundsDeposited",
                    body=body,
                    error=error,
                    error_class="Poison",
                    attempts=1,
                    first_failed_at=now,
                    last_failed_at=now,
                ),
            )
        await database.dispose()
        return found

    return asyncio.run(lay())


def test_the_list_is_for_people_and_programs(wallet: Wallet, ids: list[str]) -> None:
    """Groups with counts and ages to read; items and groups as JSON."""
    code, told, _ = wallet("list")
    listed: Any = json.loads(wallet("list", "--json")[1])

    assert code == 0
    assert "2 x Poison: wrong 1" in told
    assert "s ago" in told
    assert "3 dead letters" in told
    assert set(listed) == {"items", "groups"}
    assert [item["id"] for item in listed["items"]] == ids
    assert [group["count"] for group in listed["groups"]] == [2, 1]


def test_a_letter_is_shown_as_it_came(wallet: Wallet, ids: list[str]) -> None:
    """The exact numbers, the exact bytes, and nothing that would steer a terminal."""
    shown: Any = json.loads(wallet("show", ids[0], "--json")[1])
    code, told, _ = wallet("show", ids[1])

    assert base64.b64decode(shown["bodyBase64"]) == ANNS
    assert shown["payload"] == {"walletId": "ann", "n": 1.5, "s": STEERING}
    assert shown["walletId"] == "ann"
    assert shown["projection"]["before"] is shown["projection"]["after"] is None
    assert "1.50" in wallet("show", ids[0])[1]
    assert code == 0
    for told_of in (told, wallet("show", ids[0])[1]):
        assert told_of.replace("\n", "").isprintable()
    assert "no event of ours" in told


def test_a_letter_is_discarded_by_somebody(
    wallet: Wallet, ids: list[str], postgres_server: PostgresServer, database_url: str
) -> None:
    """It is gone from the list; the log and the archive know who did it and why."""
    code, told, _ = wallet("discard", ids[2], "--reason", "a test", "--by", "carol")

    assert (code, ids[2] in told) == (0, True)
    assert len(json.loads(wallet("list", "--json")[1])["items"]) == 2
    sql = "SELECT d.operator, d.reason, l.act FROM discarded_letters AS d, operator_log AS l"
    logged = postgres_server.execute(sql, database_url.rpartition("/")[2])
    assert "carol" in logged
    assert "letter.discard" in logged


def test_refusals_say_what_to_do(wallet: Wallet, ids: list[str]) -> None:
    """1 for what cannot be done, 2 for what was misread; the words lead on."""
    code, _, complaint = wallet("show", "nothing")
    assert (code, "wallet dlq list" in complaint) == (1, True)
    code, _, complaint = wallet("replay", "--all")
    assert (code, "no event of ours" in complaint) == (1, True)
    assert wallet("replay", "--group", "00000000")[0] == 1
    assert wallet("replay")[0] == 2
    assert wallet("replay", "--all", "--rate", "0")[0] == 2
    assert wallet("discard", ids[0])[0] == 2
    for reason in (" ", "a\nb", "\x9b2J", "a \u202e b"):
        assert wallet("discard", ids[0], "--reason", reason)[0] == 2
    assert "operator log" in wallet("--help")[1]


def test_a_reader_that_has_enough_is_no_failure(database_url: str, ids: list[str]) -> None:
    """When the pipe is closed, as `head` closes it, nothing is complained of."""
    environment = {**os.environ, "WALLET_DATABASE_URL": database_url}
    environment.pop("RABBITMQ_URL", None)
    command = [sys.executable, "-m", "wallet_tools.cli", "dlq", "list", "--json"]
    ours, theirs = os.pipe()
    os.close(ours)

    told = subprocess.run(
        command, env=environment, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(theirs)

    assert ids
    assert (told.returncode, told.stderr) == (141, b"")
