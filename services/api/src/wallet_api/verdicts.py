"""This module is where statistics and verdicts of fraud rules become answers."""

from datetime import datetime
from typing import Any

from wallet_api.schemas import FlagAnswer, StatsAnswer
from wallet_common.fraud import Flag
from wallet_common.money import render


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
