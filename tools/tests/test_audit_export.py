"""This module is where an export of the audit is shown to tell whether somebody changed it."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from wallet_tools import cli
from wallet_tools.postgres import PostgresServer

ROWS = """
INSERT INTO api_audit SELECT uuidv7(), now(), 'POST', '/v1/wallets', '{}', '{}', NULL, 201,
    NULL, NULL, NULL, 'trace-' || n, n FROM generate_series(1, 450) AS n
"""
Wallet = Callable[..., int]


@pytest.fixture
def wallet(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Wallet:
    """Return the command, against a database with 450 audit rows."""
    postgres_server.execute(ROWS, database_url.rpartition("/")[2])
    monkeypatch.setenv("WALLET_DATABASE_URL", database_url)
    return lambda *arguments: cli.main([str(each) for each in arguments])


@pytest.fixture
def file(wallet: Wallet, tmp_path: Path) -> Path:
    """Return a file with all of them."""
    path = tmp_path / "audit.jsonl"
    assert wallet("audit", "export", "--since", "2026-01-01T00:00:00Z", "--to", path) == 0
    return path


def test_an_export_has_every_row_once_and_in_order(file: Path) -> None:
    """One line a row, each with the hash of the one before; only its owner may read the file."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]

    assert [line["row"]["durationUs"] for line in lines[:-1]] == list(range(1, 451))
    assert lines[-1]["row"]["rows"] == 450
    assert [line["previous"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert lines[0]["previous"] == "0" * 64
    assert file.stat().st_mode & 0o777 == 0o600


def test_big_bodies_are_exported_whole_and_few_at_a_time(
    wallet: Wallet, postgres_server: PostgresServer, database_url: str, tmp_path: Path
) -> None:
    """Twenty bodies of four MiB are all in the file, and never all in memory."""
    big = ROWS.replace("'{}', '{}'", "convert_to(repeat('x', 4194304), 'UTF8'), '{}'")
    postgres_server.execute(big.replace("450", "20"), database_url.rpartition("/")[2])
    path = tmp_path / "big.jsonl"

    tracemalloc.start()
    assert wallet("audit", "export", "--since", "2026-01-01T00:00:00Z", "--to", path) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    with path.open() as lines:
        sizes = [len(json.loads(line)["row"].get("body", "")) for line in lines]
    assert sizes == [2] * 450 + [4_194_304] * 20 + [0]
    assert peak < 64 * 1024 * 1024


def test_a_time_may_be_bounded(wallet: Wallet, capfd: pytest.CaptureFixture[str]) -> None:
    """What is outside is not exported; without a file the lines go to standard output."""
    times = ("--since", "2020-01-01T00:00:00Z", "--until", "2020-02-01T00:00:00Z")

    assert wallet("audit", "export", *times) == 0

    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["row"]["rows"] == 0


def test_what_was_exported_is_whole(
    wallet: Wallet, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The check reads the file alone and tells the last line's hash."""
    last = json.loads(file.read_text().splitlines()[-1])["hash"]
    capfd.readouterr()

    assert wallet("audit", "check", file, "--json") == 0

    told = json.loads(capfd.readouterr().out)
    assert told == {"ok": True, "rows": 450, "hash": last, "fault": None}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda lines: [lines[0].replace(b"trace-1", b"trace-9"), *lines[1:]],
            "line 1 was changed",
        ),
        (lambda lines: [*lines[:7], *lines[8:]], "line 8 does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1 does not follow"),
        (lambda lines: lines[:-1], "the end is missing"),
        (lambda lines: lines[:0], "the end is missing"),
        (lambda lines: [*lines, lines[-1]], "line 452 stands behind the end"),
        (lambda lines: [b"{}\n", *lines], "line 1 is no line of an export"),
        (lambda lines: [lines[0][:50]], "line 1 is no line of an export"),
    ],
    ids=["changed", "left out", "swapped", "cut short", "empty", "added", "strange", "half"],
)
def test_every_change_is_told(
    wallet: Wallet,
    file: Path,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[list[bytes]], list[bytes]],
    fault: str,
) -> None:
    """Whatever was done to the file, its first bad line is named and the exit code is 1."""
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    capfd.readouterr()

    assert wallet("audit", "check", file) == 1

    assert fault in capfd.readouterr().out


def test_a_file_that_is_there_is_kept(
    wallet: Wallet, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An export never writes over an older one."""
    before = file.read_bytes()

    assert wallet("audit", "export", "--since", "2026-01-01T00:00:00Z", "--to", file) == 1

    assert "exists already" in capfd.readouterr().err
    assert file.read_bytes() == before
