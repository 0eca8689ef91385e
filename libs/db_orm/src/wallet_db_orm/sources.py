"""
This module is where it is said which rows a proof reads: all, or those behind a proven point.

The invariants are queries over the names defined here, so that a whole proof and an incremental
one ask the very same. `the_wallets` bear where a proof begins: a version and the balance there.
"""

from collections.abc import Sequence
from typing import Final

from wallet_db_orm.examination import Scope

_WHOLE: Final = """
WITH scope (is_whole, position) AS (VALUES (true, 0::bigint)),
the_wallets AS NOT MATERIALIZED (
    SELECT id, currency, balance_minor, held_minor, status, frozen, floor_minor, limits,
        version, head,
        0::bigint AS since_version, 0::bigint AS since_minor FROM wallets
),
the_entries AS NOT MATERIALIZED (SELECT *, 0::bigint AS since_minor FROM ledger_entries),
the_events AS NOT MATERIALIZED (SELECT *, 0::bigint AS since_version FROM events),
the_operations AS NOT MATERIALIZED (SELECT * FROM operations),
the_places AS NOT MATERIALIZED (SELECT * FROM feed),
the_open_holds AS NOT MATERIALIZED (SELECT * FROM holds WHERE status = 'open'),
the_transfers AS NOT MATERIALIZED (SELECT * FROM transfers),
the_legs AS NOT MATERIALIZED (
    SELECT transfer_id, wallet_id, wallet_version, type, amount_minor, currency,
        counter_account
    FROM ledger_entries WHERE transfer_id IS NOT NULL AND counter_account <> '@fees'
),
the_steps AS NOT MATERIALIZED (
    SELECT transfer_id, wallet_id, wallet_version, type FROM events WHERE transfer_id IS NOT NULL
)
"""

# LATERAL … OFFSET 0 keeps one probe per row, whatever the planner thinks of the size of a table.
# An operation's receipt names the version of its entry; a transfer's first two events are those of
# its debit, so all of a transfer is found along keys, also what lies before the point.
_BEHIND: Final = r"""
WITH scope (is_whole, position) AS (VALUES (false, $4::bigint)),
behind AS NOT MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
        AS given (wallet_id, since_version, since_minor)
),
the_wallets AS NOT MATERIALIZED (
    SELECT b.wallet_id AS id, w.currency, w.balance_minor, w.held_minor, w.status, w.frozen,
        w.floor_minor, w.limits,
        w.version, w.head, b.since_version, b.since_minor
    FROM behind AS b
    LEFT JOIN LATERAL (SELECT * FROM wallets WHERE id = b.wallet_id OFFSET 0) AS w ON true
),
the_entries AS NOT MATERIALIZED (
    SELECT l.*, b.since_minor FROM behind AS b CROSS JOIN LATERAL (
        SELECT * FROM ledger_entries
        WHERE wallet_id = b.wallet_id AND wallet_version > b.since_version OFFSET 0
    ) AS l
),
the_events AS NOT MATERIALIZED (
    SELECT e.*, b.since_version FROM behind AS b CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE wallet_id = b.wallet_id AND wallet_version > b.since_version OFFSET 0
    ) AS e
),
the_operations AS NOT MATERIALIZED (
    SELECT o.* FROM the_entries AS l CROSS JOIN LATERAL (
        SELECT * FROM operations
        WHERE wallet_id = l.wallet_id AND request_id = CASE l.type
            WHEN 'transfer_credit' THEN 'credit ' || l.transfer_id::text
            WHEN 'transfer_refund' THEN 'refund ' || l.transfer_id::text
            ELSE l.request_id END
        OFFSET 0
    ) AS o
    WHERE l.counter_account <> '@fees'
),
the_places AS NOT MATERIALIZED (SELECT * FROM feed WHERE position > $4::bigint),
the_open_holds AS NOT MATERIALIZED (
    SELECT h.* FROM behind AS b CROSS JOIN LATERAL (
        SELECT * FROM holds WHERE wallet_id = b.wallet_id AND status = 'open' OFFSET 0
    ) AS h
),
the_transfers AS NOT MATERIALIZED (
    SELECT t.* FROM (
        SELECT DISTINCT transfer_id FROM the_events WHERE transfer_id IS NOT NULL
    ) AS moved
    CROSS JOIN LATERAL (SELECT * FROM transfers WHERE id = moved.transfer_id OFFSET 0) AS t
),
told AS NOT MATERIALIZED (
    SELECT t.id AS transfer_id, o.wallet_id, o.version AS last_version,
        o.version - (o.type = 'transfer_refund')::int AS wallet_version
    FROM the_transfers AS t
    CROSS JOIN LATERAL (VALUES
        (t.from_wallet_id, t.request_id),
        (t.from_wallet_id, 'refund ' || t.id::text),
        (t.to_wallet_id, 'credit ' || t.id::text)
    ) AS step (wallet_id, request_id)
    CROSS JOIN LATERAL (
        SELECT *, CASE WHEN outcome ->> 'version' ~ '^\d{1,18}$'
            THEN (outcome ->> 'version')::bigint END AS version
        FROM operations
        WHERE wallet_id = step.wallet_id AND request_id = step.request_id OFFSET 0
    ) AS o
    WHERE o.outcome ->> 'type' IN ('posted', 'held', 'reversed')
),
the_legs AS NOT MATERIALIZED (
    SELECT told.transfer_id, l.wallet_id, l.wallet_version, l.type, l.amount_minor, l.currency,
        l.counter_account
    FROM told CROSS JOIN LATERAL (
        SELECT * FROM ledger_entries
        WHERE wallet_id = told.wallet_id AND wallet_version = told.wallet_version OFFSET 0
    ) AS l
    UNION
    SELECT transfer_id, wallet_id, wallet_version, type, amount_minor, currency,
        counter_account
    FROM the_entries WHERE transfer_id IS NOT NULL AND counter_account <> '@fees'
),
the_steps AS NOT MATERIALIZED (
    SELECT told.transfer_id, e.wallet_id, e.wallet_version, e.type
    FROM told CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE wallet_id = told.wallet_id AND transfer_id = told.transfer_id
            AND wallet_version BETWEEN told.last_version - 1 AND told.last_version
        OFFSET 0
    ) AS e
    UNION
    SELECT transfer_id, wallet_id, wallet_version, type
    FROM the_events WHERE transfer_id IS NOT NULL
)
"""


def over(scope: Scope, query: str) -> tuple[str, Sequence[object]]:
    """Return `query` over what the proof is to look at, and its parameters."""
    if scope.behind is None:
        return _WHOLE + query, ()
    return _BEHIND + query, (
        [each.wallet_id for each in scope.behind],
        [each.version for each in scope.behind],
        [each.balance_minor for each in scope.behind],
        scope.position,
    )
