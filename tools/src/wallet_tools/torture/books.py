"""This module is where the books are read as plain facts, to be held against what was told."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from wallet_tools.torture.quick import AWAY
from wallet_tools.torture.tap import fingerprint

_QUIET: Final = """
    SELECT NOT EXISTS (SELECT FROM outbox)
        AND NOT EXISTS (SELECT FROM transfers WHERE state = 'debited')
        AND (SELECT count(*) FROM events WHERE wallet_version IS NOT NULL)
            = (SELECT count(*) FROM processed_events)
"""
_WALLETS: Final = "SELECT id, balance_minor, held_minor FROM wallets"
_ENTRIES: Final = """
    SELECT wallet_id, wallet_version, type, amount_minor, balance_after_minor,
        operation_id::text, transfer_id::text, request_id
    FROM ledger_entries
"""
_OPERATIONS: Final = "SELECT wallet_id, request_id, outcome ->> 'type' FROM operations"
_AUDIT: Final = "SELECT trace_id, status FROM api_audit"
_EVENTS: Final = "SELECT id::text, wallet_id, wallet_version, payload FROM events"


class Entry(NamedTuple):
    wallet: str
    version: int
    type: str
    amount_minor: int
    after_minor: int
    operation: str
    transfer: str | None
    key: str


class Event(NamedTuple):
    wallet: str
    version: int | None
    fingerprint: bytes


@dataclass(slots=True)
class Books:
    """
    What the database says.

    `entries` are those under a client's key; `credits` the recipients' side of each transfer.
    `operations` says "posted" or "rejected" by wallet and key, `audited` each trace id's statuses.
    """

    balances: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=lambda: defaultdict(list))
    credits: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    operations: dict[tuple[str, str], str] = field(default_factory=dict)
    transfers: dict[str, str] = field(default_factory=dict)
    audited: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    events: dict[str, Event] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Put an entry where it is looked for."""
        if entry.type == "transfer_credit" and entry.transfer is not None:
            self.credits[entry.transfer].append(entry)
        else:
            self.entries[entry.wallet, entry.key].append(entry)


async def read(url: str) -> Books:
    """Read all of it in one snapshot."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await _read(connection)
    finally:
        connection.terminate()


async def _read(connection: Any) -> Books:  # noqa: ANN401  # the driver is untyped
    books = Books()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(_WALLETS):
            books.balances[row[0]], books.held[row[0]] = row[1:]
        async for row in connection.cursor(_ENTRIES, prefetch=2_000):
            books.add(Entry(*row))
        async for row in connection.cursor(_OPERATIONS, prefetch=2_000):
            books.operations[row[0], row[1]] = row[2]
        async for row in connection.cursor("SELECT id::text, state FROM transfers", prefetch=2_000):
            books.transfers[row[0]] = row[1]
        async for row in connection.cursor(_AUDIT, prefetch=2_000):
            books.audited[row[0]].append(row[1])
        async for row in connection.cursor(_EVENTS, prefetch=2_000):
            said = fingerprint(msgspec.json.decode(row[3]))
            books.events[row[0]] = Event(row[1], row[2], said)
    return books


async def is_quiet(url: str) -> bool:
    """Whether nothing is under way any more: no event, no transfer, nothing to be applied."""
    try:
        connection = await asyncpg.connect(url, timeout=3, command_timeout=15)
    except AWAY:
        return False
    try:
        return bool(await connection.fetchval(_QUIET))
    except AWAY:
        return False
    finally:
        connection.terminate()
