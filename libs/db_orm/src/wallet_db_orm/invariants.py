"""This module is where every promise about the books is a query that must find nothing."""

from typing import Final

import msgspec


class Invariant(msgspec.Struct, frozen=True):
    """`counted` says how many rows were looked at, `violations` selects those that contradict."""

    id: str
    name: str
    counted: str
    violations: str


_WALLETS: Final = "SELECT count(*) FROM wallets"
_ENTRIES: Final = "SELECT count(*) FROM ledger_entries"
_EVENTS: Final = "SELECT count(*) FROM events"
_OPERATIONS: Final = "SELECT count(*) FROM operations"
_TRANSFERS: Final = "SELECT count(*) FROM transfers"

INVARIANTS: Final = (
    Invariant(
        "M1",
        "per currency, wallets and system accounts sum to zero",
        _WALLETS,
        """
        WITH legs AS (
            SELECT id AS wallet_id, currency, balance_minor::numeric AS minor FROM wallets
            UNION ALL
            SELECT wallet_id, currency, -amount_minor::numeric FROM ledger_entries
        )
        SELECT wallet_id AS "walletId", currency, sum(minor)::text AS "differenceMinor"
        FROM legs
        WHERE currency IN (SELECT currency FROM legs GROUP BY currency HAVING sum(minor) <> 0)
        GROUP BY wallet_id, currency HAVING sum(minor) <> 0
        """,
    ),
    Invariant(
        "M3",
        "each balance is the sum of its entries",
        _WALLETS,
        """
        SELECT coalesce(w.id, e.wallet_id) AS "walletId",
            w.balance_minor AS "balanceMinor", e.total::text AS "entriesMinor"
        FROM wallets AS w
        FULL JOIN (
            SELECT wallet_id, sum(amount_minor) AS total FROM ledger_entries GROUP BY wallet_id
        ) AS e ON e.wallet_id = w.id
        WHERE w.id IS NULL OR w.balance_minor <> coalesce(e.total, 0)
        """,
    ),
    Invariant(
        "M4",
        "no balance is or ever was negative, none holds more than it has",
        _ENTRIES,
        """
        SELECT id AS "walletId", version AS "walletVersion" FROM wallets
        WHERE balance_minor < 0 OR held_minor < 0 OR held_minor > balance_minor
        UNION ALL
        SELECT wallet_id, wallet_version FROM ledger_entries WHERE balance_after_minor < 0
        """,
    ),
    Invariant(
        "M5",
        "each entry continues the balance that the one before it left",
        _ENTRIES,
        """
        SELECT wallet_id AS "walletId", wallet_version AS "walletVersion" FROM (
            SELECT wallet_id, wallet_version, balance_after_minor, amount_minor,
                lag(balance_after_minor, 1, 0::bigint) OVER (
                    PARTITION BY wallet_id ORDER BY wallet_version
                ) AS before_minor
            FROM ledger_entries
        ) AS chain
        WHERE balance_after_minor::numeric <> before_minor::numeric + amount_minor
        """,
    ),
    Invariant(
        "M6",
        "each wallet's events are its versions 1..n without a gap",
        _EVENTS,
        """
        SELECT coalesce(w.id, e.wallet_id) AS "walletId", w.version AS "walletVersion",
            e.count AS "events", e.last AS "lastEvent"
        FROM wallets AS w
        FULL JOIN (
            SELECT wallet_id, count(*) AS count, min(wallet_version) AS first,
                max(wallet_version) AS last
            FROM events WHERE wallet_version IS NOT NULL GROUP BY wallet_id
        ) AS e ON e.wallet_id = w.id
        WHERE w.id IS NULL OR e.wallet_id IS NULL
            OR e.first <> 1 OR e.last <> e.count OR w.version <> e.last
        """,
    ),
    Invariant(
        "M7",
        "entries are in their wallet's currency",
        _ENTRIES,
        """
        SELECT e.wallet_id AS "walletId", e.wallet_version AS "walletVersion"
        FROM ledger_entries AS e JOIN wallets AS w ON w.id = e.wallet_id
        WHERE e.currency <> w.currency
        """,
    ),
    Invariant(
        "K1",
        "each posted operation has exactly one entry, each entry one posted operation",
        _OPERATIONS,
        """
        SELECT coalesce(o.wallet_id, e.wallet_id) AS "walletId",
            coalesce(o.operation_id, e.operation_id) AS "operationId",
            e.wallet_version AS "walletVersion"
        FROM (SELECT * FROM operations WHERE outcome ->> 'type' = 'posted') AS o
        FULL JOIN ledger_entries AS e
            ON e.wallet_id = o.wallet_id AND e.operation_id = o.operation_id
        WHERE o.wallet_id IS NULL OR e.wallet_id IS NULL
            OR e.type <> CASE o.type WHEN 'transfer' THEN 'transfer_debit' ELSE o.type END
            OR o.outcome ->> 'balance_minor' IS DISTINCT FROM e.balance_after_minor::text
            OR e.audit_id IS DISTINCT FROM o.audit_id
            OR e.occurred_at <> o.occurred_at
        UNION ALL
        SELECT wallet_id, operation_id, max(wallet_version) FROM ledger_entries
        GROUP BY wallet_id, operation_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "E1",
        "each entry is told by the event of its version, each money event has its entry",
        _ENTRIES,
        """
        SELECT coalesce(e.wallet_id, l.wallet_id) AS "walletId",
            coalesce(e.wallet_version, l.wallet_version) AS "walletVersion"
        FROM (
            SELECT *, CASE type
                WHEN 'FundsDeposited' THEN 'deposit'
                WHEN 'FundsWithdrawn' THEN 'withdraw'
                WHEN 'TransferDebited' THEN 'transfer_debit'
                WHEN 'TransferCredited' THEN 'transfer_credit'
                WHEN 'TransferCompensated' THEN 'transfer_refund'
                END AS entry_type
            FROM events
            WHERE type IN ('FundsDeposited', 'FundsWithdrawn', 'TransferDebited',
                'TransferCredited', 'TransferCompensated')
        ) AS e
        FULL JOIN ledger_entries AS l
            ON l.wallet_id = e.wallet_id AND l.wallet_version = e.wallet_version
        WHERE e.wallet_id IS NULL OR l.wallet_id IS NULL OR e.entry_type <> l.type
            OR ltrim(replace(e.payload ->> 'amount', '.', ''), '0')
                IS DISTINCT FROM ltrim(l.amount_minor::text, '-')
            OR ltrim(replace(e.payload ->> 'newBalance', '.', ''), '0')
                IS DISTINCT FROM ltrim(l.balance_after_minor::text, '0')
            OR length(split_part(e.payload ->> 'amount', '.', 2))
                IS DISTINCT FROM length(split_part(e.payload ->> 'newBalance', '.', 2))
            OR e.payload ->> 'requestId' IS DISTINCT FROM l.request_id
            OR e.occurred_at <> l.occurred_at
            OR e.payload ->> 'currency' IS DISTINCT FROM l.currency
            OR e.payload ->> 'operationId' IS DISTINCT FROM l.operation_id::text
        """,
    ),
    Invariant(
        "S3",
        "each transfer's state explains its entries",
        _TRANSFERS,
        """
        SELECT coalesce(t.from_wallet_id, l.wallet_id) AS "walletId",
            coalesce(t.id, l.transfer_id) AS "transferId", t.state
        FROM transfers AS t
        FULL JOIN (
            SELECT transfer_id, min(wallet_id) AS wallet_id,
                coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_debit'), 0) AS debited,
                coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_credit'), 0) AS credited,
                coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_refund'), 0) AS refunded
            FROM ledger_entries WHERE transfer_id IS NOT NULL GROUP BY transfer_id
        ) AS l ON l.transfer_id = t.id
        WHERE t.id IS NULL OR l.transfer_id IS NULL OR l.debited <> -t.amount_minor
            OR CASE t.state
                WHEN 'completed' THEN l.credited <> t.amount_minor OR l.refunded <> 0
                WHEN 'failed' THEN l.credited <> 0 OR l.refunded <> t.amount_minor
                WHEN 'debited' THEN l.credited NOT IN (0, t.amount_minor) OR l.refunded <> 0
                ELSE true END
        """,
    ),
    Invariant(
        "S5",
        "@transit holds exactly what debited transfers have not brought yet",
        _TRANSFERS,
        """
        SELECT coalesce(t.from_wallet_id, l.wallet_id) AS "walletId",
            coalesce(t.id, l.transfer_id) AS "transferId", l.minor::text AS "inTransitMinor"
        FROM transfers AS t
        FULL JOIN (
            SELECT transfer_id, min(wallet_id) AS wallet_id, -sum(amount_minor) AS minor
            FROM ledger_entries WHERE counter_account = '@transit' GROUP BY transfer_id
        ) AS l ON l.transfer_id = t.id
        LEFT JOIN operations AS credit
            ON credit.wallet_id = t.to_wallet_id AND credit.request_id = 'credit ' || t.id::text
                AND credit.outcome ->> 'type' = 'posted'
        WHERE coalesce(l.minor, 0) <> CASE
            WHEN t.state = 'debited' AND credit.wallet_id IS NULL THEN t.amount_minor ELSE 0 END
        """,
    ),
    Invariant(
        "S7",
        "each transfer's end is told by exactly one event, and only its end",
        _TRANSFERS,
        """
        SELECT coalesce(t.from_wallet_id, e.wallet_id) AS "walletId",
            coalesce(t.id, e.transfer_id) AS "transferId", t.state
        FROM transfers AS t
        FULL JOIN (
            SELECT wallet_id, transfer_id,
                count(*) FILTER (WHERE type = 'TransferCompleted') AS completed,
                count(*) FILTER (WHERE type = 'TransferFailed') AS failed
            FROM events WHERE type IN ('TransferCompleted', 'TransferFailed')
            GROUP BY wallet_id, transfer_id
        ) AS e ON e.wallet_id = t.from_wallet_id AND e.transfer_id = t.id
        WHERE t.id IS NULL
            OR coalesce(e.completed, 0) <> (t.state = 'completed')::int
            OR coalesce(e.failed, 0) <> (t.state = 'failed')::int
        """,
    ),
    Invariant(
        "A7",
        "each operation that a request asked for has its audit row, here or in an archive",
        _OPERATIONS,
        """
        WITH missing AS MATERIALIZED (
            SELECT o.wallet_id, o.request_id, p.name, p.operations
            FROM operations AS o
            LEFT JOIN api_audit AS a ON a.id = o.audit_id
            LEFT JOIN transfers AS t ON t.audit_id = o.audit_id AND t.audit IS NOT NULL
            LEFT JOIN archived_partitions AS p
                ON o.audit_id >= p.from_id AND o.audit_id < p.to_id
            WHERE o.audit_id IS NOT NULL AND a.id IS NULL AND t.id IS NULL
        )
        SELECT wallet_id AS "walletId", request_id AS "requestId", name AS "archived"
        FROM missing
        WHERE name IS NULL OR name IN (
            SELECT name FROM missing GROUP BY name, operations HAVING count(*) <> operations
        )
        """,
    ),
)

# These hold once every event has arrived: the outbox is empty and so are the worker's queues.
AT_REST: Final = (
    Invariant(
        "S1",
        "no transfer is on its way",
        _TRANSFERS,
        """
        SELECT from_wallet_id AS "walletId", id AS "transferId" FROM transfers
        WHERE state = 'debited'
        """,
    ),
    Invariant(
        "E4",
        "statistics equal their recomputation from the ledger",
        _WALLETS,
        """
        SELECT coalesce(r.wallet_id, s.wallet_id) AS "walletId"
        FROM (
            SELECT w.id AS wallet_id, activity.last AS last_activity_at,
                coalesce(sum(l.amount_minor) FILTER (WHERE l.type = 'deposit'), 0) AS deposited,
                coalesce(-sum(l.amount_minor) FILTER (WHERE l.type = 'withdraw'), 0) AS withdrawn,
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
