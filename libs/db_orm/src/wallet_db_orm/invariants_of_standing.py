"""This module is where it is asked whether wallets stand as their events say."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

STANDING: Final = Reading(
    (
        Invariant(
            "W1",
            "each wallet is frozen, open or closed as its last such event says; empty if closed",
            "the_wallets",
        ),
    ),
    """
    SELECT w.id AS "walletId", json_build_object('status', w.status, 'frozen', w.frozen,
        'toldStatus', told.status, 'toldDirection', told.direction) AS "W1"
    FROM the_wallets AS w
    LEFT JOIN LATERAL (
        SELECT payload ->> 'status' AS status, payload ->> 'direction' AS direction
        FROM events
        WHERE wallet_id = w.id
            AND type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')
        ORDER BY wallet_version DESC LIMIT 1
    ) AS told ON true
    WHERE w.status <> coalesce(told.status, 'active')
        OR w.frozen IS DISTINCT FROM told.direction
        OR (w.status = 'closed' AND (w.balance_minor <> 0 OR w.held_minor <> 0))
    """,
)

# Such an operation has no entry, by which those behind a proven point are found: whole proofs only.
TOLD: Final = Reading(
    (
        Invariant(
            "W2",
            "each freeze, unfreeze and closing told the wallet as it was by then",
            "the_operations",
        ),
    ),
    r"""
    , told AS (
        SELECT o.*, p.type AS outcome_type, p.currency, p.balance_minor, p.held_minor, p.status,
            CASE WHEN p.version ~ '^\d{1,18}$' THEN p.version::bigint END AS version
        FROM the_operations AS o
        CROSS JOIN LATERAL json_to_record(
            CASE WHEN json_typeof(o.outcome) = 'object' THEN o.outcome ELSE '{}' END
        ) AS p (type text, currency text, balance_minor text, held_minor text, status text,
            version text)
        WHERE o.type IN ('freeze', 'unfreeze', 'close') AND p.type IS DISTINCT FROM 'rejected'
    )
    SELECT t.wallet_id AS "walletId",
        json_build_object('requestId', t.request_id, 'operationId', t.operation_id) AS "W2"
    FROM told AS t
    LEFT JOIN LATERAL (SELECT currency FROM wallets WHERE id = t.wallet_id) AS w ON true
    LEFT JOIN LATERAL (
        SELECT payload ->> 'status' AS status FROM events
        WHERE wallet_id = t.wallet_id AND wallet_version <= t.version
            AND type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')
        ORDER BY wallet_version DESC LIMIT 1
    ) AS stood ON true
    LEFT JOIN LATERAL (
        SELECT balance_after_minor AS minor FROM ledger_entries
        WHERE wallet_id = t.wallet_id AND wallet_version <= t.version
        ORDER BY wallet_version DESC LIMIT 1
    ) AS had ON true
    LEFT JOIN LATERAL (
        SELECT replace(payload ->> 'held', '.', '')::bigint AS minor FROM events
        WHERE wallet_id = t.wallet_id AND wallet_version <= t.version
            AND type IN ('HoldPlaced', 'HoldCaptured', 'HoldReleased', 'HoldExpired')
        ORDER BY wallet_version DESC LIMIT 1
    ) AS bound ON true
    LEFT JOIN LATERAL (
        SELECT true AS is_there FROM events
        WHERE wallet_id = t.wallet_id AND wallet_version = t.version
    ) AS that ON true
    WHERE (t.outcome_type, t.currency, t.balance_minor, t.held_minor, t.status, t.status)
            IS DISTINCT FROM ('stands', w.currency, coalesce(had.minor, 0)::text,
                coalesce(bound.minor, 0)::text, coalesce(stood.status, 'active'),
                CASE t.type WHEN 'freeze' THEN 'frozen' WHEN 'close' THEN 'closed'
                    ELSE 'active' END)
        OR that.is_there IS NULL
    """,
)
