"""This module is where the shapes of answers about the past and system accounts are declared."""

from datetime import datetime

import msgspec

from wallet_api.schemas import EntryAnswer, FlagAnswer


class AccountAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """A system account; its balance is signed: what came from outside is owed to nobody here."""

    account: str
    currency: str
    balance: str


class AccountList(msgspec.Struct, rename="camel"):
    items: list[AccountAnswer]


class StatementLine(msgspec.Struct, rename="camel", kw_only=True):
    """An entry; `amount` is signed."""

    wallet_version: int
    occurred_at: datetime
    type: str
    amount: str
    balance_after: str
    counter_account: str
    operation_id: str
    transfer_id: str | None
    request_id: str
    reference: str | None


class StatementAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """All that moved from a time on and before another: what leads from balance to balance."""

    wallet_id: str
    currency: str
    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    opening_balance: str
    closing_balance: str
    lines: list[StatementLine]


class RequestBehind(msgspec.Struct, rename="camel", kw_only=True):
    """The audited request that an entry goes back to; in an archive only its name is known."""

    audit_id: str
    archive: str | None
    method: str | None
    url: str | None
    status: int | None
    principal: str | None
    recorded_at: datetime | None


class EventBehind(msgspec.Struct, rename="camel", kw_only=True):
    """
    The event that tells of an entry, and what the worker made of it.

    `appliedAt` is when it took effect on the statistics, null before; `flags` are the verdicts of
    fraud rules that it raised.
    """

    id: str
    type: str
    applied_at: datetime | None
    flags: list[FlagAnswer]


class ExplainedEntry(msgspec.Struct, rename="camel", kw_only=True):
    """An entry and what stands behind it: `request` is null where nobody asked over HTTP."""

    entry: EntryAnswer
    request: RequestBehind | None
    trace_id: str
    event: EventBehind


class Explanation(msgspec.Struct, rename="camel", kw_only=True):
    """How a wallet stood at an instant, and why: its entries up to then, newest first."""

    wallet_id: str
    currency: str
    at: datetime
    version: int
    balance: str
    held: str
    available: str
    status: str
    entries: list[ExplainedEntry]
    next_cursor: str | None
