"""This module is where another system's movements come in from a file: `wallet import`."""

import argparse
import csv
import io
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from wallet_common.errors import InvalidAmount
from wallet_common.money import parse_amount, parse_told, render
from wallet_tools.command import Refused, add_verb, print_json

_REQUIRED: Final = frozenset({"type", "walletId", "amount"})
_KNOWN: Final = (*sorted(_REQUIRED), "toWalletId", "requestId", "reference", "occurredAt")
_TYPES: Final = frozenset({"deposit", "withdraw", "transfer"})
# So many rows are sent at a time, and so long one such part may take. A rehearsal has one part, as
# only within it a row is looked at on what the ones before would leave.
_PART: Final = 10_000
_REHEARSED_MAX: Final = 100_000
_TIMEOUT_S: Final = 600.0
_PAGE: Final = 200
_CREATED: Final = 201
# So often the service is asked to take a part while it is busy with others.
_TURNS: Final = 60
_WRONG_SHOWN: Final = 20
_HELP: Final = """\
carry out the movements of a CSV file, in its order, over HTTP

The first line names the columns: type (deposit, withdraw, transfer), walletId, amount, and if you
like toWalletId, requestId, reference, occurredAt. When it happened at first is kept in the metadata
of the entry (`occurredAt`): the books' own times are those of the import. A row without a requestId
gets one from the file's content and its line, so an import that broke off is run again as a whole:
what was done is found done. A deposit to a wallet that is not there opens it in the service's own
currency; open wallets of other currencies first."""
_EPILOG: Final = """\
examples:
  wallet import movements.csv --dry-run        read it all, and say what would be refused
  wallet import movements.csv --report r.json  do it, then hold every wallet's ledger against it

WALLET_TOKEN holds the bearer token of a caller with the role payments or admin."""


@dataclass(frozen=True, slots=True)
class Row:
    """A movement, as a command of a batch, and the file's line that it ends on."""

    line: int
    command: Mapping[str, Any]


@dataclass(slots=True)
class Report:
    """What came of a file."""

    file: str
    sha256: str
    rows: int
    done: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    wallets: list[dict[str, Any]] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return all(each["agrees"] for each in self.wallets)


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb."""
    parser = add_verb(verbs, "import", _HELP.partition("\n")[0], _import)
    parser.description, parser.epilog = _HELP, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="(%(default)s)")
    parser.add_argument(
        "--dry-run", action="store_true", help="let the service say what would come; nothing moves"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")


def _import(options: argparse.Namespace) -> int:
    try:
        content: bytes = options.file.read_bytes()
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None
    digest = sha256(content).hexdigest()
    try:
        rows = read(content.decode("utf-8-sig"), digest)
    except UnicodeDecodeError as error:
        raise Refused(f"{options.file} is not UTF-8: {error}") from None
    if options.dry_run and len(rows) > _REHEARSED_MAX:
        raise Refused(f"a dry run has up to {_REHEARSED_MAX:,} rows, this file has {len(rows):,}")
    report = Report(str(options.file), digest, len(rows))
    try:
        if options.report:
            # Rather known before anything moves.
            options.report.touch()
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}; nothing was sent") from None
    token = os.environ.get("WALLET_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=options.url, headers=headers, timeout=_TIMEOUT_S) as api:
        outcomes = carry_out(api, rows, report, is_rehearsal=options.dry_run)
        if not options.dry_run:
            prove(api, rows, outcomes, report)
    told = asdict(report) | {"agrees": report.agrees}
    if options.report:
        options.report.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    else:
        print_json(told)
    return 0 if not report.refused and report.agrees else 1


def read(text: str, digest: str) -> Sequence[Row]:
    """Return the file's movements; raises Refused, naming lines, if any is none."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = set(reader.fieldnames or ())
    if "" in columns:
        raise Refused("the first line has a column without a name")
    if len(columns) != len(reader.fieldnames or ()):
        raise Refused("the first line names a column twice")
    if missing := _REQUIRED - columns:
        raise Refused(f"the first line names no column {', '.join(sorted(missing))}")
    if unknown := columns - set(_KNOWN):
        raise Refused(f"unknown columns: {', '.join(sorted(unknown))}; known: {', '.join(_KNOWN)}")
    rows, wrong = [], []
    try:
        for cells in reader:
            line = reader.line_num
            try:
                rows.append(Row(line, _command(cells, f"import:{digest[:16]}:{line}")))
            except ValueError as error:
                wrong.append(f"line {line}: {error}")
    except csv.Error as error:
        raise Refused(f"line {reader.line_num}: {error}") from None
    if wrong:
        more = f"\n… and {len(wrong) - _WRONG_SHOWN} more" if len(wrong) > _WRONG_SHOWN else ""
        raise Refused("nothing was sent\n" + "\n".join(wrong[:_WRONG_SHOWN]) + more)
    return rows


def _command(cells: Mapping[str | None, str | None], key: str) -> Mapping[str, Any]:
    given = {name: value for name, value in cells.items() if name is not None and value}
    if None in cells or None in cells.values():
        message = "has not as many cells as there are columns"
        raise ValueError(message)
    wrong = None
    if given.get("type") not in _TYPES:
        wrong = f"type is none of {', '.join(sorted(_TYPES))}"
    elif ("toWalletId" in given) != (given["type"] == "transfer"):
        wrong = "toWalletId is what a transfer has, and nothing else"
    elif "walletId" not in given:
        wrong = "walletId is empty"
    if wrong:
        raise ValueError(wrong)
    try:
        parse_amount(given.get("amount", ""))
    except InvalidAmount as error:
        message = f"amount {error}"
        raise ValueError(message) from None
    occurred_at = given.pop("occurredAt", None)
    if occurred_at is not None:
        _check_instant(occurred_at)
        given["metadata"] = {"occurredAt": occurred_at}  # type: ignore[assignment]  # an object
    return {"requestId": key} | given


def _check_instant(text: str) -> None:
    try:
        is_one = msgspec.convert(text, datetime).tzinfo is not None
    except msgspec.ValidationError:
        is_one = False
    if not is_one:
        message = "occurredAt must be an instant such as 2019-01-02T03:04:05Z"
        raise ValueError(message)


def carry_out(
    api: httpx.Client, rows: Sequence[Row], report: Report, *, is_rehearsal: bool
) -> Mapping[int, Mapping[str, Any]]:
    """
    Send the rows in their order; return the answers of those that were carried out, by line.

    A rehearsal moves nothing, and is answered alike.
    """
    address = "/v1/batches/stream" + ("?dryRun=true" if is_rehearsal else "")
    size = _REHEARSED_MAX if is_rehearsal else _PART
    done: dict[int, Mapping[str, Any]] = {}
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        lines = b"".join(json.dumps(row.command).encode() + b"\n" for row in part)
        with _sent(api, address, lines) as answer:
            for line in answer.iter_lines():
                outcome = json.loads(line)
                if "index" not in outcome:
                    of = f"{first + outcome['done']:,} of {len(rows):,} rows"
                    print(f"wallet import: {of}", file=sys.stderr)
                    continue
                row = part[outcome["index"]]
                if outcome["status"] == _CREATED:
                    done[row.line] = outcome["body"]
                else:
                    report.refused.append(_refusal(row, outcome["body"]))
        report.done = len(done)
    return done


@contextmanager
def _sent(api: httpx.Client, address: str, lines: bytes) -> Iterator[httpx.Response]:
    """Yield the answer to a stream; waits for its turn behind other streams, raises Refused."""
    told = {"Content-Type": "application/x-ndjson"}
    for turn in range(_TURNS):
        with api.stream("POST", address, content=lines, headers=told) as answer:
            if answer.status_code in {httpx.codes.OK, _CREATED}:
                yield answer
                return
            answer.read()
            is_busy = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not is_busy or turn + 1 == _TURNS:
                raise Refused(f"{answer.status_code}: {answer.text}; run it again to go on")
        time.sleep(float(answer.headers.get("Retry-After", "1")))


def _minor(amount: str, currency: str) -> int:
    sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    try:
        return sign * parse_told(digits).to_minor(currency)
    except InvalidAmount:
        return 0


def prove(
    api: httpx.Client, rows: Sequence[Row], done: Mapping[int, Mapping[str, Any]], report: Report
) -> None:
    """Hold each wallet's ledger against what the file has moved there, by operation."""
    # A row that came twice has moved once; what a transfer brings is known by the transfer.
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.line in done:
            command, operation_id = row.command, done[row.line]["operationId"]
            sign = "" if command["type"] == "deposit" else "-"
            wanted[command["walletId"]][operation_id] = f"{sign}{command['amount']}"
            if "toWalletId" in command:
                wanted[command["toWalletId"]][operation_id] = command["amount"]
    for wallet_id, moved in sorted(wanted.items()):
        found, currency = _ledger(api, wallet_id, set(moved))
        expected = {each: _minor(amount, currency) for each, amount in moved.items()}
        report.wallets.append(
            {
                "walletId": wallet_id,
                "currency": currency,
                "rows": len(moved),
                "moved": render(sum(expected.values()), currency),
                "inLedger": render(sum(found.values()), currency),
                "agrees": found == expected,
            }
        )


def _ledger(
    api: httpx.Client, wallet_id: str, operation_ids: set[str]
) -> tuple[dict[str, int], str]:
    """Return what the wallet's entries of these operations have moved, and its currency."""
    found: dict[str, int] = {}
    currency, cursor = "", None
    while len(found) < len(operation_ids):
        asked = {"limit": _PAGE} | ({"cursor": cursor} if cursor else {})
        address = f"/v1/wallets/{quote(wallet_id, safe='')}/ledger"
        answer = api.get(address, params=asked)
        if answer.status_code != httpx.codes.OK:
            raise Refused(f"{answer.status_code}: {answer.text}")
        page = answer.json()
        for entry in page["items"]:
            currency, operation_id = entry["currency"], entry["transferId"] or entry["operationId"]
            if operation_id in operation_ids and entry["counterAccount"] != "@fees":
                found[operation_id] = found.get(operation_id, 0) + _minor(entry["amount"], currency)
        cursor = page["nextCursor"]
        if cursor is None:
            break
    return found, currency


def _refusal(row: Row, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"line": row.line, "code": body.get("code"), "detail": body.get("detail")}
