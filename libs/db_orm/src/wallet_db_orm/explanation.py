"""This module is where it is read what stands behind a wallet's entries, along indexes alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_db_orm.queries import ask


async def behind(
    engine: AsyncEngine, wallet_id: str, versions: Sequence[int]
) -> Mapping[int, Row[Any]]:
    """
    Return, by version, the event, the audited request and what the worker made of it.

    What is not there is None: a request that is in an archive has the archive's name in `archive`.
    """
    asked = {"wallet_id": wallet_id, "versions": list(versions)}
    rows = await ask(engine, _BEHIND, asked)
    return {row.wallet_version: row for row in rows}


_BEHIND: Final = text("""
SELECT asked.version AS wallet_version, e.id AS event_id, e.type AS event_type,
    a.id AS request_audit_id, a.method, a.url, a.status AS answered, a.principal, a.recorded_at,
    p.name AS archive, done.processed_at, raised.verdicts
FROM unnest(CAST(:versions AS bigint[])) AS asked (version)
CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE wallet_id = :wallet_id AND wallet_version = asked.version OFFSET 0
) AS e
LEFT JOIN LATERAL (SELECT * FROM api_audit WHERE id = e.audit_id OFFSET 0) AS a ON true
LEFT JOIN archived_partitions AS p
    ON a.id IS NULL AND e.audit_id >= p.from_id AND e.audit_id < p.to_id
LEFT JOIN LATERAL (
    SELECT processed_at FROM processed_events
    WHERE wallet_id = :wallet_id AND event_id = e.id::text OFFSET 0
) AS done ON true
LEFT JOIN LATERAL (
    SELECT json_agg(verdict ORDER BY rule_id) AS verdicts FROM fraud_flags
    WHERE wallet_id = :wallet_id AND event_id = e.id::text
) AS raised ON true
""")
