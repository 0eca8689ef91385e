"""This module is where it is asked whether transfers, their money and their story agree."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

# Recovery ends what nobody drives after 2 s: it has failed by now, or somebody is needed.
_STUCK_AFTER_S: Final = 60

# What the sender's events may tell of a transfer, by its state.
_STORY: Final = """CASE t.state
                WHEN 'debited' THEN 'TransferInitiated TransferDebited'
                WHEN 'completed' THEN 'TransferInitiated TransferDebited TransferCompleted'
                WHEN 'failed' THEN
                    'TransferInitiated TransferDebited TransferCompensated TransferFailed'
            END"""

_TRANSFERS: Final = Reading(
    (
        Invariant(
            "S2", "each transfer went the legal way, and stopped at its end", "the_transfers"
        ),
        Invariant("S3", "each transfer's state explains its entries", "the_transfers"),
        Invariant("S4", "no step of a transfer was taken twice", "the_transfers"),
        Invariant(
            "S5",
            "@transit holds exactly what debited transfers have not brought yet",
            "the_transfers",
        ),
        Invariant(
            "S7",
            "each transfer's end is told by exactly one event, and only its end",
            "the_transfers",
        ),
    ),
    f"""
    , legs AS (
        SELECT transfer_id, min(wallet_id) AS wallet_id, -sum(amount_minor) AS in_transit,
            min(currency) FILTER (WHERE type <> 'transfer_credit') AS currency,
            max(currency) FILTER (WHERE type <> 'transfer_credit') AS last_currency,
            max(currency) FILTER (WHERE type = 'transfer_credit') AS credited_in,
            bool_or(counter_account = '@transit') AS is_plain,
            bool_and(counter_account = '@transit') AS is_all_plain,
            string_agg(wallet_id, ' ') FILTER (WHERE type = 'transfer_debit') AS debited_at,
            string_agg(wallet_id, ' ') FILTER (WHERE type = 'transfer_credit') AS credited_at,
            string_agg(wallet_id, ' ') FILTER (WHERE type = 'transfer_refund') AS refunded_at,
            greatest(count(*) FILTER (WHERE type = 'transfer_debit'),
                count(*) FILTER (WHERE type = 'transfer_credit'),
                count(*) FILTER (WHERE type = 'transfer_refund')) AS times,
            coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_debit'), 0) AS debited,
            coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_credit'), 0) AS credited,
            coalesce(sum(amount_minor) FILTER (WHERE type = 'transfer_refund'), 0) AS refunded
        FROM the_legs GROUP BY transfer_id
    ), steps AS (
        SELECT transfer_id, min(wallet_id) AS wallet_id,
            string_agg(type, ' ' ORDER BY wallet_version)
                FILTER (WHERE type NOT IN (
                    'TransferCredited', 'HoldCaptured', 'FeeCharged', 'FeeRefunded')) AS story,
            count(*) FILTER (WHERE type = 'TransferCredited') AS credits,
            count(*) FILTER (WHERE type = 'TransferCompleted') AS completed,
            count(*) FILTER (WHERE type = 'TransferFailed') AS failed
        FROM the_steps GROUP BY transfer_id
    )
    SELECT "walletId",
        CASE WHEN "S2" THEN keys END AS "S2", CASE WHEN "S3" THEN keys END AS "S3",
        CASE WHEN "S4" THEN keys END AS "S4", CASE WHEN "S5" THEN keys END AS "S5",
        CASE WHEN "S7" THEN keys END AS "S7"
    FROM (
        SELECT coalesce(t.from_wallet_id, l.wallet_id, s.wallet_id) AS "walletId",
            json_build_object('transferId', coalesce(t.id, l.transfer_id, s.transfer_id),
                'state', t.state, 'inTransitMinor', l.in_transit::text) AS keys,
            s.story IS DISTINCT FROM {_STORY}
                OR s.credits <> (l.credited_at IS NOT NULL)::int AS "S2",
            t.id IS NULL OR l.transfer_id IS NULL OR l.debited <> -t.amount_minor
                OR l.currency <> t.currency OR l.last_currency <> t.currency
                OR l.credited_in <> coalesce(t.to_currency, t.currency)
                OR l.is_plain <> (t.quote_id IS NULL) OR l.is_all_plain <> (t.quote_id IS NULL)
                OR l.debited_at IS DISTINCT FROM t.from_wallet_id
                OR coalesce(l.credited_at, t.to_wallet_id) <> t.to_wallet_id
                OR coalesce(l.refunded_at, t.from_wallet_id) <> t.from_wallet_id
                OR CASE t.state
                    WHEN 'completed' THEN l.credited <> coalesce(t.to_amount_minor, t.amount_minor)
                        OR l.refunded <> 0
                    WHEN 'failed' THEN l.credited <> 0 OR l.refunded <> t.amount_minor
                    WHEN 'debited' THEN l.refunded <> 0
                        OR l.credited NOT IN (0, coalesce(t.to_amount_minor, t.amount_minor))
                    ELSE true END AS "S3",
            coalesce(l.times > 1, false) OR coalesce(s.credits > 1, false) AS "S4",
            t.quote_id IS NULL AND coalesce(l.in_transit, 0) <> CASE
                WHEN t.state = 'debited' AND (
                    SELECT o.wallet_id FROM operations AS o
                    WHERE o.wallet_id = t.to_wallet_id AND o.request_id = 'credit ' || t.id::text
                        AND o.outcome ->> 'type' = 'posted'
                ) IS NULL THEN t.amount_minor ELSE 0 END AS "S5",
            t.id IS NULL OR coalesce(s.completed, 0) <> (t.state = 'completed')::int
                OR coalesce(s.failed, 0) <> (t.state = 'failed')::int AS "S7"
        FROM the_transfers AS t
        FULL JOIN legs AS l ON l.transfer_id = t.id
        FULL JOIN steps AS s ON s.transfer_id = coalesce(t.id, l.transfer_id)
    ) AS looked
    WHERE "S2" OR "S3" OR "S4" OR "S5" OR "S7"
    """,  # noqa: S608  # a constant
)

# Wherever a proof goes on from, and found by an index: what got stuck is what did not move.
_STUCK: Final = Reading(
    (
        Invariant(
            "S1", f"no transfer is on its way for more than {_STUCK_AFTER_S} s", "the_transfers"
        ),
    ),
    f"""
    SELECT from_wallet_id AS "walletId", json_build_object('transferId', id,
        'initiatedAt', initiated_at) AS "S1"
    FROM transfers
    WHERE state = 'debited' AND initiated_at < now() - interval '{_STUCK_AFTER_S} s'
    """,  # noqa: S608  # a constant
)

OF_TRANSFERS: Final = (_TRANSFERS, _STUCK)
