"""This module is where the chains are recomputed, in SQL: a change of what is chained shows."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from wallet_common import chain
from wallet_db_orm.reading import Invariant, Reading


def digest_of(columns: Mapping[str, str]) -> str:
    """Return the SQL of a row's digest; `wallet_common.chain` has the same in Python."""
    return f"sha256({_bytes(chain.ROW)} || record_send(ROW({', '.join(columns)})))"


def _bytes(value: bytes) -> str:
    return rf"'\x{value.hex()}'::bytea"


NO_HASH: Final = _bytes(chain.NO_HASH)

# Each audit row with the digest that its seal has of it; without one while it waits for the seal.
COVERED: Final = """
    SELECT s.seal, u.id, substr(s.digests, 32 * (u.nth::int - 1) + 1, 32) AS digest
    FROM audit_seals AS s CROSS JOIN LATERAL unnest(s.ids) WITH ORDINALITY AS u (id, nth)
    UNION ALL
    SELECT NULL, u.id, NULL FROM unsealed_audit CROSS JOIN LATERAL unnest(ids) AS u (id)
"""


def _instant_of(audit_id: str) -> str:
    """Return the SQL of the instant of an id, UTC; `partitions.py` has the same in Python."""
    milliseconds = f"('x' || left(replace({audit_id}::text, '-', ''), 12))::bit(48)::bigint"
    return f"to_timestamp({milliseconds} / 1000.0) AT TIME ZONE 'UTC'"


def _first_id_of(instant: str) -> str:
    milliseconds = f"(extract(epoch FROM {instant}) * 1000)::bigint"
    return f"rpad(lpad(to_hex({milliseconds}), 12, '0'), 32, '0')::uuid"


# Notes of archives, and whether each is of one month that was over, has left, and has no double.
# `api_audit_first` is what there was before there were months.
_NOTED: Final = rf"""
    SELECT *, (
            name = 'api_audit_first' AND from_id = '{UUID(int=0)}'
            OR name = 'api_audit_' || to_char(month, 'YYYY_MM')
                AND from_id = {_first_id_of("date_trunc('month', month)")}
                AND ended = date_trunc('month', month) + interval '1 month'
        )
        AND to_id = {_first_id_of("date_trunc('month', ended)")}
        AND ended <= archived_at AT TIME ZONE 'UTC' AND archived_at <= clock_timestamp()
        AND NOT EXISTS (
            SELECT FROM archived_partitions AS o
            WHERE o.name <> n.name AND o.from_id < n.to_id AND o.to_id > n.from_id)
        AND NOT EXISTS (
            SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
                $$FROM \('([0-9a-f-]{{36}})'\) TO \('([0-9a-f-]{{36}})'\)$$) AS b (ounds)
            WHERE i.inhparent = 'api_audit'::regclass
                AND (b.ounds)[1]::uuid < n.to_id AND (b.ounds)[2]::uuid > n.from_id
        ) AS is_month
    FROM (
        SELECT *, {_instant_of("from_id")} AS month, {_instant_of("to_id")} AS ended
        FROM archived_partitions
    ) AS n
"""  # noqa: S608  # constants

# An archive is excused for exactly as many sealed rows as it says; one of before there were seals,
# for none.
SEALED: Final = Reading(
    (
        Invariant(
            "A5",
            "each audit row, here or archived, has one seal over every column or waits for it",
            "api_audit",
        ),
    ),
    f"""
    , covered AS ({COVERED}), noted AS ({_NOTED}), off AS (
        SELECT a.wallet_id, coalesce(a.id, c.id) AS audit_id, c.seal, p.name
        FROM (
            SELECT id, wallet_id, {digest_of(chain.AUDIT)} AS digest FROM api_audit OFFSET 0
        ) AS a
        FULL JOIN covered AS c ON c.id = a.id
        LEFT JOIN noted AS p ON a.id IS NULL AND c.id >= p.from_id AND c.id < p.to_id
        WHERE a.id IS NULL OR c.id IS NULL OR a.digest <> c.digest
    ), archives AS (
        SELECT n.name, n.is_month AND (coalesce(m.missing, 0) = n.rows OR m.missing IS NULL
            AND n.archived_at < coalesce(
                (SELECT min(sealed_at) FROM audit_seals), 'infinity')) AS is_right
        FROM noted AS n
        LEFT JOIN (SELECT name, count(*) AS missing FROM off GROUP BY name) AS m ON m.name = n.name
    )
    SELECT coalesce(wallet_id, (
            SELECT min(wallet_id) FROM operations AS o WHERE o.audit_id = found.audit_id
        )) AS "walletId",
        json_build_object('auditId', audit_id, 'seal', seal, 'archived', archived) AS "A5"
    FROM (
        SELECT o.wallet_id, o.audit_id, o.seal, o.name AS archived
        FROM off AS o LEFT JOIN archives AS p ON p.name = o.name WHERE p.is_right IS NOT TRUE
        UNION ALL
        SELECT NULL, NULL, NULL, name FROM archives WHERE is_right IS NOT TRUE
        UNION ALL
        SELECT NULL, id, max(seal), NULL FROM covered GROUP BY id HAVING count(*) > 1
        UNION ALL
        SELECT NULL, NULL, seal, NULL FROM (
            SELECT *, lag(seal, 1, 0::bigint) OVER (ORDER BY seal) AS last,
                lag(hash, 1, {NO_HASH}) OVER (ORDER BY seal) AS before
            FROM audit_seals
        ) AS s
        WHERE seal <> last + 1 OR hash IS DISTINCT FROM sha256(
            {_bytes(chain.SEAL)} || before || int8send(seal) || timestamptz_send(sealed_at)
            || (SELECT string_agg(uuid_send(u.id), '' ORDER BY u.nth)
                FROM unnest(ids) WITH ORDINALITY AS u (id, nth))
            || digests)
    ) AS found
    """,  # noqa: S608  # constants
)

HEADS_THEN: Final = Reading(
    (
        Invariant(
            "H3",
            "each checkpoint's head is still that of its wallet's entries then",
            "checkpoint_heads",
        ),
    ),
    # The first one that contradicts: what was changed lies behind the last good one before.
    f"""
    SELECT DISTINCT ON (h.wallet_id) h.wallet_id AS "walletId", json_build_object(
        'walletVersion', h.version, 'checkpoint', h.checkpoint, 'behindVersion', (
            SELECT max(b.version) FROM checkpoint_heads AS b
            WHERE b.wallet_id = h.wallet_id AND b.checkpoint < h.checkpoint
        )) AS "H3"
    FROM checkpoint_heads AS h
    LEFT JOIN wallets AS w ON w.id = h.wallet_id
    LEFT JOIN LATERAL (
        SELECT hash, balance_after_minor FROM ledger_entries AS e
        WHERE e.wallet_id = h.wallet_id AND e.wallet_version <= h.version
        ORDER BY wallet_version DESC LIMIT 1
    ) AS e ON true
    WHERE w.id IS NULL OR w.version < h.version OR h.head <> coalesce(e.hash, {NO_HASH})
        OR h.balance_minor <> coalesce(e.balance_after_minor, 0)
    ORDER BY h.wallet_id, h.checkpoint
    """,  # noqa: S608  # a constant
)

CHAINS: Final = (
    SEALED,
    Reading(
        (
            Invariant(
                "H1",
                "each entry's hash covers every column and continues the entry before",
                "the_entries",
            ),
            Invariant("H2", "each wallet's head is the hash of its newest entry", "the_wallets"),
        ),
        # OFFSET 0: digests are taken first, so that only they are sorted and not the rows. What
        # lies before the point is not read but for the one hash that goes on behind it.
        f"""
        , linked AS (
            SELECT wallet_id, wallet_version, hash, digest, lag(hash) OVER wallet AS before,
                lead(hash) OVER wallet IS NULL AS is_last
            FROM (
                SELECT wallet_id, wallet_version, hash, {digest_of(chain.ENTRY)} AS digest
                FROM the_entries OFFSET 0
            ) AS entries
            WINDOW wallet AS (PARTITION BY wallet_id ORDER BY wallet_version)
        ), looked AS (
            SELECT wallet_id,
                min(wallet_version) FILTER (WHERE hash IS DISTINCT FROM sha256(
                    {_bytes(chain.LINK)} ||
                    coalesce(before, CASE WHEN NOT is_whole THEN (
                        SELECT l.hash FROM ledger_entries AS l WHERE l.wallet_id = e.wallet_id
                            AND l.wallet_version < e.wallet_version
                        ORDER BY l.wallet_version DESC LIMIT 1
                    ) END, {NO_HASH}) || digest)) AS broken,
                (array_agg(hash) FILTER (WHERE is_last))[1] AS last,
                max(wallet_version) AS last_version
            FROM linked AS e CROSS JOIN scope GROUP BY wallet_id
        )
        SELECT * FROM (
            SELECT coalesce(w.id, e.wallet_id) AS "walletId",
                CASE WHEN e.broken IS NOT NULL
                    THEN json_build_object('walletVersion', e.broken) END AS "H1",
                CASE WHEN w.id IS NULL OR w.head IS DISTINCT FROM coalesce(e.last, CASE
                    WHEN NOT is_whole THEN (
                        SELECT l.hash FROM ledger_entries AS l WHERE l.wallet_id = w.id
                        ORDER BY l.wallet_version DESC LIMIT 1
                    ) END, {NO_HASH})
                    THEN json_build_object('walletVersion', e.last_version) END AS "H2"
            FROM the_wallets AS w FULL JOIN looked AS e ON e.wallet_id = w.id CROSS JOIN scope
        ) AS found
        WHERE num_nonnulls("H1", "H2") > 0
        """,  # noqa: S608  # constants
    ),
    HEADS_THEN,
    Reading(
        (Invariant("H6", "no proof of these books is dated later than now", "proofs"),),
        # A replica, which may have proved, has a clock of its own.
        """
        SELECT NULL AS "walletId",
            json_build_object('proofId', id, 'snapshotAt', snapshot_at) AS "H6"
        FROM proofs WHERE snapshot_at > clock_timestamp() + interval '1 minute'
        """,
    ),
)
