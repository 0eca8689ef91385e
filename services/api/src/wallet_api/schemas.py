"""This module is where the shapes of requests and answers are declared."""

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar.params import PathParameter, QueryParameter

from wallet_common.currencies import LENGTH_MAX, PATTERN
from wallet_common.events import Envelope

# `$` alone lets a final newline pass; so written they mean the same to Python and to JSON Schema.
_KEY = r"^[!-~]{1,128}$(?!\n)"
_WALLET_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$(?!\n)"
_CURRENCY = rf"^{PATTERN}$(?!\n)"

WALLET_ID = re.compile(_WALLET_ID)
OWNER_ID = re.compile(_KEY)
# With examples, for what pages fill in by themselves has to be good.
WalletId = Annotated[str, msgspec.Meta(pattern=_WALLET_ID, max_length=128, examples=["ada"])]
WalletPath = Annotated[str, PathParameter(pattern=_WALLET_ID, max_length=128)]
Key = Annotated[str, msgspec.Meta(pattern=_KEY, max_length=128)]
OwnerId = Annotated[str, msgspec.Meta(pattern=_KEY, max_length=128, examples=["ada-lovelace"])]
CurrencyCode = Annotated[
    str, msgspec.Meta(pattern=_CURRENCY, max_length=LENGTH_MAX, examples=["USD"])
]
CurrencyPath = Annotated[str, PathParameter(pattern=_CURRENCY, max_length=LENGTH_MAX)]
# The framework looks at a query parameter's own constraints, not at those of its type.
OwnerQuery = Annotated[str | None, QueryParameter(pattern=_KEY, max_length=128)]
CurrencyQuery = Annotated[str | None, QueryParameter(pattern=_CURRENCY, max_length=LENGTH_MAX)]
WalletQuery = Annotated[
    str | None, QueryParameter(name="walletId", pattern=_WALLET_ID, max_length=128)
]
DryRun = Annotated[
    Literal["true", "false"] | None,
    QueryParameter(
        name="dryRun",
        description="`true`: 200, and what would be answered with `dryRun: true`; nothing happens.",
    ),
]
Reference = Annotated[
    str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,256}$(?!\n)", max_length=256)
]


class OpenWalletBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """A wallet to open; everything may be left out."""

    id: WalletId | None = None
    owner_id: OwnerId | None = None
    currency: CurrencyCode | None = None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class MoneyBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """A deposit or a withdrawal. `amount` is kept raw: its exact text counts."""

    amount: msgspec.Raw
    request_id: Key | None = None
    reference: Reference | None = None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class TransferBody(MoneyBody, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A transfer; into another currency on the terms of a quote."""

    to_wallet_id: WalletId
    quote_id: UUID | None = None


class WalletAnswer(msgspec.Struct, rename="camel", kw_only=True):
    wallet_id: str
    owner_id: str | None
    currency: str
    balance: str
    held: str
    available: str
    status: str
    version: int
    created_at: datetime
    updated_at: datetime
    metadata: msgspec.Raw


class WalletPage(msgspec.Struct, rename="camel"):
    items: list[WalletAnswer]
    next_cursor: str | None


class FlagAnswer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    rule_id: str
    rule_version: int
    threshold: int | str
    observed: int | str
    evidence: list[str]
    flagged_at: datetime
    window_seconds: int | None = None


class MoneyAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """
    What a deposit or withdrawal did; `balance` and `version` are those it left behind.

    `fee` is there where it cost something, `flags` where a withdrawal was only rehearsed: the fraud
    rules that it would meet.
    """

    wallet_id: str
    balance: str
    currency: str
    request_id: str
    created: bool
    operation_id: str
    version: int
    fee: str | msgspec.UnsetType = msgspec.UNSET
    flags: list[FlagAnswer] | msgspec.UnsetType = msgspec.UNSET


class TransferAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """A transfer; `toAmount` to `quoteId` are there where it changed its currency."""

    transfer_id: str
    operation_id: str
    from_wallet_id: str
    to_wallet_id: str
    amount: str
    currency: str
    status: str
    request_id: str
    from_balance: str
    to_balance: str | None
    to_amount: str | msgspec.UnsetType = msgspec.UNSET
    to_currency: str | msgspec.UnsetType = msgspec.UNSET
    rate: str | msgspec.UnsetType = msgspec.UNSET
    quote_id: str | msgspec.UnsetType = msgspec.UNSET
    fee: str | msgspec.UnsetType = msgspec.UNSET


class StepAnswer(msgspec.Struct):
    state: str
    at: datetime


class BatchResult(msgspec.Struct, rename="camel"):
    """What came of the command at `index`: status and body of its single request."""

    index: int
    status: int
    body: msgspec.Raw


class TransferView(TransferAnswer, rename="camel", kw_only=True):
    """A transfer as it stands, with the time of each step that was taken."""

    reason: str | None
    reference: str | None
    steps: list[StepAnswer]


class EventAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """An event envelope, the same as on the wire."""

    id: str
    type: str
    schema_version: int
    occurred_at: datetime
    wallet_id: str
    wallet_version: int
    transfer_id: str | None
    audit_id: str | None
    trace_id: str | None
    payload: msgspec.Raw


class EventPage(msgspec.Struct, rename="camel"):
    items: list[EventAnswer]
    next_cursor: str | None


class FeedItem(Envelope, frozen=True, rename="camel", kw_only=True):
    """An event envelope, the same as on the wire, and its place in the feed."""

    position: str


class FeedPage(msgspec.Struct, rename="camel"):
    items: list[FeedItem]
    next: str


class EntryAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """
    A ledger entry; `amount` is signed here and only here.

    `status` is what became of it by now: `PENDING` while its transfer is on its way, `REVERSED`
    when all of it was taken back or has come back, else `CONFIRMED`. The entry never changes.
    `quoteId` and `rate` are there where its money changed currency.
    """

    wallet_id: str
    wallet_version: int
    type: str
    amount: str
    balance_after: str
    currency: str
    counter_account: str
    operation_id: str
    transfer_id: str | None
    request_id: str
    occurred_at: datetime
    audit_id: str | None
    trace_id: str
    reference: str | None
    metadata: msgspec.Raw
    status: Literal["PENDING", "CONFIRMED", "REVERSED"]
    quote_id: str | msgspec.UnsetType = msgspec.UNSET
    rate: str | msgspec.UnsetType = msgspec.UNSET


class EntryPage(msgspec.Struct, rename="camel"):
    items: list[EntryAnswer]
    next_cursor: str | None


class StatsAnswer(msgspec.Struct, rename="camel", kw_only=True):
    wallet_id: str
    currency: str
    total_deposited: str
    total_withdrawn: str
    total_transferred_in: str
    total_transferred_out: str
    last_activity_at: datetime | None
    suspicious: bool
    suspicious_reason: str | None
    flags: list[FlagAnswer]


class OperationAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """The recorded outcome of a key; `response` is what every repetition is answered."""

    wallet_id: str
    request_id: str
    operation_id: str
    type: str
    status: str
    transfer_id: str | None
    occurred_at: datetime
    response: msgspec.Raw


class FieldError(msgspec.Struct):
    field: str
    message: str


class ProblemAnswer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """RFC 9457; members beyond the first eight are there where they mean something."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    retryable: bool
    request_id: str | None = None
    errors: list[FieldError] | None = None
    currency: str | None = None
    required: str | None = None
    available: str | None = None
    remaining: str | None = None
    results: list[BatchResult] | None = None
    transfer_id: str | None = None
    transfer_status: str | None = None
