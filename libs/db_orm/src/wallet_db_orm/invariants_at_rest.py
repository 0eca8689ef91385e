"""This module is where the invariants are that hold once every event has taken effect."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# These hold once every event has arrived: the outbox is empty and so are the worker's queues.
AT_REST: Final = (
    Reading(
        (Invariant("S8", "no transfer is on its way", "the_transfers"),),
        """
        SELECT from_wallet_id AS "walletId", json_build_object('transferId', id) AS "S8"
        FROM transfers WHERE state = 'debited'
        """,
    ),
    Reading(
        (Invariant("E4", "statistics equal their recomputation from the ledger", "the_wallets"),),
        """
        SELECT coalesce(r.wallet_id, s.wallet_id) AS "walletId", '{}' AS "E4"
        FROM (
            SELECT w.id AS wallet_id, activity.last AS last_activity_at,
                coalesce(sum(l.amount_minor) FILTER (
                    WHERE l.type IN ('deposit', 'withdraw_reversal', 'fee_refund')), 0
                ) AS deposited,
                coalesce(-sum(l.amount_minor) FILTER (
                    WHERE l.type IN ('withdraw', 'deposit_reversal', 'hold_capture', 'fee')), 0
                ) AS withdrawn,
                coalesce(sum(l.amount_minor) FILTER (WHERE l.type = 'transfer_credit'), 0) AS came,
                coalesce(-sum(l.amount_minor) FILTER (
                    WHERE l.type IN ('transfer_debit', 'transfer_refund')), 0) AS went,
                EXISTS (SELECT FROM fraud_flags AS f WHERE f.wallet_id = w.id) AS suspicious
            FROM wallets AS w
            LEFT JOIN ledger_entries AS l ON l.wallet_id = w.id
            LEFT JOIN LATERAL (
                SELECT max(occurred_at) AS last FROM events AS e
                WHERE e.wallet_id = w.id AND e.wallet_version = w.version
            ) AS activity ON true
            GROUP BY w.id, activity.last
        ) AS r
        FULL JOIN wallet_stats AS s ON s.wallet_id = r.wallet_id
        WHERE r.wallet_id IS NULL OR s.wallet_id IS NULL
            OR s.total_deposited_minor <> least(r.deposited, 9223372036854775807)
            OR s.total_withdrawn_minor <> least(r.withdrawn, 9223372036854775807)
            OR s.total_transferred_in_minor <> least(r.came, 9223372036854775807)
            OR s.total_transferred_out_minor <> least(r.went, 9223372036854775807)
            OR s.last_activity_at <> r.last_activity_at OR s.suspicious <> r.suspicious
        """,
    ),
)
