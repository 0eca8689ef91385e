"""This module is where an operator keeps the audit's months: `wallet partitions`."""

import argparse
import csv
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

from asyncpg import InsufficientPrivilegeError, PostgresError

from wallet_common.errors import Busy
from wallet_db_orm import archive, partitions
from wallet_db_orm.archive import Archived, Exported, NotArchivable
from wallet_db_orm.database import Database
from wallet_db_orm.partitions import KEEP_MONTHS, MONTHS_AHEAD, Ensured, Partition
from wallet_db_orm.storage import MONTHS_AHEAD_MAX
from wallet_tools.command import (
    AS_OWNER,
    Refused,
    add_verb,
    new_file,
    print_json,
    with_database,
)

# A row's body, as hexadecimal digits, is the longest field; the edge admits 64 KiB.
_FIELD_MAX: Final = 1 << 24
_CHUNK: Final = 1 << 20
# So many rows that are off are named; --json names all.
_TOLD_MAX: Final = 20


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "partitions", "the audit's months: list, create, archive", _list)
    parser.add_argument("--json", action="store_true", help="for programs")
    own = parser.add_subparsers(metavar="VERB")
    listing = add_verb(own, "list", "every partition, and what was archived", _list)
    listing.add_argument("--json", action="store_true", help="for programs")
    creating = add_verb(own, "create", "make the partitions that lack", _create)
    creating.add_argument(
        "--months",
        type=_months_ahead,
        default=MONTHS_AHEAD,
        help=f"so many beyond this one (default {MONTHS_AHEAD}, at most {MONTHS_AHEAD_MAX})",
    )
    archiving = add_verb(own, "archive", "write a month to a file, and drop it if told", _archive)
    archiving.add_argument("name")
    archiving.add_argument("--to", type=Path, required=True, help="a new file, CSV with a header")
    archiving.add_argument("--drop", action="store_true", help="then take it out of the database")
    archiving.add_argument(
        "--keep-months",
        type=_count,
        default=KEEP_MONTHS,
        help=f"refuse what ended within so many months (default {KEEP_MONTHS})",
    )
    _add_check(own)


def _add_check(own: Any) -> None:  # noqa: ANN401  # argparse's own
    checking = add_verb(
        own, "check", "hold an archived month's file against the seals", _check_file
    )
    checking.add_argument("name")
    checking.add_argument("file", type=Path)
    checking.add_argument("--json", action="store_true", help="for programs")


def make_ahead() -> None:
    """Make the partitions of the coming months; if that is not possible now, the worker will."""
    try:
        _told(with_database(lambda database: partitions.ensure(database.primary)))
    except Busy as busy:
        print(f"the coming months have no partition yet: {busy}")


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1200:
        raise argparse.ArgumentTypeError("a number of months, 0 or more")
    return number


def _months_ahead(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MONTHS_AHEAD_MAX:
        raise argparse.ArgumentTypeError(f"a number of months from 0 to {MONTHS_AHEAD_MAX}")
    return number


def _list(options: argparse.Namespace) -> int:
    async def look(database: Database) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        here = await partitions.partitions(database.primary)
        gone = await archive.archived(database.primary)
        return [_listed(each) for each in here], [_noted(each) for each in gone]

    here, gone = with_database(look)
    if options.json:
        print_json({"items": here, "archived": gone})
        return 0
    for each in here:
        span = f"{each['from'] or '':<10} {each['to'] or '':<10}"
        size = f"{each['rows']:>12} rows {each['bytes']:>14} bytes"
        print(f"{each['name']:<18} {span} {size}{'  may be archived' * each['archivable']}")
    for each in gone:
        print(f"{each['name']:<18} {each['rows']} rows in an archive, sha256 {each['sha256']}")
    return 0


def _listed(partition: Partition) -> dict[str, Any]:
    return {
        "name": partition.name,
        "from": _day(partition.from_id),
        "to": _day(partition.to_id),
        "rows": partition.rows_estimated,
        "bytes": partition.bytes,
        "archivable": partition.is_archivable(datetime.now(UTC)),
    }


def _noted(archived: Archived) -> dict[str, Any]:
    return {
        "name": archived.name,
        "from": _day(archived.from_id),
        "to": _day(archived.to_id),
        "rows": archived.rows,
        "operations": archived.operations,
        "sha256": archived.sha256,
        "archivedAt": archived.archived_at,
    }


def _day(bound: UUID | None) -> str | None:
    """Return the day on which a range begins or ends; None for one that is open there."""
    return f"{partitions.instant_of(bound):%Y-%m-%d}" if bound and bound.int else None


def _create(options: argparse.Namespace) -> int:
    def work(database: Database) -> Coroutine[Any, Any, Ensured]:
        return partitions.ensure(database.primary, months_ahead=options.months)

    try:
        _told(with_database(work))
    except Busy as busy:
        raise Refused(str(busy)) from None
    return 0


def _told(ensured: Ensured) -> None:
    for name in ensured.created:
        print(f"created {name}")
    for name in ensured.postponed:
        print(f"{name} is made once its month is over: the rest holds too many of its rows")


def _archive(options: argparse.Namespace) -> int:
    async def work(database: Database) -> tuple[Exported, str]:
        await _check(database, options.name, options.keep_months)
        if options.drop and not await archive.may_drop(database.primary):
            raise Refused(f"only the tables' owner drops a partition: {AS_OWNER}")
        with new_file(options.to) as file:
            exported = await archive.export(database.primary, options.name, _writer(file))
        digest = _verified(options.to, exported)
        if options.drop:
            await archive.drop(database.primary, options.name, exported, digest)
        return exported, digest

    try:
        exported, digest = with_database(work)
    except (NotArchivable, Busy) as refused:
        written = f"; {options.to} stays, unused" if options.to.exists() else ""
        raise Refused(f"{refused}{written}") from None
    print(f"{exported.rows} rows of {options.name} are in {options.to}, sha256 {digest}")
    print("dropped" if options.drop else "still in the database; --drop takes them out")
    return 0


async def _check(database: Database, name: str, keep_months: int) -> None:
    there = {each.name: each for each in await partitions.partitions(database.primary)}
    if name not in there:
        raise Refused(f"{name} is no partition of the audit; see `wallet partitions`")
    if not there[name].is_archivable(datetime.now(UTC), keep_months):
        raise Refused(f"{name} has to stay: it is no month that ended {keep_months} months ago")


def _check_file(options: argparse.Namespace) -> int:
    async def work(database: Database) -> tuple[int, list[UUID]]:
        return await archive.contradictions(database.primary, options.name, options.file)

    if not options.file.exists():
        raise Refused(f"{options.file} is not there")
    try:
        rows, off = with_database(work)
    except NotArchivable as refused:
        raise Refused(str(refused)) from None
    except InsufficientPrivilegeError:
        raise Refused(f"a file is looked through in a table of its own: {AS_OWNER}") from None
    except PostgresError as unreadable:
        raise Refused(f"{options.file} is no archive: {unreadable}") from None
    if options.json:
        print_json({"ok": not off, "rows": rows, "auditIds": off})
    else:
        print(f"{rows} rows, " + (f"{len(off)} are not as sealed:" if off else "all as sealed"))
        for audit_id in off[:_TOLD_MAX]:
            print(f"  {audit_id}")
    return 1 if off else 0


def _writer(file: IO[bytes]) -> Callable[[bytes], Awaitable[None]]:
    async def write(piece: bytes) -> None:
        file.write(piece)

    return write


def _verified(path: Path, exported: Exported) -> str:
    """Read the file again: return its SHA-256, or refuse to trust it."""
    csv.field_size_limit(_FIELD_MAX)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = sum(1 for _ in csv.reader(lines)) - 1
    if rows != exported.rows:
        raise Refused(f"{path} has {rows} rows, {exported.rows} were sent")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
