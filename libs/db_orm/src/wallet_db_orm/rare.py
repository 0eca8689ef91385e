"""This module is where a batch reads and writes what few commands need, beside the usual."""

from collections.abc import Sequence
from typing import Final

from msgspec.json import encode

from wallet_common import commands as ask
from wallet_common.limits import NO_LIMITS
from wallet_db_orm import models
from wallet_db_orm.batch import Batch
from wallet_db_orm.database import Driver
from wallet_db_orm.rows import quote_of, stored_hold_of
from wallet_db_orm.spending import Timed, spending
from wallet_db_orm.statements import insert_many, transpose

PLACED_COLUMNS: Final = (
    *("wallet_id", "id", "currency", "amount_minor", "captured_minor", "released_minor"),
    *("expired_minor", "status", "expires_at", "request_id", "reference", "metadata"),
    *("trace_id", "placed_at"),
)
CHANGED_COLUMNS: Final = (
    *("wallet_id", "id", "captured_minor", "released_minor", "expired_minor", "status"),
)
STOOD_COLUMNS: Final = ("id", "status", "frozen", "floor_minor", "limits")
REVERSED_COLUMNS: Final = (
    *("wallet_id", "operation_id", "reversal_id", "amount_minor", "original_minor", "occurred_at"),
)


async def read(connection: Driver, batch: Batch, commands: Sequence[ask.Command]) -> None:
    """Read what few commands need: holds, what was spent or reversed, what is on its way."""
    await _read_holds(connection, batch, commands)
    # Also in the periods of limits that a wallet is about to have.
    timed: list[tuple[str, Timed]] = [
        (each.id, each.limits) for each in batch.wallets.values() if each.limits.velocity
    ]
    timed += [(c.wallet_id, c) for c in commands if isinstance(c, ask.SetLimits) and c.velocity]
    if timed:
        batch.spending = await spending(connection, timed, batch.now)
    if back := [(c.wallet_id, c.reverses) for c in commands if isinstance(c, ask.ReverseOperation)]:
        columns = transpose(back, ("wallet_id", "operation_id"))
        for row in await connection.fetch(READ_REVERSED, *columns):
            batch.reversed[row.wallet_id, str(row.operation_id)] = row.minor
    await _read_quotes(connection, batch, commands)
    if closing := [c.wallet_id for c in commands if isinstance(c, ask.CloseWallet)]:
        rows = await connection.fetch(READ_PAYING, closing)
        batch.paying = {row.id for row in rows}


async def _read_quotes(connection: Driver, batch: Batch, commands: Sequence[ask.Command]) -> None:
    """Lock the quotes that transfers of locked wallets are to use."""
    # After the wallets and in the order of ids, so that nobody waits for who waits for it.
    named = {
        c.quote_id
        for c in commands
        if isinstance(c, ask.DebitTransfer) and c.quote_id and c.wallet_id in batch.wallets
    }
    if named:
        rows = await connection.fetch(LOCK_QUOTES, list(named))
        batch.quotes = {str(row.id): quote_of(row) for row in rows}


async def _read_holds(connection: Driver, batch: Batch, commands: Sequence[ask.Command]) -> None:
    """Read the holds that commands name; let those expire whose time is over by now."""
    # Of locked wallets alone: what somebody else holds may be another a moment later.
    named = [
        (c.wallet_id, c.hold_id)
        for c in commands
        if isinstance(c, (ask.CaptureHold, ask.ReleaseHold)) and c.wallet_id in batch.wallets
    ]
    binding = [wallet.id for wallet in batch.wallets.values() if wallet.held_minor]
    if not named and not binding:
        return
    rows = await connection.fetch(
        READ_HOLDS, *transpose(named, ("wallet_id", "id")), binding, batch.now
    )
    batch.holds = {str(row.id): stored_hold_of(row) for row in rows}
    batch.let_expire()


async def write(connection: Driver, batch: Batch) -> None:
    """Write what few commands bring about: standing, reversals, holds."""
    if stood := [batch.wallets[wallet_id] for wallet_id in sorted(batch.stood)]:
        standing = [
            (wallet.id, wallet.status, wallet.frozen, wallet.floor_minor)
            + (None if wallet.limits == NO_LIMITS else encode(wallet.limits).decode(),)
            for wallet in stood
        ]
        columns = transpose(standing, STOOD_COLUMNS)
        await connection.execute(CHANGE_STANDING, *columns)
    if back := batch.rows["reversals"]:
        columns = transpose(back, REVERSED_COLUMNS)
        await connection.execute(ADD_REVERSALS, *columns)
    if used := batch.rows["fx_quotes"]:
        await connection.execute(USE_QUOTES, *transpose(used, ("id", "transfer_id")))
    if placed := batch.rows["holds"]:
        columns = transpose(placed, PLACED_COLUMNS)
        await connection.execute(PLACE_HOLDS, *columns)
    if changed := [batch.holds[hold_id].hold for hold_id in sorted(batch.changed_holds)]:
        after = [
            (hold.wallet_id, hold.id, hold.captured_minor, hold.released_minor)
            + (hold.expired_minor, hold.status)
            for hold in changed
        ]
        await connection.execute(CHANGE_HOLDS, *transpose(after, CHANGED_COLUMNS))


HOLD_COLUMNS: Final = (
    "id, wallet_id, currency, amount_minor, captured_minor, released_minor, expired_minor, status,"
    " expires_at, request_id, reference, metadata, trace_id, placed_at"
)

# The holds that are named, and of some wallets those whose time is over.
READ_HOLDS: Final = f"""
SELECT {HOLD_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS asked (wallet, hold)
CROSS JOIN LATERAL (
    SELECT * FROM holds WHERE wallet_id = asked.wallet AND id = asked.hold OFFSET 0
) AS h
UNION ALL
SELECT {HOLD_COLUMNS} FROM unnest($3::text[]) AS asked (wallet)
CROSS JOIN LATERAL (
    SELECT * FROM holds
    WHERE wallet_id = asked.wallet AND status = 'open' AND expires_at <= $4 OFFSET 0
) AS h
"""  # noqa: S608  # a constant

PLACE_HOLDS: Final = insert_many(models.holds, PLACED_COLUMNS)

CHANGE_HOLDS: Final = """
UPDATE holds AS h
SET captured_minor = after.captured_minor, released_minor = after.released_minor,
    expired_minor = after.expired_minor, status = after.status
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
    AS after (wallet_id, id, captured_minor, released_minor, expired_minor, status)
WHERE h.wallet_id = after.wallet_id AND h.id = after.id
    AND h.wallet_id = ANY($1::text[]) AND h.id = ANY($2::uuid[])
"""

# How wallets stand, in a transaction that moves them on as well.
CHANGE_STANDING: Final = """
UPDATE wallets AS w
SET status = after.status, frozen = after.frozen, floor_minor = after.floor_minor,
    limits = after.limits
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::json[])
    AS after (id, status, frozen, floor_minor, limits)
WHERE w.id = after.id AND w.id = ANY($1::text[])
"""

# Of these wallets, those of which a transfer is on its way. All that are on their way are looked
# through, along their own index: at any time there are few. One that goes back concerns the wallet
# that it goes to as well.
READ_PAYING: Final = """
SELECT DISTINCT leg.id FROM transfers AS t
CROSS JOIN LATERAL (VALUES
    (t.from_wallet_id), (CASE WHEN t.reverses IS NOT NULL THEN t.to_wallet_id END)
) AS leg (id)
WHERE t.state = 'debited' AND t.initiated_at > '-infinity' AND leg.id = ANY($1::text[])
"""

# How much of operations was taken back, under the lock of the wallet that gives it back.
READ_REVERSED: Final = """
SELECT asked.wallet_id, asked.operation_id, taken.minor
FROM unnest($1::text[], $2::uuid[]) AS asked (wallet_id, operation_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_minor), 0)::bigint AS minor FROM reversals AS r
    WHERE r.wallet_id = asked.wallet_id AND r.operation_id = asked.operation_id
) AS taken
"""

ADD_REVERSALS: Final = insert_many(models.reversals, REVERSED_COLUMNS)

# A quote is used once, by whichever wallet comes first.
LOCK_QUOTES: Final = """
SELECT * FROM fx_quotes WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

USE_QUOTES: Final = """
UPDATE fx_quotes AS q SET transfer_id = used.transfer_id
FROM unnest($1::uuid[], $2::uuid[]) AS used (id, transfer_id)
WHERE q.id = used.id AND q.id = ANY($1::uuid[])
"""
