"""This module is where it is asked whether other services' transactions and the money agree."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

OF_SETTLEMENTS: Final = (
    Reading(
        (
            Invariant(
                "S9",
                "a completed transaction's money has moved, a failed one's not or it has come back",
                "settlements",
            ),
        ),
        """
        , keyed AS (
            SELECT *, encode(sha256(convert_to(transaction_id, 'UTF8')), 'hex') AS name,
                CASE type WHEN 'transfer' THEN to_wallet_id ELSE wallet_id END AS last_wallet_id
            FROM settlements
        ), posted AS (
            SELECT o.wallet_id, o.request_id, e.amount_minor,
                e.transfer_id IS NULL OR t.state = 'completed' AS has_arrived
            FROM operations AS o
            JOIN ledger_entries AS e
                ON e.wallet_id = o.wallet_id AND e.operation_id = o.operation_id
            LEFT JOIN transfers AS t ON t.from_wallet_id = e.wallet_id AND t.id = e.transfer_id
            WHERE o.request_id LIKE 'transaction %' OR o.request_id LIKE 'reversal %'
        )
        SELECT coalesce(k.wallet_id, done.wallet_id) AS "walletId",
            json_build_object('transactionId', k.transaction_id, 'state', k.state) AS "S9"
        FROM keyed AS k
        FULL JOIN (SELECT * FROM posted WHERE request_id LIKE 'transaction %') AS done
            ON done.wallet_id = k.wallet_id AND done.request_id = 'transaction ' || k.name
        LEFT JOIN posted AS undone
            ON undone.wallet_id = k.last_wallet_id AND undone.request_id = 'reversal ' || k.name
        WHERE k.transaction_id IS NULL
            OR abs(done.amount_minor) <> k.amount_minor
            OR abs(undone.amount_minor) <> k.amount_minor
            OR CASE k.state
                WHEN 'completed' THEN NOT coalesce(done.has_arrived, false)
                WHEN 'failed' THEN coalesce(done.has_arrived, false)
                    AND NOT coalesce(undone.has_arrived, false)
                ELSE false END
        """,
    ),
)
