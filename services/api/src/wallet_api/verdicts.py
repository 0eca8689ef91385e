"""This module is where statistics and verdicts of fraud rules become answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.schemas import FlagAnswer, StatsAnswer
from wallet_common.commands import Ask, Withdraw
from wallet_common.fraud import Flag
from wallet_common.money import render
from wallet_common.operations import Receipt
from wallet_db_orm.orders import Applied, Recorded
from wallet_db_orm.projections import Prospect, foretold


async def verdicts(
    books: Books, exchange: Exchange, asked: Sequence[Ask], applied: Sequence[Applied]
) -> dict[str, list[FlagAnswer]]:
    """
    Return, by operation, the fraud rules that the withdrawals of a rehearsal would meet.

    What is refused or a repetition has no verdict.
    """
    prospects = [
        Prospect(
            command.wallet_id,
            came.operation.operation_id,
            command.amount.to_minor(came.operation.outcome.currency),
            came.operation.outcome.currency,
        )
        for command, came in zip(asked, applied, strict=True)
        if isinstance(command, Withdraw) and isinstance(came, Recorded) and not came.is_replay
        if isinstance(came.operation.outcome, Receipt)
    ]
    if not prospects:
        return {}
    told = await foretold(books.database.fresh, prospects, books.settings.fraud_rules)
    return {
        operation_id: [flag_answer(each, exchange.received_at) for each in flags]
        for operation_id, flags in told.items()
    }


def flag_answer(flag: Flag, at: datetime) -> FlagAnswer:
    """Render a verdict that was only foretold."""
    return FlagAnswer(
        rule_id=flag.rule_id,
        rule_version=flag.rule_version,
        threshold=flag.threshold,
        observed=flag.observed,
        evidence=list(flag.evidence),
        flagged_at=at,
        window_seconds=flag.window_seconds,
    )


def stats_answer(row: Any, flags: list[FlagAnswer]) -> StatsAnswer:  # noqa: ANN401  # of queries.stats
    return StatsAnswer(
        wallet_id=row.id,
        currency=row.currency,
        total_deposited=render(row.total_deposited_minor or 0, row.currency),
        total_withdrawn=render(row.total_withdrawn_minor or 0, row.currency),
        total_transferred_in=render(row.total_transferred_in_minor or 0, row.currency),
        total_transferred_out=render(row.total_transferred_out_minor or 0, row.currency),
        last_activity_at=row.last_activity_at,
        suspicious=bool(row.suspicious),
        suspicious_reason=row.suspicious_reason,
        flags=flags,
    )
