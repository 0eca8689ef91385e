"""This module is where what happened becomes answers: events and ledger entries."""

from typing import Any

import msgspec

from wallet_api.answers import raw
from wallet_api.schemas import EntryAnswer, EventAnswer, FeedItem
from wallet_common.events import Envelope
from wallet_common.money import render


def event_answer(event: Envelope) -> EventAnswer:
    assert event.wallet_version is not None, "a history holds steps of the wallet only"
    return EventAnswer(
        id=event.id,
        type=event.type,
        schema_version=event.schema_version,
        occurred_at=event.occurred_at,
        wallet_id=event.wallet_id,
        wallet_version=event.wallet_version,
        transfer_id=event.transfer_id,
        audit_id=event.audit_id,
        trace_id=event.trace_id,
        payload=event.payload,
    )


def feed_item(event: Envelope, position: str) -> FeedItem:
    return FeedItem(**msgspec.structs.asdict(event), position=position)


def entry_answer(row: Any) -> EntryAnswer:  # noqa: ANN401  # a row of queries.entries
    return EntryAnswer(
        wallet_id=row.wallet_id,
        wallet_version=row.wallet_version,
        type=row.type,
        amount=render(row.amount_minor, row.currency),
        balance_after=render(row.balance_after_minor, row.currency),
        currency=row.currency,
        counter_account=row.counter_account,
        operation_id=str(row.operation_id),
        transfer_id=row.transfer_id and str(row.transfer_id),
        request_id=row.request_id,
        occurred_at=row.occurred_at,
        audit_id=row.audit_id and str(row.audit_id),
        trace_id=row.trace_id,
        reference=row.reference,
        metadata=raw(row.metadata),
        status=row.status,
        quote_id=msgspec.UNSET if row.quote_id is None else str(row.quote_id),
        rate=msgspec.UNSET if row.rate is None else row.rate,
    )
