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
