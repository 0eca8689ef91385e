"""This module is where the operator's `wallet` command is read: migrate, verify, look, replay."""

import argparse
import asyncio
import base64
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from aio_pika.exceptions import AMQPError

from wallet_api import openapi, token
from wallet_api.app import describe
from wallet_common.events import json_schemas
from wallet_common.topology import Topology
from wallet_db_orm import outbox
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.migrations import upgrade
from wallet_db_orm.verify import Finding, verify
from wallet_tools import partitions
from wallet_tools.command import (
    Refused,
    add_group,
    add_verb,
    database_url,
    print_json,
    with_database,
)
from wallet_tools.letters import BrokerBox, Letter, LetterBox, TableBox

EPILOG: Final = """\
examples:
  wallet verify                    prove the books; exit code 1 if anything contradicts
  wallet verify --at-rest --json   with the statistics, once no event is under way; for programs
  wallet dlq list                  what the worker gave up on, grouped by error
  wallet dlq show ID               one letter: why it died, and what it says
  wallet dlq replay --all          put every letter back into its queue
  wallet partitions                the audit by month: what may be archived

WALLET_DATABASE_URL and RABBITMQ_URL say where; `tools/dev wallet …` sets them for the private
stack. Without RABBITMQ_URL letters are those of the table."""

_T = TypeVar("_T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 for done, 1 for failed or contradicted, 2 for misread."""
    options = _parser().parse_args(arguments or sys.argv[1:] or ["--help"])
    try:
        code: int = options.do(options)
    except Refused as refused:
        print(f"wallet: {refused}", file=sys.stderr)
        return 1
    except OSError as away:
        print(f"wallet: not reachable: {away}", file=sys.stderr)
        return 1
    except Exception as failed:  # an operator wants the reason, not our stack
        if trouble(failed) is Trouble.OTHER and not isinstance(failed, AMQPError):
            raise
        reason = str(failed).partition("\n")[0]
        print(f"wallet: {type(failed).__name__}: {reason}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wallet",
        description="The operator's command.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add_verb(verbs, "migrate", "bring the database's schema to the present", _migrate)
    proof = add_verb(verbs, "verify", "prove the books: every invariant in one snapshot", _verify)
    proof.add_argument("--at-rest", action="store_true", help="also what holds when all is quiet")
    proof.add_argument("--json", action="store_true", help="for programs")
    relay = add_group(verbs, "relay", "events on their way out")
    status = add_verb(relay, "status", "is a relay active, and how far behind", _relay_status)
    status.add_argument("--json", action="store_true", help="for programs")
    letters = add_group(verbs, "dlq", "dead letters: list, show, replay, discard")
    listing = add_verb(letters, "list", "every letter, grouped by error", _dlq_list)
    listing.add_argument("--json", action="store_true", help="for programs")
    showing = add_verb(letters, "show", "one letter with its body", _dlq_show)
    showing.add_argument("id")
    showing.add_argument("--json", action="store_true", help="for programs")
    replaying = add_verb(letters, "replay", "put letters back into their queue", _dlq_replay)
    which = replaying.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?")
    which.add_argument("--all", action="store_true", help="every letter")
    which.add_argument("--group", help="every letter of a group")
    discarding = add_verb(letters, "discard", "throw a letter away", _dlq_discard)
    discarding.add_argument("id")
    discarding.add_argument("--reason", required=True, help="why; it is printed with the letter")
    partitions.add(verbs)
    minting = add_verb(verbs, "token", "mint a bearer token for development", _token)
    minting.add_argument("--sub", required=True, help="whom the token names")
    minting.add_argument("--role", action="append", required=True, help="payments, auditor, admin")
    minting.add_argument("--ttl", type=int, default=3600, help="seconds (default 3600)")
    document = add_verb(
        verbs, "openapi", "print the OpenAPI document, or write it to FILE", _openapi
    )
    document.add_argument("file", nargs="?", type=Path)
    schemas = add_verb(verbs, "events-schemas", "write each event's JSON Schema to DIR", _schemas)
    schemas.add_argument("directory", type=Path)
    return parser


def _migrate(_: argparse.Namespace) -> int:
    upgrade(database_url())
    partitions.make_ahead()
    return 0


def _verify(options: argparse.Namespace) -> int:
    def tell(finding: Finding) -> None:
        if not options.json:
            mark = "broken" if finding.violations else "holds "
            cost = f"{finding.checked} rows, {finding.seconds} s"
            print(f"  {mark} {finding.id:<3} {finding.name} ({cost})")
            for violation in finding.violations[:10]:
                print(f"           {violation}")

    report = with_database(lambda db: verify(db.reads, at_rest=options.at_rest, progress=tell))
    if options.json:
        print_json(report)
    else:
        print("the books are right" if report.ok else "THE BOOKS CONTRADICT THEMSELVES")
    return 0 if report.ok else 1


def _relay_status(options: argparse.Namespace) -> int:
    async def look(database: Database) -> dict[str, Any]:
        lag = await outbox.lag(database.primary)
        active = await outbox.is_active(database.primary)
        return {"active": active, "outboxRows": lag.rows, "lagSeconds": round(lag.seconds, 3)}

    status = with_database(look)
    if options.json:
        print_json(status)
    else:
        word = "a relay is active" if status["active"] else "NO relay is active"
        print(f"{word}; {status['outboxRows']} events wait, the oldest {status['lagSeconds']} s")
    return 0


def _dlq_list(options: argparse.Namespace) -> int:
    letters = _with_letters(lambda box: box.letters())
    groups: dict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        groups[letter.group].append(letter)
    if options.json:
        summary = [
            {
                "group": name,
                "count": len(members),
                "oldest": min(each.first_failed_at or "" for each in members),
                "newest": max(each.last_failed_at or "" for each in members),
            }
            for name, members in groups.items()
        ]
        print_json({"items": [_listed(letter) for letter in letters], "groups": summary})
        return 0
    for name, members in groups.items():
        first = members[0]
        print(f"{name}  {len(members)} x {first.error_class}: {first.error}")
        for each in members:
            print(f"    {each.id}  {each.routing_key}  {each.size} bytes  {each.last_failed_at}")
    print(f"{len(letters)} dead letters" if letters else "no dead letters")
    return 0


def _dlq_show(options: argparse.Namespace) -> int:
    letters = _with_letters(lambda box: box.letters())
    letter = next((each for each in letters if each.id == options.id), None)
    if letter is None:
        raise Refused(f"no letter is called {options.id}; see `wallet dlq list`")
    if options.json:
        try:
            payload = msgspec.json.decode(letter.body)
        except msgspec.DecodeError:
            payload = None
        body = base64.b64encode(letter.body).decode()
        print_json(
            _listed(letter) | {"headers": letter.headers, "payload": payload, "bodyBase64": body}
        )
        return 0
    for name, value in _listed(letter).items():
        print(f"{name:<14} {value}")
    for name, value in letter.headers.items():
        print(f"  {name}: {value}")
    print(letter.body.decode(errors="replace"))
    return 0


def _dlq_replay(options: argparse.Namespace) -> int:
    async def replay(box: LetterBox) -> tuple[int, list[str]]:
        chosen = [
            letter.id
            for letter in await box.letters()
            if options.all or letter.group == options.group or letter.id == options.id
        ]
        failed = [letter_id for letter_id in chosen if not await box.replay(letter_id)]
        return len(chosen), failed

    chosen, failed = _with_letters(replay)
    if failed:
        raise Refused(f"not replayed, no event of ours: {', '.join(failed)}")
    if not chosen and not options.all:
        raise Refused("no such letter; see `wallet dlq list`")
    print(f"{chosen} letters are back in their queue")
    return 0


def _dlq_discard(options: argparse.Namespace) -> int:
    if not _with_letters(lambda box: box.discard(options.id)):
        raise Refused(f"no letter is called {options.id}; see `wallet dlq list`")
    print(f"discarded {options.id}: {options.reason}")
    return 0


def _token(options: argparse.Namespace) -> int:
    print(token.mint(options.sub, options.role, options.ttl))
    return 0


def _openapi(options: argparse.Namespace) -> int:
    document = openapi.document(describe())
    if options.file is None:
        sys.stdout.buffer.write(document + b"\n")
    else:
        options.file.write_bytes(document + b"\n")
    return 0


def _schemas(options: argparse.Namespace) -> int:
    for name, schema in json_schemas().items():
        plain = msgspec.json.encode(schema, order="deterministic")
        (options.directory / f"{name}.json").write_bytes(
            msgspec.json.format(plain, indent=2) + b"\n"
        )
    return 0


def _listed(letter: Letter) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(letter)
    return {name: value for name, value in told.items() if name not in {"headers", "body"}}


def _with_letters(work: Callable[[LetterBox], Coroutine[Any, Any, _T]]) -> _T:
    broker = os.environ.get("RABBITMQ_URL")
    if not broker:
        return with_database(lambda database: work(TableBox(database)))
    defaults = Topology()
    topology = Topology(
        os.environ.get("RABBITMQ_EXCHANGE") or defaults.exchange,
        os.environ.get("RABBITMQ_DLX") or defaults.dead_letter_exchange,
    )
    return asyncio.run(work(BrokerBox(broker, topology)))


if __name__ == "__main__":
    sys.exit(main())
