"""This module is where it is asked whether holds, what they bind and their story agree."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# Whether a hold's time is over makes no difference here: it is open until that has been noted.
_BOUND: Final = Reading(
    (Invariant("B1", "what is held of each wallet is what its open holds bind", "the_open_holds"),),
    """
    SELECT coalesce(w.id, h.wallet_id) AS "walletId",
        json_build_object('heldMinor', w.held_minor, 'openHoldsMinor', h.minor::text) AS "B1"
    FROM the_wallets AS w
    FULL JOIN (
        SELECT wallet_id, sum(amount_minor - captured_minor - released_minor - expired_minor)
            AS minor
        FROM the_open_holds GROUP BY wallet_id
    ) AS h ON h.wallet_id = w.id
    WHERE coalesce(w.held_minor, 0) <> coalesce(h.minor, 0)
    """,
)

# After a capture to another wallet the debit of its transfer comes, two versions on and of the same
# amount. A capture out of the service has an entry of its own, which is E1's.
STORIES: Final = Reading(
    (
        Invariant(
            "B2", "each hold is what its operation asked for and its events tell of it", "holds"
        ),
        Invariant("B3", "each event of a hold tells what was held after it", "holds"),
    ),
    """
    , steps AS (
        SELECT e.wallet_id, e.wallet_version, e.type, e.transfer_id, p."holdId" AS hold_id,
            replace(p.amount, '.', '')::numeric AS minor, replace(p.held, '.', '')::numeric AS held,
            CASE WHEN e.type = 'HoldPlaced' THEN 1 ELSE -1 END AS sign
        FROM events AS e CROSS JOIN LATERAL json_to_record(e.payload)
            AS p ("holdId" text, amount text, held text)
        WHERE e.type IN ('HoldPlaced', 'HoldCaptured', 'HoldReleased', 'HoldExpired')
    ), running AS (
        SELECT wallet_id, wallet_version, hold_id, held, sum(sign * minor) OVER (
            PARTITION BY wallet_id ORDER BY wallet_version
        ) AS bound
        FROM steps
    ), told AS (
        SELECT s.wallet_id, s.hold_id,
            sum(minor) FILTER (WHERE s.type = 'HoldPlaced') AS placed,
            count(*) FILTER (WHERE s.type = 'HoldPlaced') AS times,
            coalesce(sum(minor) FILTER (WHERE s.type = 'HoldCaptured'), 0) AS captured,
            coalesce(sum(minor) FILTER (WHERE s.type = 'HoldReleased'), 0) AS released,
            coalesce(sum(minor) FILTER (WHERE s.type = 'HoldExpired'), 0) AS expired,
            bool_or(s.transfer_id IS NOT NULL AND l.wallet_id IS NULL) AS is_unpaid
        FROM steps AS s
        LEFT JOIN ledger_entries AS l
            ON l.wallet_id = s.wallet_id AND l.wallet_version = s.wallet_version + 2
                AND l.transfer_id = s.transfer_id AND l.amount_minor = -s.minor
        GROUP BY s.wallet_id, s.hold_id
    )
    SELECT coalesce(h.wallet_id, t.wallet_id) AS "walletId",
        json_build_object('holdId', coalesce(h.id::text, t.hold_id)) AS "B2", NULL AS "B3"
    FROM holds AS h
    FULL JOIN told AS t ON t.wallet_id = h.wallet_id AND t.hold_id = h.id::text
    LEFT JOIN operations AS o ON o.wallet_id = h.wallet_id AND o.request_id = h.request_id
        AND o.operation_id = h.id AND o.type = 'hold' AND o.outcome::text LIKE '{"type":"held"%'
    LEFT JOIN wallets AS w ON w.id = h.wallet_id
    WHERE h.id IS NULL OR t.hold_id IS NULL OR o.wallet_id IS NULL OR t.times <> 1
        OR t.placed IS DISTINCT FROM h.amount_minor OR t.captured <> h.captured_minor
        OR t.released <> h.released_minor OR t.expired <> h.expired_minor
        OR t.is_unpaid IS NOT FALSE OR h.currency IS DISTINCT FROM w.currency
    UNION ALL
    SELECT wallet_id, NULL, json_build_object('holdId', hold_id, 'walletVersion', wallet_version)
    FROM running WHERE held IS DISTINCT FROM bound
    """,
)

OF_HOLDS: Final = (_BOUND, STORIES)
