"""This module is where the shapes of answers about the past and system accounts are declared."""

from datetime import datetime

import msgspec


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
