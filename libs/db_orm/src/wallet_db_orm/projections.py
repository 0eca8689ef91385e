"""This module is where statistics and fraud flags are written, set-wise, for the inbox."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import events as facts
from wallet_common.facts import EventType
from wallet_common.fraud import Flag, FraudRules, Withdrawal, examine
from wallet_common.money import MAX_MINOR
from wallet_common.payloads import Verdict
from wallet_db_orm import models
from wallet_db_orm.database import Driver, Row, statement
from wallet_db_orm.ids import new_id
from wallet_db_orm.statements import EVENT_COLUMNS, OUTBOX_COLUMNS, insert_many, transpose

# More neighbours in a window than this are not listed: the verdict is clear by then.
EVIDENCE_MAX: Final = 100


class Flagged(msgspec.Struct, frozen=True):
    """A new flag and the withdrawal that raised it."""

    wallet_id: str
    event_id: str
    trace_id: str | None
    flag: Flag


class _Totals:
    """What a batch adds to one wallet's statistics, in minor units."""

    def __init__(self, event: facts.Event) -> None:
        self.currency = event.payload.currency
        self.last_activity_at = event.occurred_at
        self.deposited = self.withdrawn = self.transferred_in = self.transferred_out = 0

    def add(self, event: facts.Event) -> None:
        self.last_activity_at = max(self.last_activity_at, event.occurred_at)
        match event:
            case facts.FundsDeposited():
                self.deposited += facts.amount_minor(event.payload)
            case facts.FundsWithdrawn() | facts.DepositReversed():
                # What was taken back has left too; so balance and totals always agree.
                self.withdrawn += facts.amount_minor(event.payload)
            case facts.WithdrawalReversed():
                # It came in again; so balance and totals always agree.
                self.deposited += facts.amount_minor(event.payload)
            case facts.FeeCharged():
                self.withdrawn += facts.amount_minor(event.payload)
            case facts.FeeRefunded():
                self.deposited += facts.amount_minor(event.payload)
            case facts.HoldCaptured(transfer_id=None):
                self.withdrawn += facts.amount_minor(event.payload)
            case facts.TransferCredited():
                self.transferred_in += facts.amount_minor(event.payload)
            case facts.TransferCompleted():
                # Not at the debit: what comes back was never transferred out.
                self.transferred_out += facts.amount_minor(event.payload)
            case (
                facts.WalletCreated()
                | facts.TransferInitiated()
                | facts.TransferDebited()
                | facts.TransferCompensated()
                | facts.TransferFailed()
                | facts.WalletFrozen()
                | facts.WalletUnfrozen()
                | facts.WalletClosed()
                | facts.LimitsChanged()
                | facts.HoldPlaced()
                | facts.HoldCaptured()
                | facts.HoldReleased()
                | facts.HoldExpired()
                | facts.WalletFlagged()
            ):
                pass
            case _:
                assert_never(event)


async def add(connection: Driver, events: Sequence[facts.Event]) -> None:
    """Add the events to the statistics of their wallets."""
    totals: dict[str, _Totals] = {}
    for event in events:
        totals.setdefault(event.wallet_id, _Totals(event)).add(event)
    rows = [
        (wallet_id, each.currency)
        + tuple(
            min(total, MAX_MINOR)
            for total in (
                *(each.deposited, each.withdrawn),
                *(each.transferred_in, each.transferred_out),
            )
        )
        + (each.last_activity_at, False)
        for wallet_id, each in sorted(totals.items())
    ]
    if rows:
        await connection.execute(_ADD, *transpose(rows, _STATS_COLUMNS))


async def flag(
    connection: Driver, events: Sequence[facts.Event], rules: FraudRules
) -> Sequence[Flagged]:
    """Examine the withdrawals among `events`; store and return the flags that are new."""
    withdrawals = [event for event in events if isinstance(event, facts.FundsWithdrawn)]
    if not withdrawals:
        return []
    earlier = await _earlier(connection, withdrawals, rules)
    raised = [
        Flagged(event.wallet_id, event.id, event.trace_id, verdict)
        for event in withdrawals
        for verdict in examine(_withdrawal(event), earlier[event.wallet_id, event.id], rules)
    ]
    if raised:
        causes = {(event.wallet_id, event.id): event for event in withdrawals}
        await _store(connection, raised, causes)
    return raised


def _withdrawal(event: facts.FundsWithdrawn) -> Withdrawal:
    payload = event.payload
    minor = facts.amount_minor(payload)
    return Withdrawal(event.id, event.occurred_at, minor, payload.currency)


async def _earlier(
    connection: Driver, withdrawals: Sequence[facts.FundsWithdrawn], rules: FraudRules
) -> dict[tuple[str, str], list[Withdrawal]]:
    """Return, by wallet and event, the withdrawals before it in the window, oldest first."""
    rows = await connection.fetch(
        _EARLIER,
        [event.wallet_id for event in withdrawals],
        [event.id for event in withdrawals],
        [event.occurred_at for event in withdrawals],
        [event.wallet_version for event in withdrawals],
        rules.rapid_window_seconds,
        EVIDENCE_MAX,
    )
    return _by_cause(rows)


def _by_cause(rows: Sequence[Row]) -> dict[tuple[str, str], list[Withdrawal]]:
    found: dict[tuple[str, str], list[Withdrawal]] = defaultdict(list)
    for row in rows:
        # Only identity and time matter of a neighbour.
        found[row.wallet_id, row.event_id].append(Withdrawal(str(row.id), row.occurred_at, 0, ""))
    return found


class Prospect(msgspec.Struct, frozen=True):
    """A withdrawal that may come."""

    wallet_id: str
    operation_id: str
    amount_minor: int
    currency: str


async def foretold(
    engine: AsyncEngine, prospects: Sequence[Prospect], rules: FraudRules
) -> dict[str, Sequence[Flag]]:
    """Return by operation the flags that the withdrawals would raise, one after the other, now."""
    async with statement(engine) as connection:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        rows = await connection.fetch(
            _EARLIER,
            *([each.wallet_id for each in prospects], [each.operation_id for each in prospects]),
            *([now] * len(prospects), [None] * len(prospects)),
            *(rules.rapid_window_seconds, EVIDENCE_MAX),
        )
    earlier = _by_cause(rows)
    coming: dict[str, list[Withdrawal]] = defaultdict(list)
    flags: dict[str, Sequence[Flag]] = {}
    for each in prospects:
        withdrawal = Withdrawal(each.operation_id, now, each.amount_minor, each.currency)
        before = [*earlier[each.wallet_id, each.operation_id], *coming[each.wallet_id]]
        flags[each.operation_id] = examine(withdrawal, before[-EVIDENCE_MAX:], rules)
        coming[each.wallet_id].append(withdrawal)
    return flags


async def _store(
    connection: Driver,
    raised: Sequence[Flagged],
    causes: dict[tuple[str, str], facts.FundsWithdrawn],
) -> None:
    now: datetime = await connection.fetchval(_NOW)
    flags, events, outbox, reasons = [], [], [], []
    for each in sorted(raised, key=lambda one: (one.wallet_id, one.event_id)):
        cause, verdict = causes[each.wallet_id, each.event_id], each.flag
        payload = facts.encode(_verdict(verdict, cause.payload.currency, now)).decode()
        event_id = new_id()
        flags.append(
            (each.wallet_id, each.event_id, verdict.rule_id, verdict.rule_version)
            + (verdict.reason, payload, cause.occurred_at, now)
        )
        kind = EventType.WALLET_FLAGGED
        events.append(
            (each.wallet_id, event_id, None, kind, None, None, each.trace_id, payload, now)
        )
        outbox.append((each.wallet_id, event_id))
        reasons.append((each.wallet_id, cause.occurred_at, verdict.reason))
    await connection.execute(_FLAG, *transpose(flags, _FLAG_COLUMNS))
    await connection.execute(_TELL, *transpose(events, _EVENT_COLUMNS))
    await connection.execute(_SEND, *transpose(outbox, OUTBOX_COLUMNS))
    await connection.execute(_SUSPECT, *transpose(reasons, ("", "", "")))


def _verdict(flag: Flag, currency: str, now: datetime) -> Verdict:
    return Verdict(
        rule_id=flag.rule_id,
        rule_version=flag.rule_version,
        threshold=flag.threshold,
        observed=flag.observed,
        evidence=flag.evidence,
        currency=currency,
        flagged_at=now,
        window_seconds=flag.window_seconds,
    )


_STATS_COLUMNS: Final = (
    *("wallet_id", "currency", "total_deposited_minor", "total_withdrawn_minor"),
    *("total_transferred_in_minor", "total_transferred_out_minor", "last_activity_at"),
    "suspicious",
)
_FLAG_COLUMNS: Final = (
    *("wallet_id", "event_id", "rule_id", "rule_version", "reason", "verdict"),
    *("occurred_at", "flagged_at"),
)
_NOW: Final = "SELECT now()"


def _saturating(column: str) -> str:
    """Return the assignment that adds without leaving the 64-bit range."""
    old, more = f"wallet_stats.{column}", f"excluded.{column}"
    is_beyond = f"{old} > {MAX_MINOR} - {more}"
    return f"{column} = CASE WHEN {is_beyond} THEN {MAX_MINOR} ELSE {old} + {more} END"


_ADD: Final = insert_many(
    models.wallet_stats,
    _STATS_COLUMNS,
    tail=f"""
    ON CONFLICT (wallet_id) DO UPDATE SET
        {", ".join(_saturating(column) for column in _STATS_COLUMNS[2:6])},
        last_activity_at = greatest(wallet_stats.last_activity_at, excluded.last_activity_at)
    """,
)

_EARLIER: Final = """
SELECT asked.wallet_id, asked.event_id, before.id, before.occurred_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[])
    AS asked (wallet_id, event_id, occurred_at, wallet_version)
CROSS JOIN LATERAL (
    SELECT e.id, e.occurred_at, e.wallet_version FROM events AS e
    WHERE e.wallet_id = asked.wallet_id AND e.type = 'FundsWithdrawn'
        AND e.occurred_at BETWEEN asked.occurred_at - make_interval(secs => $5)
            AND asked.occurred_at
        AND (e.wallet_version < asked.wallet_version OR asked.wallet_version IS NULL)
        AND e.id::text <> asked.event_id
    ORDER BY e.occurred_at DESC, e.wallet_version DESC LIMIT $6
) AS before
ORDER BY before.wallet_version
"""

_FLAG: Final = insert_many(models.fraud_flags, _FLAG_COLUMNS)
_EVENT_COLUMNS: Final = (*EVENT_COLUMNS, "occurred_at")
_TELL: Final = insert_many(models.events, _EVENT_COLUMNS)
_SEND: Final = insert_many(models.outbox, OUTBOX_COLUMNS)

# The reason told is that of the latest flag by event time, whichever order they were found in.
_SUSPECT: Final = """
UPDATE wallet_stats AS s
SET suspicious = true, suspicious_reason = latest.reason, suspicious_at = latest.occurred_at
FROM (
    SELECT DISTINCT ON (wallet_id) wallet_id, occurred_at, reason
    FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS new (wallet_id, occurred_at, reason)
    ORDER BY wallet_id, occurred_at DESC, reason DESC
) AS latest
WHERE s.wallet_id = latest.wallet_id
    AND (s.suspicious_at IS NULL
        OR (latest.occurred_at, latest.reason) > (s.suspicious_at, s.suspicious_reason))
"""
