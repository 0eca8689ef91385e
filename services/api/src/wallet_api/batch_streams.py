"""This module is where very many commands come in as lines, and are answered line by line."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any, Final

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response import Stream

from wallet_api import batches, outcomes, strict
from wallet_api.batch_schemas import BatchCommand
from wallet_api.books import Books
from wallet_api.edge import STREAM_BYTES_MAX, STREAMED
from wallet_api.exchange import Exchange
from wallet_api.openapi import query, refusals
from wallet_api.problems import Problem, busy, invalid
from wallet_api.schemas import BatchResult, DryRun
from wallet_api.strict import StrictRequest
from wallet_common.commands import Ask, pays_to
from wallet_common.errors import Busy
from wallet_db_orm.audit import record_rows
from wallet_db_orm.whole import Rehearsal

COMMANDS_MAX: Final = 100_000
# So many commands are in the lanes at a time; after each such part its progress is told.
_PART: Final = 1_000
_MEDIA_TYPE: Final = "application/x-ndjson"
# How often, and how long, it is waited for room in the lanes.
_PAUSE_S: Final = 0.05
_TRIES: Final = 100

_Line = tuple[int, bytes]


class Progress(msgspec.Struct, rename="camel", kw_only=True):
    """A line behind each part: how many commands are done of how many, and how many were not."""

    batch_id: str
    done: int
    of: int
    refused: int
    dry_run: bool | msgspec.UnsetType = msgspec.UNSET


@dataclass
class StreamsCommands(Operation):
    """Tells what the body is made of, which no schema of one JSON document can."""

    def __post_init__(self) -> None:
        told = (
            f"One command of a batch per line, as in `/v1/batches`: up to {COMMANDS_MAX:,} lines"
            f" and {STREAM_BYTES_MAX // 2**20} MiB."
        )
        lines = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, description=told))
        self.request_body = RequestBody(content={_MEDIA_TYPE: lines}, required=True)


@post(
    STREAMED,
    operation_class=StreamsCommands,
    responses={
        outcomes.CREATED: ResponseSpec(
            BatchResult,
            media_type=_MEDIA_TYPE,
            generate_examples=False,
            description="A line per command, and one of its progress behind each thousand",
        ),
        200: ResponseSpec(
            BatchResult,
            media_type=_MEDIA_TYPE,
            generate_examples=False,
            description="The same of a rehearsal, with `dryRun: true` in each line of progress",
        ),
        **refusals(400, 408, 413, 415),
    },
    tags=["money"],
    **query("dryRun"),
)
async def stream_commands(
    request: StrictRequest,
    exchange: NamedDependency[Exchange],
    books: NamedDependency[Books],
    dry_run: DryRun = None,
) -> Stream:
    """
    Carry out up to 100 000 commands, a line each, every one with its own outcome.

    The lines of the answer come in the order of the commands, `{"index", "status", "body"}` as in a
    batch, with a line of progress behind each thousand. They are carried out as if one after the
    other. A line that is no command is refused as a single request would be, and the others go on.
    A rehearsal looks at each line on what all before it would leave. With an Idempotency-Key, what
    broke off is sent again as a whole: what was done is found done.
    """
    request.require_type(_MEDIA_TYPE)
    key = strict.idempotency_key(exchange.headers, None)
    exchange.request_id = key
    body = exchange.body
    count = body.count(b"\n") + (not body.endswith(b"\n")) if body else 0
    if not 1 <= count <= COMMANDS_MAX:
        raise invalid("body", f"must have 1 to {COMMANDS_MAX:,} lines")
    # So many commands are not kept twice: what was sent is known by its digest.
    digest = {"lines": count, "bytes": len(body), "sha256": sha256(body).hexdigest()}
    exchange.body = msgspec.json.encode(digest)
    exchange.is_rehearsal = dry_run == "true"
    if not exchange.is_rehearsal:
        record = exchange.audit_record(books.settings.pii_keys, is_understood=True)
        # Every command's event names this row, so it is there before the first of them commits.
        await record_rows(books.database.primary, [record.row(outcomes.CREATED)])
        exchange.is_audited = True
    told = _answered(books, exchange, key, body, count)
    return Stream(told, media_type=_MEDIA_TYPE, status_code=outcomes.CREATED)


async def _answered(
    books: Books, exchange: Exchange, key: str | None, body: bytes, count: int
) -> AsyncIterator[bytes]:
    batch_id, lines = batches.id_of(key), iter(enumerate(_lines(body)))
    rehearsal = Rehearsal(books.database) if exchange.is_rehearsal else None
    done = refused = 0
    lost: set[str] = set()
    while part := list(islice(lines, _PART)):
        answered = await _carried_out(books, exchange, key, part, rehearsal, lost)
        done += len(part)
        refused += sum(status != outcomes.CREATED for status, _ in answered)
        results = [
            BatchResult(index, status, msgspec.Raw(told))
            for (index, _), (status, told) in zip(part, answered, strict=True)
        ]
        progress = Progress(batch_id=batch_id, done=done, of=count, refused=refused)
        if rehearsal is not None:
            progress.dry_run = True
        yield b"".join(msgspec.json.encode(each) + b"\n" for each in (*results, progress))


def _lines(body: bytes) -> Any:  # noqa: ANN401  # an iterator of bytes
    # A byte order mark is no part of the first line.
    start = len(BOM_UTF8) if body.startswith(BOM_UTF8) else 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        yield body[start:end]
        start = end + 1


async def _carried_out(
    books: Books,
    exchange: Exchange,
    key: str | None,
    part: Sequence[_Line],
    rehearsal: Rehearsal | None,
    lost: set[str],
) -> Sequence[tuple[int, bytes]]:
    """
    Return status and body of each line.

    `lost` are wallets with a command of which nothing is known: what comes behind it is not carried
    out either. Adds to them.
    """
    commands: dict[int, Ask] = {}
    answered: dict[int, tuple[int, bytes]] = {}
    for index, line in part:
        try:
            asked = strict.decode(line, BatchCommand)
            commands[index] = batches.command(books, key, index, asked)
        except Problem as problem:
            told = problem.document(STREAMED, exchange.trace_id)
            answered[index] = (problem.status, told)
    left_out = _behind(commands, lost)
    wanted = [each for index, each in commands.items() if index not in left_out]
    full = busy("Too many requests are waiting; send this command again.")
    told_busy = (full.status, full.document(STREAMED, exchange.trace_id))
    try:
        if rehearsal is not None:
            came = await outcomes.foretold(books, exchange, rehearsal, wanted)
        else:
            await _room(books, len(wanted))
            came = await outcomes.come_about(books, exchange, wanted)
    except Busy:
        came = [told_busy] * len(wanted)
    outcome = iter(came)
    for index, command in commands.items():
        answered[index] = told_busy if index in left_out else next(outcome)
        if answered[index][0] == outcomes.BUSY:
            lost.add(command.wallet_id)
    return [answered[index] for index, _ in part]


def _behind(commands: Mapping[int, Ask], lost: set[str]) -> set[int]:
    """Return the places of what comes behind the `lost`; adds whom transfers tie to these."""
    found = set()
    for index, command in commands.items():
        touched = {command.wallet_id, pays_to(command) or command.wallet_id}
        if not lost.isdisjoint(touched):
            lost |= touched
            found.add(index)
    return found


async def _room(books: Books, commands: int) -> None:
    """Wait until the lanes have room; raises Busy."""
    for _ in range(_TRIES):
        if books.lanes.has_room(commands):
            return
        await asyncio.sleep(_PAUSE_S)
    message = "too many requests are waiting"
    raise Busy(message)


HANDLERS: Final = (stream_commands,)
