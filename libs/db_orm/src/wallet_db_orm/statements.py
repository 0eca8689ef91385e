"""
This module is where the write path's SQL is spelled: each statement takes a whole batch.

What every request writes comes as one array of records per table, the rest as an array per column;
so a batch of any size is one prepared statement and one round trip. See docs/adr/0029.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from wallet_db_orm import models

# A row as the driver writes one: a list would be an array's next dimension.
Record = tuple[object, ...]

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped

OPERATION_COLUMNS: Final = (
    *("wallet_id", "request_id", "operation_id", "type", "meaning", "outcome"),
    *("trace_id", "audit_id"),
)
ENTRY_COLUMNS: Final = (
    *("wallet_id", "wallet_version", "type", "amount_minor", "balance_after_minor", "currency"),
    *("counter_account", "operation_id", "transfer_id", "request_id", "reference", "metadata"),
    *("audit_id", "trace_id", "hash"),
)
EVENT_COLUMNS: Final = (
    *("wallet_id", "id", "wallet_version", "type", "transfer_id", "audit_id", "trace_id"),
    "payload",
)
OUTBOX_COLUMNS: Final = ("wallet_id", "event_id")
AUDIT_COLUMNS: Final = (
    *("id", "method", "url", "body", "headers", "client_ip", "status", "principal"),
    *("wallet_id", "request_id", "trace_id", "duration_us"),
)
OPENED_COLUMNS: Final = (
    *("id", "owner_id", "currency", "balance_minor", "held_minor", "status", "version"),
    *("metadata", "created_at", "updated_at", "head"),
)
INDEXED_COLUMNS: Final = ("wallet_id", "owner_id", "key", "digest", "master_id")
STARTED_COLUMNS: Final = (
    *("from_wallet_id", "id", "to_wallet_id", "amount_minor", "currency", "state", "request_id"),
    *("from_balance_minor", "reference", "metadata", "trace_id", "audit_id", "audit"),
    *("reverses", "initiated_at", "quote_id", "rate", "to_currency", "to_amount_minor", "residue"),
    "fee_minor",
)

MOVED_COLUMNS: Final = ("id", "balance_minor", "held_minor", "version", "head")
FINISHED_COLUMNS: Final = (
    *("from_wallet_id", "id", "state", "from_balance_minor", "to_balance_minor", "reason"),
)

# What is given as records. Migration 0016 says why no such type is ever altered.
_GIVEN: Final = (
    (models.wallets, MOVED_COLUMNS),
    (models.operations, OPERATION_COLUMNS),
    (models.ledger_entries, ENTRY_COLUMNS),
    (models.events, EVENT_COLUMNS),
    (models.api_audit, AUDIT_COLUMNS),
)
for _table, _columns in _GIVEN:
    _members = ", ".join(f"{name} {_table.c[name].type.compile(_DIALECT)}" for name in _columns)
    _type = f"CREATE TYPE given_{_table.name} AS ({_members})"
    sa.event.listen(models.metadata, "after_create", sa.DDL(_type))  # type: ignore[no-untyped-call]

# Writing the same request's row twice is harmless: after a lost COMMIT answer it is asked again.
_AUDITED_ONCE: Final = " ON CONFLICT DO NOTHING RETURNING id"


def insert_many(table: sa.Table, columns: Sequence[str], *, tail: str = "") -> str:
    """
    Return an INSERT of `columns` whose values are the arrays $1, $2, …

    Rows are inserted in array order, so a sequence value is drawn in array order too.
    """
    unnested = ", ".join(
        f"${number}::{table.c[name].type.compile(_DIALECT)}[]"
        for number, name in enumerate(columns, 1)
    )
    names = ", ".join(columns)
    # Names come from the table's declaration, never from outside.
    return (
        f"INSERT INTO {table.name} ({names})"  # noqa: S608  # see above
        f" SELECT {names} FROM unnest({unnested}) WITH ORDINALITY AS given ({names}, nth)"
        f" ORDER BY nth{tail}"
    )


def _insert_records(
    table: sa.Table, columns: Sequence[str], number: int, *, now: int | None = None, tail: str = ""
) -> str:
    """
    Return an INSERT of `columns`, a row each of an array of records: parameter `number`.

    Rows are inserted in array order. A record is a tuple. `now` is the number of the parameter that
    is every row's `occurred_at`.
    """
    names = ", ".join(columns)
    stamped, at = ("", "") if now is None else (", occurred_at", f", ${now}::timestamptz")
    return (
        f"INSERT INTO {table.name} ({names}{stamped})"  # noqa: S608  # names of ours
        f" SELECT {names}{at} FROM {_given(table, number)} WITH ORDINALITY AS given ({names}, nth)"
        f" ORDER BY nth{tail}"
    )


def _given(table: sa.Table, number: int) -> str:
    """Return the rows of parameter `number`, which are of the type that `_GIVEN` declares."""
    return f"unnest(${number}::given_{table.name}[])"


def transpose(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> list[list[object]]:
    """
    Return one list per column, also for no rows at all; an empty one for a column of NULLs alone.

    `unnest` fills the shorter arrays up with NULLs, and the driver looks at each of ours for long.
    """
    if not rows:
        return [[] for _ in columns]
    return [
        [] if values.count(None) == len(values) else list(values)
        for values in zip(*rows, strict=True)
    ]


_WALLET_COLUMNS: Final = (
    "id, currency, owner_id, balance_minor, held_minor, status, version, frozen, floor_minor,"
    " limits"
)

# THE locking statement. FOR NO KEY UPDATE lets foreign-key checks pass; id order prevents deadlock.
# Only under the lock is `head` what the next entry continues.
LOCK_WALLETS: Final = f"""
SELECT {_WALLET_COLUMNS}, head FROM wallets WHERE id = ANY($1::text[])
ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608  # a constant

# The same for who will not wait: what it leaves out is locked by somebody, or not there at all.
LOCK_FREE_WALLETS: Final = f"{LOCK_WALLETS} SKIP LOCKED"

READ_WALLETS: Final = f"SELECT {_WALLET_COLUMNS} FROM wallets WHERE id = ANY($1::text[])"  # noqa: S608

READ_SIBLINGS: Final = f"""
SELECT {_WALLET_COLUMNS} FROM unnest($1::text[], $2::text[]) AS asked (owner, money)
CROSS JOIN LATERAL (
    SELECT * FROM wallets WHERE owner_id = asked.owner AND currency = asked.money OFFSET 0
) AS w
"""  # noqa: S608  # a constant

# A statement of its own after the locks: its snapshot sees what those we waited for committed. What
# operations cost comes with it, so that nobody goes by a price of before.
# LATERAL … OFFSET 0 keeps one index probe per key, whatever the planner thinks of the table's size.
LOOK_UP: Final = f"""
SELECT clock.now, clock.fees, o.occurred_at, {", ".join(f"o.{name}" for name in OPERATION_COLUMNS)}
FROM (
    SELECT clock_timestamp() AS now, (
        SELECT json_agg(f) FROM (
            SELECT DISTINCT ON (operation, currency) operation, currency, id, flat_minor, percent,
                min_minor, max_minor
            FROM fee_schedules ORDER BY operation, currency, id DESC
        ) AS f
    ) AS fees
) AS clock
LEFT JOIN (
    unnest($1::text[], $2::text[]) AS asked (wallet_id, request_id)
    CROSS JOIN LATERAL (
        SELECT * FROM operations AS kept
        WHERE kept.wallet_id = asked.wallet_id AND kept.request_id = asked.request_id
        OFFSET 0
    ) AS o
) ON true
"""  # noqa: S608  # a constant

TRANSFER_COLUMNS: Final = (
    "id, from_wallet_id, to_wallet_id, amount_minor, currency, request_id, state,"
    " from_balance_minor, to_balance_minor, reason, reference, metadata, trace_id, audit_id, audit,"
    " reverses, quote_id, rate, to_currency, to_amount_minor, residue, fee_minor"
)

READ_TRANSFERS: Final = f"""
SELECT {TRANSFER_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS asked (sender, transfer)
CROSS JOIN LATERAL (
    SELECT * FROM transfers WHERE from_wallet_id = asked.sender AND id = asked.transfer OFFSET 0
) AS t
"""  # noqa: S608  # a constant

OPEN_WALLETS: Final = insert_many(
    models.wallets, OPENED_COLUMNS, tail=" ON CONFLICT DO NOTHING RETURNING id"
)

# The owner's key is held, so that an erasure comes before or after: an erased owner is not indexed.
INDEX_WALLETS: Final = """
INSERT INTO pii_index (wallet_id, key, digest, master_id)
SELECT given.wallet_id, given.key, given.digest, given.master_id
FROM (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[])
        AS named (wallet_id, owner_id, key, digest, master_id)
    ORDER BY owner_id
) AS given
CROSS JOIN LATERAL (
    SELECT FROM owner_keys AS k WHERE k.owner_id = given.owner_id AND k.erased_at IS NULL
    OFFSET 0 FOR SHARE
) AS living
"""

START_TRANSFERS: Final = insert_many(models.transfers, STARTED_COLUMNS)

FINISH_TRANSFERS: Final = """
UPDATE transfers AS t
SET state = done.state, from_balance_minor = done.from_balance_minor,
    to_balance_minor = done.to_balance_minor, reason = done.reason,
    audit = NULL, finished_at = $7
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
    AS done (from_wallet_id, id, state, from_balance_minor, to_balance_minor, reason)
WHERE t.from_wallet_id = done.from_wallet_id AND t.id = done.id
    AND t.from_wallet_id = ANY($1::text[]) AND t.id = ANY($2::uuid[])
"""


def _queue_for_seal() -> str:
    """Return what adds one row for all that a statement's part `api_audit_` has written."""
    waiting, written = models.unsealed_audit.name, f"{models.api_audit.name}_"
    return (
        f"INSERT INTO {waiting} (ids)"  # noqa: S608  # constants
        f" SELECT array_agg(id) FROM {written} HAVING count(*) > 0"
    )


_AUDITED: Final = _insert_records(models.api_audit, AUDIT_COLUMNS, 1, tail=_AUDITED_ONCE)
RECORD_AUDIT: Final = f"WITH api_audit_ AS ({_AUDITED}) {_queue_for_seal()}"

# What `RECORD` inserts, in the order of its parameters.
WRITTEN: Final = (
    (models.operations, OPERATION_COLUMNS, ""),
    (models.ledger_entries, ENTRY_COLUMNS, ""),
    (models.events, EVENT_COLUMNS, " RETURNING wallet_id, id"),
    (models.api_audit, AUDIT_COLUMNS, _AUDITED_ONCE),
)


def _record() -> str:
    """
    Return the one statement that moves the wallets and writes all that must be remembered.

    It takes the time, then records: of `MOVED_COLUMNS` in the order of their ids, and of each of
    `WRITTEN`. Returns how many wallets it has moved.
    """
    moved = f"""
        UPDATE wallets AS w SET balance_minor = after.balance_minor,
            held_minor = after.held_minor, version = after.version, head = after.head,
            updated_at = $1
        FROM {_given(models.wallets, 2)} AS after ({", ".join(MOVED_COLUMNS)})
        WHERE w.id = after.id
            AND w.id = ANY(ARRAY(SELECT id FROM {_given(models.wallets, 2)}))
        RETURNING 1
    """  # noqa: S608  # constants
    parts = [f"moved AS ({moved})"]
    for number, (table, columns, tail) in enumerate(WRITTEN, 3):
        now = 1 if "occurred_at" in table.c else None
        insert = _insert_records(table, columns, number, now=now, tail=tail)
        parts.append(f"{table.name}_ AS ({insert})")
    # Every event waits for the relay, in the order in which it was written.
    waiting = "INSERT INTO outbox (wallet_id, event_id) SELECT wallet_id, id FROM events_"
    parts.append(f"outbox_ AS ({waiting})")
    parts.append(f"unsealed_ AS ({_queue_for_seal()})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM moved"  # noqa: S608  # constants


RECORD: Final = _record()
