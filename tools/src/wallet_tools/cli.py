"""This module is where the operator's `wallet` command is read: migrate, verify, look, replay."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from aio_pika.exceptions import AMQPError

from wallet_api import openapi, token
from wallet_api.app import describe
from wallet_db_orm import outbox
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.migrations import NotPermitted, bring_up_to_date
from wallet_tools import (
    audit_export,
    books,
    checkpoints,
    csv_import,
    dlq,
    event_replay,
    keys,
    partitions,
    role_verbs,
)
from wallet_tools.command import (
    Refused,
    add_group,
    add_verb,
    database_url,
    print_json,
    with_database,
)
from wallet_tools.contracts import verbs as contracts
from wallet_tools.torture import main as torture

EPILOG: Final = """\
examples:
  wallet verify                    prove the books; exit code 1 if anything contradicts
  wallet verify --incremental      only what moved since the newest clean proof
  wallet verify --at-rest --json   with the statistics, once no event is under way; for programs
  wallet checkpoint                sign the state of the books now, outside too
  wallet proof WALLET VERSION      prove an entry to somebody who has no access to the books
  wallet dlq list                  what the worker gave up on, grouped by error
  wallet dlq show ID               one letter: why it died, and what it says
  wallet dlq replay --all          put every letter back into its queue
  wallet events replay --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --queue Q
                                   send a time's events once more, to one queue
  wallet import movements.csv --dry-run
                                   another system's movements: what would be refused
  wallet partitions                the audit by month: what may be archived
  wallet keys erase OWNER --reason "asked for by mail"
                                   destroy the key of an owner's personal data, for good
  wallet keys seal                 encrypt what was stored before its key was declared

WALLET_DATABASE_URL and RABBITMQ_URL say where; `tools/dev wallet …` sets them for the private
stack. Without RABBITMQ_URL letters are those of the table."""

# As a shell tells of a program that SIGPIPE ended.
_PIPE_CLOSED: Final = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 for done, 1 for failed or contradicted, 2 for misread or unproved."""
    options = _parser().parse_args(arguments or sys.argv[1:] or ["--help"])
    failed: int = options.failed
    try:
        code: int = options.do(options)
        sys.stdout.flush()
    except Refused as refused:
        print(f"wallet: {refused}", file=sys.stderr)
        return failed
    except BrokenPipeError:
        # Who reads our words has read enough, as `head` does; nor is anything said at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except FileNotFoundError as missing:
        print(f"wallet: {missing.filename}: there is no such file", file=sys.stderr)
        return failed
    except httpx.HTTPError as away:
        print(f"wallet: not reachable: {away}; run it again to go on", file=sys.stderr)
        return failed
    except OSError as away:
        print(f"wallet: not reachable: {away}", file=sys.stderr)
        return failed
    except Exception as error:  # an operator wants the reason, not our stack
        if trouble(error) is Trouble.OTHER and not isinstance(error, AMQPError):
            raise
        reason = str(error).partition("\n")[0]
        print(f"wallet: {type(error).__name__}: {reason}", file=sys.stderr)
        return failed
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wallet",
        description="The operator's command.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(failed=1)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add_verb(verbs, "migrate", "bring the database's schema to the present", _migrate)
    books.add(verbs)
    checkpoints.add(verbs)
    relay = add_group(verbs, "relay", "events on their way out")
    status = add_verb(relay, "status", "is a relay active, and how far behind", _relay_status)
    status.add_argument("--json", action="store_true", help="for programs")
    dlq.add(verbs)
    event_replay.add(verbs)
    partitions.add(verbs)
    keys.add(verbs)
    csv_import.add(verbs)
    audit_export.add(verbs)
    role_verbs.add(verbs)
    minting = add_verb(verbs, "token", "mint a bearer token for development", _token)
    token.add_arguments(minting)
    document = add_verb(
        verbs, "openapi", "print the OpenAPI document, or write it to FILE", _openapi
    )
    document.add_argument("file", nargs="?", type=Path)
    contracts.add(verbs)
    torture.add(verbs)
    return parser


def _migrate(_: argparse.Namespace) -> int:
    try:
        bring_up_to_date(database_url())
    except NotPermitted as refused:
        raise Refused(str(refused)) from None
    partitions.make_ahead()
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
