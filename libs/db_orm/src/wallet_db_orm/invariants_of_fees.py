"""This module is where it is asked whether fees are what was to be paid, and no more or less."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# Of schedule s, for an amount: as `wallet_common.fees.fee_of` has it, of a deposit never more.
_EXPECTED: Final = """CASE WHEN s.operation = 'deposit' THEN least(costs.minor, paid.minor)
            ELSE costs.minor END"""
_COSTS: Final = """
    CROSS JOIN LATERAL (SELECT abs(m.amount_minor)::numeric AS minor) AS paid
    CROSS JOIN LATERAL (
        SELECT coalesce(paid.minor * s.percent::numeric * 0.01, 0) AS exact
    ) AS share
    CROSS JOIN LATERAL (
        SELECT least(s.max_minor, greatest(s.min_minor, s.flat_minor + trunc(exact) + CASE
            WHEN exact - trunc(exact) > 0.5 THEN 1
            WHEN exact - trunc(exact) = 0.5 THEN trunc(exact) % 2 ELSE 0 END)) AS minor
    ) AS costs
"""
# A schedule that has just been recorded may not have been seen yet.
_SEEN_AFTER_S: Final = 10

# A fee stands right before what it is for: before both events of a debit, but after a deposit.
FEES: Final = Reading(
    (
        Invariant(
            "F3",
            "each fee is what its schedule says, and comes back with its transfer",
            "transfers",
        ),
        Invariant("F4", "no operation was free that was to cost something", "operations"),
    ),
    f"""
    , unpaid AS MATERIALIZED (
        SELECT wallet_id, operation_id, max(request_id) AS request_id, max(currency) AS currency,
            max(amount_minor) AS amount_minor, max(occurred_at) AS occurred_at
        FROM ledger_entries
        WHERE type IN ('deposit', 'withdraw', 'transfer_debit', 'fee')
            AND request_id NOT LIKE '% %' AND EXISTS (SELECT FROM fee_schedules)
        GROUP BY wallet_id, operation_id HAVING NOT bool_or(type = 'fee')
    )
    SELECT f.wallet_id AS "walletId",
        json_build_object('walletVersion', f.wallet_version) AS "F3", NULL::json AS "F4"
    FROM ledger_entries AS f
    LEFT JOIN events AS e ON e.wallet_id = f.wallet_id AND e.wallet_version = f.wallet_version
    LEFT JOIN operations AS o ON o.wallet_id = f.wallet_id AND o.request_id = f.request_id
        AND o.operation_id = f.operation_id
    LEFT JOIN ledger_entries AS m ON m.wallet_id = f.wallet_id AND m.counter_account <> '@fees'
        AND m.wallet_version BETWEEN f.wallet_version - 1 AND f.wallet_version + 2
        AND m.operation_id = f.operation_id
    LEFT JOIN fee_schedules AS s ON s.id::text = e.payload ->> 'scheduleId'
        AND s.operation = o.type AND s.currency = f.currency AND s.recorded_at <= f.occurred_at
    {_COSTS}
    WHERE f.type = 'fee' AND (s.id IS NULL OR m.wallet_id IS NULL
        OR -f.amount_minor IS DISTINCT FROM {_EXPECTED})
    UNION ALL
    SELECT coalesce(t.from_wallet_id, p.wallet_id), json_build_object('transferId',
        coalesce(t.id, p.transfer_id)), NULL
    FROM transfers AS t
    FULL JOIN (
        SELECT wallet_id, transfer_id, coalesce(-sum(amount_minor) FILTER (WHERE type = 'fee'), 0)
                AS charged,
            coalesce(sum(amount_minor) FILTER (WHERE type = 'fee_refund'), 0) AS back
        FROM ledger_entries WHERE counter_account = '@fees' AND transfer_id IS NOT NULL
        GROUP BY wallet_id, transfer_id
    ) AS p ON p.transfer_id = t.id AND p.wallet_id = t.from_wallet_id
    WHERE t.id IS NULL OR t.fee_minor <> coalesce(p.charged, 0)
        OR coalesce(p.back, 0) <> CASE WHEN t.state = 'failed' THEN t.fee_minor ELSE 0 END
    UNION ALL
    SELECT f.wallet_id, json_build_object('walletVersion', f.wallet_version), NULL
    FROM ledger_entries AS f WHERE f.type = 'fee_refund' AND f.transfer_id IS NULL
    UNION ALL
    SELECT o.wallet_id, NULL, json_build_object('requestId', o.request_id)
    FROM unpaid AS m
    JOIN operations AS o ON o.wallet_id = m.wallet_id AND o.request_id = m.request_id
        AND o.operation_id = m.operation_id
    CROSS JOIN LATERAL (
        SELECT * FROM fee_schedules
        WHERE operation = o.type AND currency = m.currency AND recorded_at <= m.occurred_at
        ORDER BY id DESC LIMIT 1
    ) AS s
    {_COSTS}
    WHERE {_EXPECTED} > 0
        AND s.recorded_at < m.occurred_at - interval '{_SEEN_AFTER_S} s'
    """,  # noqa: S608  # constants
)
