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
            "each freeze, unfreeze and closing told the standing that the wallet had by then",
            "the_operations",
        ),
    ),
    r"""
    SELECT o.wallet_id AS "walletId",
        json_build_object('requestId', o.request_id, 'operationId', o.operation_id) AS "W2"
    FROM the_operations AS o
    CROSS JOIN LATERAL json_to_record(
        CASE WHEN json_typeof(o.outcome) = 'object' THEN o.outcome ELSE '{}' END
    ) AS p (type text, status text, version text)
    LEFT JOIN LATERAL (
        SELECT payload ->> 'status' AS status FROM events
        WHERE wallet_id = o.wallet_id
            AND wallet_version <= CASE WHEN p.version ~ '^\d{1,18}$' THEN p.version::bigint END
            AND type IN ('WalletFrozen', 'WalletUnfrozen', 'WalletClosed')
        ORDER BY wallet_version DESC LIMIT 1
    ) AS told ON true
    WHERE o.type IN ('freeze', 'unfreeze', 'close') AND p.type IS DISTINCT FROM 'rejected'
        AND ((p.version ~ '^\d{1,18}$') IS NOT TRUE
            OR (p.type, p.status, p.status) IS DISTINCT FROM ('stands',
                coalesce(told.status, 'active'),
                CASE o.type WHEN 'freeze' THEN 'frozen' WHEN 'close' THEN 'closed'
                    ELSE 'active' END))
    """,
)
