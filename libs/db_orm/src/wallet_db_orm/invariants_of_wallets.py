"""This module is where it is asked whether each wallet, its entries and its events agree."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading, decimals

# Only when a currency's sums differ its wallets are looked at one by one.
_SUMS: Final = Reading(
    (Invariant("M1", "per currency, wallets and system accounts sum to zero", "the_wallets"),),
    """
    , kept AS (
        SELECT currency, sum(balance_minor - since_minor) AS minor FROM the_wallets
        GROUP BY currency
    ), moved AS (
        SELECT currency, sum(amount_minor) AS minor FROM the_entries GROUP BY currency
    ), unequal AS MATERIALIZED (
        SELECT coalesce(kept.currency, moved.currency) AS currency
        FROM kept FULL JOIN moved ON moved.currency = kept.currency
        WHERE coalesce(kept.minor, 0) <> coalesce(moved.minor, 0)
    ), legs AS (
        SELECT id AS wallet_id, currency, (balance_minor - since_minor)::numeric AS minor
        FROM the_wallets WHERE EXISTS (SELECT FROM unequal)
        UNION ALL
        SELECT wallet_id, currency, -amount_minor::numeric
        FROM the_entries WHERE EXISTS (SELECT FROM unequal)
    )
    SELECT wallet_id AS "walletId",
        json_build_object('currency', currency, 'differenceMinor', sum(minor)::text) AS "M1"
    FROM legs WHERE currency IN (SELECT currency FROM unequal)
    GROUP BY wallet_id, currency HAVING sum(minor) <> 0
    """,
)

_ENTRIES: Final = Reading(
    (
        Invariant("M2", "each entry moves something, and has the other leg it must", "the_entries"),
        Invariant("M3", "each balance is the sum of its entries", "the_wallets"),
        Invariant(
            "M4",
            "no wallet has less available than it may, and none holds less than nothing",
            "the_wallets",
        ),
        Invariant(
            "M5", "each entry continues the balance that the one before it left", "the_entries"
        ),
        Invariant("M7", "entries are in their wallet's currency", "the_entries"),
    ),
    """
    SELECT * FROM (
        SELECT coalesce(w.id, l.wallet_id) AS "walletId",
            CASE WHEN l.pointless IS NOT NULL
                THEN json_build_object('walletVersion', l.pointless) END AS "M2",
            CASE WHEN w.id IS NULL
                    OR w.balance_minor - w.since_minor IS DISTINCT FROM coalesce(l.total, 0)
                THEN json_build_object('balanceMinor', w.balance_minor,
                    'entriesMinor', (coalesce(l.total, 0) + coalesce(w.since_minor, 0))::text)
                END AS "M3",
            CASE WHEN w.held_minor < 0 OR w.balance_minor - w.held_minor < w.floor_minor
                THEN json_build_object('walletVersion', w.version) END AS "M4",
            CASE WHEN l.broken IS NOT NULL
                THEN json_build_object('walletVersion', l.broken) END AS "M5",
            CASE WHEN l.foreign_money IS NOT NULL
                THEN json_build_object('walletVersion', l.foreign_money) END AS "M7"
        FROM the_wallets AS w
        FULL JOIN (
            SELECT wallet_id, sum(amount_minor) AS total,
                min(wallet_version) FILTER (WHERE is_pointless) AS pointless,
                min(wallet_version) FILTER (
                    WHERE balance_after_minor::numeric <> before_minor::numeric + amount_minor
                ) AS broken,
                min(wallet_version) FILTER (WHERE is_foreign) AS foreign_money
            FROM (
                SELECT l.wallet_id, l.wallet_version, l.amount_minor, l.balance_after_minor,
                    l.currency <> w.currency AS is_foreign,
                    NOT CASE l.type
                        WHEN 'deposit' THEN l.amount_minor > 0 AND l.counter_account = '@external'
                        WHEN 'withdraw' THEN l.amount_minor < 0 AND l.counter_account = '@external'
                        WHEN 'withdraw_reversal'
                            THEN l.amount_minor > 0 AND l.counter_account = '@external'
                        WHEN 'hold_capture'
                            THEN l.amount_minor < 0 AND l.counter_account = '@external'
                        WHEN 'deposit_reversal'
                            THEN l.amount_minor < 0 AND l.counter_account = '@external'
                        WHEN 'transfer_debit'
                            THEN l.amount_minor < 0
                                AND l.counter_account IN ('@transit', '@fx:' || l.currency)
                        WHEN 'transfer_credit'
                            THEN l.amount_minor > 0
                                AND l.counter_account IN ('@transit', '@fx:' || l.currency)
                        WHEN 'transfer_refund'
                            THEN l.amount_minor > 0
                                AND l.counter_account IN ('@transit', '@fx:' || l.currency)
                        WHEN 'fee' THEN l.amount_minor < 0 AND l.counter_account = '@fees'
                        WHEN 'fee_refund' THEN l.amount_minor > 0 AND l.counter_account = '@fees'
                        ELSE false
                    END OR CASE l.counter_account
                        WHEN '@external' THEN l.transfer_id IS NOT NULL
                        WHEN '@fees' THEN false
                        ELSE l.transfer_id IS NULL END
                        AS is_pointless,
                    lag(l.balance_after_minor, 1, l.since_minor) OVER (
                        PARTITION BY l.wallet_id ORDER BY l.wallet_version
                    ) AS before_minor
                FROM the_entries AS l LEFT JOIN the_wallets AS w ON w.id = l.wallet_id
            ) AS chain
            GROUP BY wallet_id
        ) AS l ON l.wallet_id = w.id
    ) AS looked
    WHERE num_nonnulls("M2", "M3", "M4", "M5", "M7") > 0
    """,
)

# An event that has two places comes twice, one after the other.
_EVENTS: Final = Reading(
    (
        Invariant("M6", "each wallet's events are its versions 1..n without a gap", "the_events"),
        Invariant(
            "E9",
            "each event waits in the outbox or has one place in the feed, in its wallet's order;"
            " the feed has no gap",
            "the_events",
        ),
    ),
    """
    , waiting AS (
        SELECT wallet_id, event_id, position FROM outbox WHERE answer IS NULL AND replays = 0
    ), placed AS (
        SELECT coalesce(e.wallet_id, f.wallet_id) AS wallet_id, coalesce(e.id, f.event_id) AS id,
            e.id IS NOT NULL AS is_there, e.wallet_version, e.since_version, f.position
        FROM the_events AS e
        FULL JOIN the_places AS f ON f.wallet_id = e.wallet_id AND f.event_id = e.id
    ), ordered AS (
        SELECT *,
            lag(id) OVER wallet IS NOT DISTINCT FROM id AS is_again,
            lag(wallet_version, 1, since_version) OVER wallet AS version_before,
            lag(position) OVER wallet AS position_before,
            lag(is_there) OVER wallet IS NOT NULL AS is_later
        FROM placed
        WINDOW wallet AS (PARTITION BY wallet_id ORDER BY wallet_version, id, position)
    ), looked AS (
        SELECT o.*, CASE
            WHEN NOT o.is_there AND s.is_whole THEN 'a place without an event'
            WHEN NOT o.is_there AND NOT EXISTS (
                SELECT FROM events AS e WHERE e.wallet_id = o.wallet_id AND e.id = o.id
            ) THEN 'a place without an event'
            WHEN NOT o.is_there THEN NULL
            WHEN o.is_again THEN 'two places'
            WHEN o.position IS NULL AND w.event_id IS NULL THEN 'neither waits nor has a place'
            WHEN o.position IS NOT NULL AND w.event_id IS NOT NULL THEN 'waits and has a place'
            WHEN o.position IS NOT NULL AND o.wallet_version IS NOT NULL AND o.is_later AND (
                o.position_before IS NULL OR o.position_before >= o.position
            ) THEN 'overtook another'
            END AS trouble
        FROM ordered AS o CROSS JOIN scope AS s
        LEFT JOIN waiting AS w ON w.wallet_id = o.wallet_id AND w.event_id = o.id
    ), per_wallet AS (
        SELECT wallet_id, max(wallet_version) AS last,
            min(wallet_version) FILTER (
                WHERE NOT is_again AND wallet_version <> version_before + 1
            ) AS gap,
            (min(ARRAY[id::text, trouble]) FILTER (WHERE trouble IS NOT NULL)) AS trouble
        FROM looked GROUP BY wallet_id
    )
    SELECT * FROM (
        SELECT coalesce(w.id, e.wallet_id) AS "walletId",
            CASE WHEN (s.is_whole OR w.id IS NOT NULL) AND (w.version IS NULL
                    OR w.version IS DISTINCT FROM coalesce(e.last,
                        CASE WHEN NOT s.is_whole THEN w.since_version END)
                    OR e.gap IS NOT NULL)
                THEN json_build_object('walletVersion', w.version, 'lastEvent', e.last,
                    'gapBefore', e.gap) END AS "M6",
            CASE WHEN e.trouble IS NOT NULL
                THEN json_build_object('eventId', e.trouble[1], 'is', e.trouble[2]) END AS "E9"
        FROM the_wallets AS w FULL JOIN per_wallet AS e ON e.wallet_id = w.id
        CROSS JOIN scope AS s
    ) AS found
    WHERE num_nonnulls("M6", "E9") > 0
    UNION ALL
    SELECT (
            SELECT g.wallet_id FROM the_places AS g
            WHERE g.position <> max(s.position) + 1
                AND NOT EXISTS (SELECT FROM feed AS b WHERE b.position = g.position - 1)
            ORDER BY g.position LIMIT 1
        ), NULL, json_build_object('places', count(*), 'lastPosition', max(f.position),
            'is', 'a gap in the feed before a place of this wallet')
    FROM the_places AS f CROSS JOIN scope AS s
    HAVING count(*) <> coalesce(max(f.position) - max(s.position), 0)
        OR min(f.position) <> max(s.position) + 1
    """,
)

_TOLD: Final = Reading(
    (
        Invariant(
            "E1",
            "each entry is told by the event of its version, each money event has its entry",
            "the_entries",
        ),
    ),
    f"""
    , money AS (
        SELECT e.wallet_id, e.wallet_version, e.transfer_id, e.audit_id, e.occurred_at, p.*,
            CASE e.type
                WHEN 'FundsDeposited' THEN 'deposit'
                WHEN 'FundsWithdrawn' THEN 'withdraw'
                WHEN 'DepositReversed' THEN 'deposit_reversal'
                WHEN 'WithdrawalReversed' THEN 'withdraw_reversal'
                WHEN 'HoldCaptured' THEN 'hold_capture'
                WHEN 'TransferDebited' THEN 'transfer_debit'
                WHEN 'TransferCredited' THEN 'transfer_credit'
                WHEN 'TransferCompensated' THEN 'transfer_refund'
                WHEN 'FeeCharged' THEN 'fee'
                WHEN 'FeeRefunded' THEN 'fee_refund'
                END AS entry_type
        FROM the_events AS e CROSS JOIN LATERAL json_to_record(
            CASE WHEN json_typeof(e.payload) = 'object' THEN e.payload ELSE '{{}}' END
        ) AS p (
            amount text, "newBalance" text, currency text, "requestId" text, "operationId" text
        )
        WHERE e.type IN ('FundsDeposited', 'FundsWithdrawn', 'DepositReversed',
                'WithdrawalReversed', 'TransferDebited', 'TransferCredited', 'TransferCompensated',
                'FeeCharged', 'FeeRefunded')
            OR (e.type = 'HoldCaptured' AND e.transfer_id IS NULL)
    )
    SELECT coalesce(e.wallet_id, l.wallet_id) AS "walletId",
        json_build_object('walletVersion', coalesce(e.wallet_version, l.wallet_version)) AS "E1"
    FROM money AS e
    FULL JOIN the_entries AS l
        ON l.wallet_id = e.wallet_id AND l.wallet_version = e.wallet_version
    WHERE e.wallet_id IS NULL OR l.wallet_id IS NULL OR e.entry_type <> l.type
        OR ltrim(replace(e.amount, '.', ''), '0') IS DISTINCT FROM ltrim(l.amount_minor::text, '-')
        OR regexp_replace(replace(e."newBalance", '.', ''), '^(-?)0+', '\\1')
            IS DISTINCT FROM regexp_replace(l.balance_after_minor::text, '^(-?)0+', '\\1')
        OR length(split_part(e.amount, '.', 2)) IS DISTINCT FROM {decimals("l.currency")}
        OR length(split_part(e."newBalance", '.', 2)) IS DISTINCT FROM {decimals("l.currency")}
        OR e."requestId" IS DISTINCT FROM l.request_id
        OR e.occurred_at <> l.occurred_at
        OR e.currency IS DISTINCT FROM l.currency
        OR e."operationId" IS DISTINCT FROM l.operation_id::text
        OR e.transfer_id IS DISTINCT FROM l.transfer_id
        OR e.audit_id IS DISTINCT FROM l.audit_id
    """,  # noqa: S608  # constants
)

# What an incremental proof begins with is held against the wallets by the whole one.
NEVER_BACK: Final = Reading(
    (
        Invariant(
            "M12", "no wallet is behind, or other than, what a proof saw of it", "proven_wallets"
        ),
    ),
    """
    SELECT p.wallet_id AS "walletId", json_build_object('walletVersion', w.version,
        'balanceMinor', w.balance_minor, 'provenVersion', p.version,
        'provenBalanceMinor', p.balance_minor) AS "M12"
    FROM proven_wallets AS p LEFT JOIN wallets AS w ON w.id = p.wallet_id
    WHERE w.id IS NULL OR w.version < p.version
        OR (w.version = p.version AND w.balance_minor <> p.balance_minor)
    """,
)

OF_WALLETS: Final = (_SUMS, _ENTRIES, _EVENTS, _TOLD, NEVER_BACK)
