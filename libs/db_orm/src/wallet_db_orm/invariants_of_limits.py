"""This module is where it is asked whether wallets kept to the limits that they had."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# What a hold has bound leaves whatever is allowed by then, and an administrator may force a
# reversal. What comes in makes nobody poorer, its fee included.
_OWED: Final = Reading(
    (Invariant("L1", "no wallet owes more than it might when it came to owe it", "the_entries"),),
    """
    SELECT l.wallet_id AS "walletId", json_build_object('walletVersion', l.wallet_version,
        'balanceMinor', l.balance_after_minor, 'overdraftMinor', might.minor::text) AS "L1"
    FROM the_entries AS l
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT replace(payload ->> 'overdraft', '.', '')::numeric FROM events
            WHERE wallet_id = l.wallet_id AND type = 'LimitsChanged'
                AND wallet_version < l.wallet_version
            ORDER BY wallet_version DESC LIMIT 1
        ), 0) AS minor
    ) AS might
    LEFT JOIN operations AS o ON o.wallet_id = l.wallet_id AND o.request_id = l.request_id
    WHERE l.amount_minor < 0 AND l.balance_after_minor < 0
        AND -l.balance_after_minor > might.minor
        AND o.type IS DISTINCT FROM 'hold_capture'
        AND NOT (l.type = 'fee' AND o.type IS NOT DISTINCT FROM 'deposit')
        AND (o.meaning ->> 'force') IS DISTINCT FROM 'true'
    """,
)

# The periods that we are in, as far as they lie behind the last change.
_KEPT: Final = Reading(
    (
        Invariant("L2", "each wallet has the limits that its last such event tells", "the_wallets"),
        Invariant("L3", "no wallet has let go more in a time than it may", "the_wallets"),
    ),
    """
    , limited AS (
        SELECT w.id, w.limits, latest.wallet_version, latest.payload
        FROM the_wallets AS w
        LEFT JOIN LATERAL (
            SELECT wallet_version, payload FROM events
            WHERE wallet_id = w.id AND type = 'LimitsChanged'
            ORDER BY wallet_version DESC LIMIT 1
        ) AS latest ON true
    )
    SELECT id AS "walletId", json_build_object('limits', limits, 'told', payload) AS "L2",
        NULL AS "L3"
    FROM limited
    WHERE (limits IS NOT NULL AND payload IS NULL)
        OR coalesce(limits ->> 'overdraft_minor', '0')::numeric
            <> coalesce(replace(payload ->> 'overdraft', '.', '')::numeric, 0)
        OR (limits ->> 'max_balance_minor')::numeric
            IS DISTINCT FROM replace(payload ->> 'maxBalance', '.', '')::numeric
        OR (limits ->> 'max_transaction_minor')::numeric
            IS DISTINCT FROM replace(payload ->> 'maxTransaction', '.', '')::numeric
        OR coalesce(json_array_length(limits -> 'velocity'), 0)
            <> coalesce(json_array_length(payload -> 'velocity'), 0)
    UNION ALL
    SELECT t.id, NULL, json_build_object('period', v.period, 'goneMinor', gone.minor::text,
        'times', gone.times)
    FROM limited AS t
    CROSS JOIN LATERAL json_to_recordset(coalesce(t.limits -> 'velocity', '[]'))
        AS v (period text, amount_minor numeric, count bigint)
    CROSS JOIN LATERAL (SELECT coalesce(t.limits ->> 'time_zone', 'UTC') AS zone) AS z
    CROSS JOIN LATERAL (
        SELECT -sum(amount_minor) FILTER (WHERE l.occurred_at >= date_trunc(
                v.period, statement_timestamp() AT TIME ZONE z.zone) AT TIME ZONE z.zone) AS minor,
            -sum(sign(amount_minor)) FILTER (WHERE l.occurred_at >= date_trunc(
                v.period, statement_timestamp() AT TIME ZONE z.zone) AT TIME ZONE z.zone) AS times
        FROM ledger_entries AS l
        LEFT JOIN operations AS o ON o.wallet_id = l.wallet_id AND o.request_id = l.request_id
        WHERE l.wallet_id = t.id AND l.wallet_version > t.wallet_version
            AND l.type IN ('withdraw', 'transfer_debit', 'transfer_refund')
            -- Neither what a hold had bound before, nor what was taken back, asked for a limit.
            AND o.type IN ('withdraw', 'transfer', 'conversion')
    ) AS gone
    WHERE gone.minor > v.amount_minor OR gone.times > v.count
    """,
)

OF_LIMITS: Final = (_OWED, _KEPT)
