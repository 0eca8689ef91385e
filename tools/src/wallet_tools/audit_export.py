"""This module is where the audit leaves as lines that show if one was changed: `wallet audit`."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from wallet_api.problems import Problem
from wallet_api.strict import instant
from wallet_db_orm import audit_log
from wallet_db_orm.database import Database
from wallet_tools.command import Refused, add_group, add_verb, new_file, print_json, with_database

_NOTHING: Final = "0" * 64
_TOLD_EVERY: Final = 10_000


class Line(msgspec.Struct, frozen=True):
    """A line of an export; `hash` is the SHA-256 of `previous` and of the row's very text."""

    row: msgspec.Raw
    previous: str
    hash: str

    @property
    def is_whole(self) -> bool:
        return self.hash == _hash(self.previous, bytes(self.row))


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last row of an export: how many came before it, and of which time."""

    rows: int
    since: datetime
    until: datetime


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb and its own verbs."""
    own = add_group(verbs, "audit", "the audit: export it for write-once storage, check an export")
    exporting = add_verb(
        own, "export", "write a time's rows as JSON lines with chained hashes", _export
    )
    exporting.add_argument(
        "--since", type=_instant, required=True, help="from this time on (RFC 3339)"
    )
    exporting.add_argument(
        "--until",
        type=_instant,
        help="before this time (default: now; requests that are under way then are missing)",
    )
    exporting.add_argument("--to", type=Path, metavar="FILE", help="a new file (default: stdout)")
    checking = add_verb(own, "check", "verify the chain of an exported file", _check)
    checking.add_argument("file", type=Path)
    checking.add_argument("--json", action="store_true", help="for programs")


def _instant(text: str) -> datetime:
    try:
        return instant("time", text)
    except Problem as wrong:
        raise argparse.ArgumentTypeError(str(wrong.detail)) from None


def _export(options: argparse.Namespace) -> int:
    until = options.until or datetime.now(UTC)

    async def work(database: Database) -> tuple[int, str]:
        rows, last = 0, _NOTHING
        with _opened(options.to) as file:
            async for row in audit_log.every(database.reads, options.since, until):
                last = _write(file, msgspec.json.encode(row), last)
                rows += 1
                if rows % _TOLD_EVERY == 0:
                    print(f"{rows} rows, up to {row.recorded_at:%FT%TZ}", file=sys.stderr)
            end = End(rows=rows, since=options.since, until=until)
            return rows, _write(file, msgspec.json.encode(end), last)

    rows, last = with_database(work)
    print(f"{rows} rows; the last line's hash is {last}", file=sys.stderr)
    return 0


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with new_file(path) as file:
            yield file


def _write(file: IO[bytes], row: bytes, previous: str) -> str:
    line = Line(msgspec.Raw(row), previous, _hash(previous, row))
    file.write(msgspec.json.encode(line) + b"\n")
    return line.hash


def _hash(previous: str, row: bytes) -> str:
    return sha256(previous.encode() + row).hexdigest()


def _check(options: argparse.Namespace) -> int:
    try:
        with options.file.open("rb") as lines:
            rows, last, fault = _verified(lines)
    except OSError as away:
        raise Refused(f"{options.file}: {away.strerror}") from None
    if options.json:
        print_json({"ok": fault is None, "rows": rows, "hash": last, "fault": fault})
    else:
        print(f"{rows} rows, the last good line's hash is {last}")
        print(
            f"NOT AS EXPORTED: {fault}"
            if fault
            else "the chain is whole, from its first line to its end"
        )
    return 0 if fault is None else 1


def _verified(lines: Iterable[bytes]) -> tuple[int, str, str | None]:
    """Return how many rows are good, the last good hash, and the first fault, if there is one."""
    rows, last, end = 0, _NOTHING, None
    for number, text in enumerate(lines, 1):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.MsgspecError:
            return rows, last, f"line {number} is no line of an export"
        if end is not None:
            return rows, last, f"line {number} stands behind the end"
        if line.previous != last:
            return rows, last, f"line {number} does not follow the one before: one is missing"
        if not line.is_whole:
            return rows, last, f"line {number} was changed"
        last = line.hash
        end = _end(line)
        rows += end is None
    if end is None:
        return rows, last, "the end is missing"
    return rows, last, None if end.rows == rows else f"{rows} rows, {end.rows} were exported"


def _end(line: Line) -> End | None:
    try:
        return msgspec.json.decode(line.row, type=End)
    except msgspec.ValidationError:
        return None
