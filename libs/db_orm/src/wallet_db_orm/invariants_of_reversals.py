"""This module is where it is asked whether reversals take back what was, and no more of it."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# The original of what a transfer brought is that transfer. The outcome is looked at as the service
# spells it: what cannot be read is K8's.
REVERSALS: Final = Reading(
    (
        Invariant("R1", "of each operation never more is taken back than it moved", "reversals"),
        Invariant("R2", "each reversal is told by its entry, and each entry by it", "reversals"),
    ),
    """
    , taken AS (
        SELECT r.wallet_id, r.operation_id, sum(r.amount_minor) AS minor,
            min(r.original_minor) AS original_minor, max(r.original_minor) AS other_minor
        FROM reversals AS r GROUP BY r.wallet_id, r.operation_id
    ), first AS (
        SELECT t.*, coalesce(abs(own.amount_minor), sent.amount_minor) AS moved_minor
        FROM taken AS t
        LEFT JOIN operations AS o
            ON o.operation_id = t.operation_id AND o.wallet_id = t.wallet_id
        LEFT JOIN ledger_entries AS own ON own.wallet_id = o.wallet_id
            AND own.operation_id = o.operation_id AND own.transfer_id IS NULL
            AND own.type IN ('deposit', 'withdraw', 'hold_capture')
        LEFT JOIN transfers AS sent ON sent.id = t.operation_id
            AND sent.to_wallet_id = t.wallet_id AND sent.state = 'completed'
    )
    SELECT wallet_id AS "walletId", json_build_object('operationId', operation_id,
        'reversedMinor', minor::text, 'movedMinor', moved_minor) AS "R1", NULL AS "R2"
    FROM first
    WHERE moved_minor IS NULL OR minor > moved_minor OR original_minor <> moved_minor
        OR other_minor <> moved_minor
    UNION ALL
    SELECT coalesce(r.wallet_id, e.wallet_id), NULL,
        json_build_object('reversalId', coalesce(r.reversal_id, e.operation_id))
    FROM reversals AS r
    FULL JOIN (
        SELECT l.* FROM ledger_entries AS l
        JOIN operations AS o
            ON o.wallet_id = l.wallet_id AND o.request_id = l.request_id
                AND o.operation_id = l.operation_id
        WHERE o.outcome::text LIKE '{"type":"reversed"%'
    ) AS e ON e.wallet_id = r.wallet_id AND e.operation_id = r.reversal_id
    WHERE r.wallet_id IS NULL OR e.wallet_id IS NULL OR r.amount_minor <> abs(e.amount_minor)
        OR r.occurred_at <> e.occurred_at
    """,
)
