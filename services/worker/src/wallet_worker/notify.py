"""This module is where somebody is told of a flag; today the log is told."""

from collections.abc import Iterable

import structlog

from wallet_db_orm.projections import Flagged

log = structlog.get_logger("wallet_worker")


def notify(flagged: Iterable[Flagged]) -> None:
    """Tell of each new flag once; called after its transaction committed."""
    for each in flagged:
        log.warning(
            "wallet.flagged",
            wallet_id=each.wallet_id,
            event_id=each.event_id,
            trace_id=each.trace_id,
            rule_id=each.flag.rule_id,
            reason=each.flag.reason,
            evidence=list(each.flag.evidence),
        )
