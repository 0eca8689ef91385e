"""This module is where another system's movements come in from a CSV file."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_tools import cli

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
MOVEMENTS = """\
type,walletId,toWalletId,amount,reference,occurredAt
deposit,ada,,100.00,"opening, 2019",2019-01-02T03:04:05Z
deposit,bob,,1,,
transfer,ada,bob,30.00,rent,2019-02-01T00:00:00Z
withdraw,bob,,6.00,,
withdraw,bob,,600.00,too much,
"""


@pytest.fixture
async def served(start_api: Start) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an API process, which the command can reach as well."""
    async with httpx.AsyncClient(base_url=start_api()[1], timeout=30) as client:
        yield client


@pytest.fixture
def movements(tmp_path: Path) -> Path:
    """Return a file of movements, of which the last cannot be."""
    path = tmp_path / "movements.csv"
    path.write_text(MOVEMENTS)
    return path


async def imported(served: httpx.AsyncClient, path: Path, *options: str) -> tuple[int, Any]:
    """Return the exit code and the report of `wallet import`."""
    report = path.with_suffix(".json")
    asked = ["import", str(path), "--url", str(served.base_url), "--report", str(report), *options]
    code = await asyncio.to_thread(cli.main, asked)
    return code, json.loads(report.read_text()) if report.exists() else None


async def test_what_a_file_says_is_done_in_its_order_and_proved(
    served: httpx.AsyncClient, movements: Path
) -> None:
    """The refused line is named, each ledger agrees, and the first times are kept."""
    code, report = await imported(served, movements)

    assert code == 1
    assert (report["rows"], report["done"]) == (5, 4)
    assert [(each["line"], each["code"]) for each in report["refused"]] == [
        (6, "insufficient_funds")
    ]
    assert [(each["walletId"], each["moved"], each["agrees"]) for each in report["wallets"]] == [
        *(("ada", "70.00", True), ("bob", "25.00", True)),
    ]
    entries = (await served.get("/v1/wallets/ada/ledger")).json()["items"]
    assert [each["metadata"] for each in entries] == [
        {"occurredAt": "2019-02-01T00:00:00Z"},
        {"occurredAt": "2019-01-02T03:04:05Z"},
    ]
    assert entries[1]["reference"] == "opening, 2019"


async def test_a_file_that_is_imported_again_changes_nothing(
    served: httpx.AsyncClient, movements: Path, sql: asyncpg.Connection
) -> None:
    """Whether it broke off or not: each line has its key, and a file of other content others."""
    await imported(served, movements)
    before = await sql.fetchval("SELECT count(*) FROM ledger_entries")

    _, report = await imported(served, movements)

    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == before
    assert report["done"] == 4
    assert report["agrees"]
    movements.write_text(MOVEMENTS.replace("opening", "the opening"))
    await imported(served, movements)
    assert await sql.fetchval("SELECT count(*) FROM ledger_entries") == 2 * before


async def test_a_rehearsal_foresees_what_lacks_and_moves_nothing(
    served: httpx.AsyncClient, movements: Path, sql: asyncpg.Connection
) -> None:
    """From the balances that are there, each line on what the ones before it leave."""
    code, report = await imported(served, movements, "--dry-run")

    assert code == 1
    assert [each["line"] for each in report["refused"]] == [6]
    assert report["refused"][0]["code"] == "insufficient_funds"
    assert await sql.fetchval("SELECT count(*) FROM operations") == 0


async def test_a_rehearsal_refuses_as_the_ledger_does(
    served: httpx.AsyncClient, movements: Path
) -> None:
    """By the same rules, limits, overdrafts and fees too: what it foresees is what then comes."""
    await served.post("/v1/wallets", json={"id": "yen", "currency": "JPY"})
    await served.post("/v1/wallets", json={"id": "ice"})
    freezing = {"direction": "in", "reason": "audit"}
    await served.post("/v1/wallets/ice/deposit", json={"amount": "5.00", "requestId": "r1"})
    await served.post("/v1/wallets/ice/freeze", json=freezing)
    await served.put("/v1/wallets/yen/limits", json={"maxTransaction": "10"})
    await served.put("/v1/wallets/ice/limits", json={"overdraft": "1.00"})
    await served.put("/v1/fees/withdraw/USD", json={"flat": "1.00"})
    movements.write_text(
        "type,walletId,toWalletId,amount,requestId\n"
        "deposit,a,,9.00,\n"
        "transfer,a,a,1.00,\n"
        "transfer,a,nobody,1.00,\n"
        "transfer,a,yen,1.00,\n"
        "transfer,a,ice,1.00,\n"
        "deposit,yen,,1.5,\n"
        "withdraw,nobody,,1.00,\n"
        "withdraw,a,,9.00,\n"
        "deposit,yen,,11,\n"
        "withdraw,ice,,5.00,\n"
        "deposit,ice,,5.00,r1\n"
        "deposit,ice,,5.00,not a key\n"
        "deposit,no wallet,,5.00,\n"
        "withdraw,a,,8.00,\n"
    )

    _, foreseen = await imported(served, movements, "--dry-run")
    _, came = await imported(served, movements)

    told = [[(each["line"], each["code"]) for each in one["refused"]] for one in (foreseen, came)]
    assert told[0] == told[1]
    assert [code for _, code in told[0]] == [
        *("same_wallet", "recipient_not_found", "currency_mismatch", "wallet_frozen"),
        *("invalid_amount", "wallet_not_found", "insufficient_funds", "limit_exceeded"),
        *("invalid_request", "invalid_request"),
    ]
    assert (foreseen["done"], came["done"]) == (4, 4)


async def test_a_key_is_its_wallets_and_a_text_stays_as_it_is(
    served: httpx.AsyncClient, movements: Path
) -> None:
    """The same key in two wallets, and a reference with a line break of another script."""
    movements.write_text(
        "type,walletId,toWalletId,amount,requestId,reference\n"
        'deposit,a,,5.00,r1,"one\u2028two"\n'
        "deposit,b,,7.00,r1,\n"
        "transfer,b,a,5.00,r1-b,\n"
        "transfer,b,a,5,r1-b,\n"
        "deposit,a,,5.00,r1-b,\n",
        "utf-8",
    )

    code, report = await imported(served, movements)

    assert (code, report["refused"]) == (0, [])
    assert [(each["moved"], each["agrees"]) for each in report["wallets"]] == [
        *(("15.00", True), ("2.00", True)),
    ]
    entries = (await served.get("/v1/wallets/a/ledger")).json()["items"]
    assert entries[-1]["reference"] == "one\u2028two"


async def test_another_wallets_key_is_not_the_files(
    served: httpx.AsyncClient, movements: Path
) -> None:
    """A transfer that came in under the same key of its sender is none of the file's movements."""
    movements.write_text("type,walletId,amount,requestId\ndeposit,ada,5.00,k1\n")
    await served.post("/v1/wallets/bob/deposit", json={"amount": "9.00"})
    await served.post("/v1/wallets/ada/deposit", json={"amount": "1.00"})
    paid = {"toWalletId": "ada", "amount": "7.00", "requestId": "k1"}
    assert (await served.post("/v1/wallets/bob/transfer", json=paid)).status_code == 201

    code, report = await imported(served, movements)

    told = [(each["moved"], each["inLedger"]) for each in report["wallets"]]
    assert (code, told) == (0, [("5.00", "5.00")])


async def test_imports_at_once_wait_for_each_other(
    served: httpx.AsyncClient, tmp_path: Path
) -> None:
    """More of them than the service carries out at a time: each is done in the end."""
    files = [tmp_path / f"{number}.csv" for number in range(8)]
    for path in files:
        row = f"deposit,{path.stem},1.00\n"
        path.write_text("type,walletId,amount\n" + row * 1_000)

    came = await asyncio.gather(*(imported(served, path) for path in files))

    assert [(code, report["done"]) for code, report in came] == [(0, 1_000)] * 8


async def test_a_report_that_cannot_be_written_is_known_before_anything_moves(
    served: httpx.AsyncClient,
    movements: Path,
    sql: asyncpg.Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nor is a folder a file: both are told by their name."""
    nowhere = movements.parent / "nowhere" / "report.json"

    code, _ = await imported(served, movements, "--report", str(nowhere))
    as_file, _ = await imported(served, movements.parent)

    told = capsys.readouterr().err
    assert (code, as_file) == (1, 1)
    assert f"{nowhere}: No such file or directory; nothing was sent" in told
    assert f"{movements.parent}: Is a directory" in told
    assert await sql.fetchval("SELECT count(*) FROM api_audit") == 0


async def test_what_the_ledger_does_not_have_is_seen(
    served: httpx.AsyncClient, movements: Path, sql: asyncpg.Connection
) -> None:
    """A key that was used for something else before cannot pass for the file's."""
    movements.write_text("type,walletId,amount,requestId\ndeposit,ada,5.00,k1\n")
    await served.post("/v1/wallets/ada/deposit", json={"amount": "4.00", "requestId": "k1"})

    code, report = await imported(served, movements)

    assert code == 1
    assert report["refused"][0]["code"] == "idempotency_key_reused"
    assert report["wallets"] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no column amount, type, walletId"),
        ("type,walletId,amount,colour\n", "unknown columns: colour"),
        ("type,walletId,amount,\ndeposit,ada,1,\n", "has a column without a name"),
        ("type,walletId,amount\ngift,ada,1\n", "line 2: type is none of"),
        ("type,walletId,amount\ndeposit,ada,1e3\n", "line 2: amount must be a positive decimal"),
        ("type,walletId,amount\ndeposit,ada\n", "line 2: has not as many cells"),
        ("type,walletId,amount\ndeposit,ada,1,2\n", "line 2: has not as many cells"),
        ("type,walletId,amount\ntransfer,ada,1\n", "line 2: toWalletId is what"),
        ("type,walletId,amount,amount\ndeposit,ada,1,1\n", "names a column twice"),
        *(
            (f"type,walletId,amount,occurredAt\ndeposit,ada,1,{when}\n", "must be an instant")
            for when in ("soon", "2020-W01-1", "2020-01-02T03:04:05")
        ),
    ],
)
async def test_a_file_that_is_none_is_refused_before_anything_is_sent(
    served: httpx.AsyncClient,
    movements: Path,
    sql: asyncpg.Connection,
    capsys: pytest.CaptureFixture[str],
    text: str,
    told: str,
) -> None:
    """With the line and what is wrong with it."""
    movements.write_text(text)

    code, report = await imported(served, movements)

    assert (code, report) == (1, None)
    assert told in capsys.readouterr().err
    assert await sql.fetchval("SELECT count(*) FROM api_audit") == 0
