"""This module is where it is asked whether keys, their outcomes and the requests behind agree."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading

_KEYS: Final = Reading(
    (
        Invariant(
            "K1",
            "one key is one operation, and one operation one entry, and one of its fee",
            "the_operations",
        ),
    ),
    """
    SELECT wallet_id AS "walletId", json_build_object('requestId', request_id) AS "K1"
    FROM the_operations GROUP BY wallet_id, request_id HAVING count(*) > 1
    UNION ALL
    SELECT wallet_id, json_build_object('operationId', operation_id,
        'walletVersion', max(wallet_version))
    FROM the_entries GROUP BY wallet_id, operation_id, counter_account = '@fees'
    HAVING count(*) > 1
    """,
)

# A receipt names the version that the operation left; a refund tells one event more after its. What
# is no such outcome is no reason to end a proof, but one to tell.
_OUTCOMES: Final = Reading(
    (
        Invariant(
            "K8",
            "each posted operation has its entry, each entry its posted operation",
            "the_operations",
        ),
    ),
    r"""
    , posted AS (
        SELECT o.*, p.type AS outcome_type, p.balance_minor, p.version FROM the_operations AS o
        CROSS JOIN LATERAL json_to_record(
            CASE WHEN json_typeof(o.outcome) = 'object' THEN o.outcome ELSE '{}' END
        ) AS p (type text, balance_minor text, version text)
        -- What only binds money, or frees it, has no entry: see B2. Nor how a wallet stands: W2.
        WHERE p.type IS DISTINCT FROM 'rejected'
            AND o.type NOT IN ('hold', 'hold_release', 'freeze', 'unfreeze', 'close')
    )
    SELECT coalesce(o.wallet_id, e.wallet_id) AS "walletId",
        json_build_object('operationId', coalesce(o.operation_id, e.operation_id),
            'requestId', coalesce(o.request_id, e.request_id),
            'walletVersion', e.wallet_version) AS "K8"
    FROM posted AS o
    FULL JOIN (
        SELECT e.*, greatest(e.wallet_version, f.wallet_version) AS last_version,
            CASE WHEN f.wallet_version > e.wallet_version THEN f.balance_after_minor
                ELSE e.balance_after_minor END AS last_minor
        FROM (SELECT * FROM the_entries WHERE counter_account <> '@fees') AS e
        LEFT JOIN (SELECT * FROM the_entries WHERE counter_account = '@fees') AS f
            ON f.wallet_id = e.wallet_id AND f.operation_id = e.operation_id
    ) AS e
        ON e.wallet_id = o.wallet_id AND e.operation_id = o.operation_id
    WHERE o.wallet_id IS NULL OR e.wallet_id IS NULL
        OR (o.outcome_type IN ('posted', CASE
                WHEN o.type = 'hold_capture' THEN 'held'
                WHEN o.type LIKE '%\_reversal' THEN 'reversed' END)) IS NOT TRUE
        OR o.request_id <> CASE e.type
            WHEN 'transfer_credit' THEN 'credit ' || e.transfer_id::text
            WHEN 'transfer_refund' THEN 'refund ' || e.transfer_id::text
            ELSE e.request_id END
        OR e.type <> CASE
            WHEN o.type IN ('transfer', 'conversion', 'transfer_reversal') THEN 'transfer_debit'
            WHEN o.type = 'hold_capture' AND e.transfer_id IS NOT NULL THEN 'transfer_debit'
            ELSE o.type END
        OR o.balance_minor IS DISTINCT FROM e.last_minor::text
        OR o.version IS DISTINCT FROM (e.last_version + (o.type = 'transfer_refund')::int)::text
        OR e.audit_id IS DISTINCT FROM o.audit_id
        OR e.occurred_at <> o.occurred_at
    """,
)

# Whose audit row an operation may point to. What a transfer's other steps point to is the request
# for the transfer. A message of another service is one row for all that it brought about, and its
# transaction names the keys; a batch is one row for all of its commands, and tells no key. The
# outcome is looked at as the service spells it: what cannot be read is K8's. Whoever was told to
# ask again (503) was told before the end was known, which came all the same.
_ANSWERED: Final = """CASE
                WHEN o.type IN ('transfer_credit', 'transfer_refund') THEN true
                WHEN a.method = 'AMQP' THEN a.status = 200 AND (
                    o.request_id = 'opening balance'
                    OR substring(o.request_id FROM '^(?:transaction|reversal) (.*)$')
                        = encode(sha256(convert_to(a.request_id, 'UTF8')), 'hex'))
                WHEN a.wallet_id IS NULL AND a.url LIKE '/v1/batches%' THEN a.status = 201
                ELSE a.wallet_id = o.wallet_id AND a.request_id = o.request_id AND CASE
                    WHEN a.status = 503 THEN true
                    WHEN o.outcome::text LIKE '{"type":"rejected"%'
                        THEN a.status BETWEEN 400 AND 499
                    WHEN o.type IN ('transfer', 'conversion', 'hold_capture', 'transfer_reversal')
                        THEN a.status IN (201, 422)
                    ELSE a.status = 201 END
            END"""

# An archive tells how many operations had their row in it: so many are excused, no more, no fewer.
# Only a whole proof can count them.
_AUDITED: Final = Reading(
    (
        Invariant(
            "A7",
            "each operation has the audit row of the request that asked for it, here or archived",
            "the_operations",
        ),
    ),
    f"""
    , off AS MATERIALIZED (
        SELECT o.wallet_id, o.request_id, o.audit_id, p.name, p.operations, CASE
            WHEN o.audit_id IS NULL THEN 'asked for by nobody'
            WHEN a.id IS NOT NULL THEN 'another request''s'
            ELSE 'missing' END AS trouble
        FROM the_operations AS o
        LEFT JOIN api_audit AS a ON a.id = o.audit_id
        LEFT JOIN (
            SELECT audit_id FROM transfers WHERE state = 'debited' AND audit IS NOT NULL
        ) AS t ON t.audit_id = o.audit_id
        LEFT JOIN archived_partitions AS p
            ON a.id IS NULL AND o.audit_id >= p.from_id AND o.audit_id < p.to_id
        WHERE CASE WHEN a.id IS NULL THEN t.audit_id IS NULL
            ELSE ({_ANSWERED}) IS NOT TRUE END
    )
    SELECT wallet_id AS "walletId", json_build_object('requestId', request_id,
        'auditId', audit_id, 'archived', name, 'is', trouble) AS "A7"
    FROM off CROSS JOIN scope
    WHERE name IS NULL OR (is_whole AND name IN (
        SELECT name FROM off GROUP BY name, operations HAVING count(*) <> operations
    ))
    """,  # noqa: S608  # a constant
)

# A repetition has a row of its own, under the same key.
DONE: Final = Reading(
    (Invariant("A8", "what a request was told is done has its operation", "api_audit"),),
    """
    SELECT a.wallet_id AS "walletId",
        json_build_object('requestId', a.request_id, 'auditId', a.id) AS "A8"
    FROM api_audit AS a
    WHERE a.status = 201 AND a.method = 'POST'
        AND a.wallet_id IS NOT NULL AND a.request_id IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM operations AS o
            WHERE o.wallet_id = a.wallet_id AND o.request_id = a.request_id
        )
    """,
)

OF_OPERATIONS: Final = (_KEYS, _OUTCOMES, _AUDITED, DONE)
