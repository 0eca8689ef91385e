"""
This module is where many commands become one transaction: lock, look, decide, record.

The pure `decide` folds the commands in arrival order; everything is written set-wise.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from wallet_common import commands as ask
from wallet_common.errors import Busy, IdempotencyKeyReused, InvariantViolated
from wallet_common.transfer import Transfer, TransferState as State
from wallet_common.transfer_steps import credit_of, end_of
from wallet_common.wallet import Rejected
from wallet_db_orm import rare, statements as sql
from wallet_db_orm.batch import Batch
from wallet_db_orm.batch_keys import BatchKey, keep
from wallet_db_orm.database import Driver, Lease
from wallet_db_orm.ids import new_id
from wallet_db_orm.known import Known
from wallet_db_orm.orders import Applied, Order, Recorded, goes_back_to, is_there
from wallet_db_orm.rows import fees_of, operation_of, stored_transfer_of, wallet_of

# Creating a wallet that somebody else is creating right now starts the transaction over.
_RACES_MAX: Final = 5


async def apply(
    lease: Lease,
    orders: Sequence[Order],
    *,
    waits: bool = True,
    aside: Collection[str] = (),
) -> list[Applied | None]:
    """
    Carry out `orders` in one transaction and return what came of each, in order.

    Locks every order's wallet. Unless it `waits`, an order whose wallet somebody else holds, or
    that is `aside`, is left undone: None. Raising means that nothing happened, unless the
    connection was lost during COMMIT: then asking again with the same orders tells what happened.
    """
    for _ in range(_RACES_MAX):
        with suppress(_Raced):
            async with lease.driver() as connection, connection.transaction():
                batch = await _read(connection, orders, waits=waits, aside=aside)
                applied = [None if batch.waits(order) else batch.fold(order) for order in orders]
                await _write(connection, batch)
            return applied
    message = "others keep creating the same wallets"
    raise Busy(message)


class Whole(msgspec.Struct, frozen=True):
    """
    What came of each of many orders; unless all are done, nothing of any has happened.

    `known` is what is so now, or would be.
    """

    applied: Sequence[Applied]
    is_done: bool
    known: Known


async def apply_whole(
    lease: Lease,
    orders: Sequence[Order],
    *,
    keeps: Callable[[Sequence[Applied]], bool],
    row: sql.Record | None = None,
    key: BatchKey | None = None,
    earlier: Known | None = None,
) -> Whole:
    """
    Carry out all `orders` in one transaction, one after the other, transfers to their end.

    `keeps` says, of what came of them, whether that is written; otherwise nothing has happened. A
    rehearsal may go on from what an `earlier` one would have left. Locks every wallet of theirs,
    recipients too, in the order of ids. `row` is the audit row of the request, and `key` the
    batch's own; both are written with the orders, and without them they are not. Raises as `apply`
    does, and IdempotencyKeyReused if the key means something else.
    """
    recipients = {to for order in orders if (to := ask.pays_to(order.command)) is not None}
    for _ in range(_RACES_MAX):
        with suppress(_Raced):
            async with lease.driver() as connection, connection.transaction():
                batch = await _read(connection, orders, waits=True, aside=(), also=recipients)
                if earlier is not None:
                    batch.go_on_from(earlier)
                applied = [_fold_whole(batch, order) for order in orders]
                if not keeps(applied):
                    # Nothing was written yet, so that nothing has to be taken back.
                    return Whole(applied, is_done=False, known=batch)
                if key is not None:
                    await keep(connection, key)
                if row is not None:
                    batch.rows["api_audit"].append(row)
                await _write(connection, batch)
            return Whole(applied, is_done=True, known=batch)
    message = "others keep creating the same wallets"
    raise Busy(message)


def is_refused(applied: Applied) -> bool:
    """Whether an order has come to nothing, now or when it was asked first."""
    if isinstance(applied, Recorded):
        has_failed = applied.transfer is not None and applied.transfer.state is State.FAILED
        return has_failed or isinstance(applied.operation.outcome, Rejected)
    return isinstance(applied, (Rejected, IdempotencyKeyReused))


def _fold_whole(batch: Batch, order: Order) -> Applied:
    """Decide an order, and take a transfer that it starts to its end."""
    applied = batch.fold(order)
    if not isinstance(applied, Recorded):
        return applied
    if applied.transfer is None:
        # One that is repeated here may have its transfer here as well, and nowhere else.
        own = batch.transfers.get(applied.operation.operation_id)
        return applied if own is None else replace(applied, transfer=own.transfer)
    begun = applied.transfer
    credited = batch.fold(Order(credit_of(begun, new_id()), order.trace_id, order.audit_id))
    if isinstance(credited, Rejected):
        # The wallet that a reversal goes back to is full: the real one would have to wait.
        return credited
    assert isinstance(credited, Recorded), "a new transfer's credit is decided once"
    step = end_of(begun, credited.operation.outcome, new_id())
    ended = batch.fold(Order(step, order.trace_id, order.audit_id))
    assert isinstance(ended, Transfer), "its own debit is in this transaction, and leaves room"
    return replace(applied, transfer=ended)


class _Raced(Exception):
    """Somebody else created a wallet after we looked; now it is there to be locked."""


async def _read(
    connection: Driver,
    orders: Sequence[Order],
    *,
    waits: bool,
    aside: Collection[str],
    also: Collection[str] = (),
) -> Batch:
    """Lock the wallets, then look: what comes after the locks sees what they waited for."""
    commands = [order.command for order in orders]
    wanted = {command.wallet_id for command in commands}
    if waits and any(order.owner_id is not None for order in orders):
        # Nobody waits for a lock on a stranger's wallet, nor takes one; an owner never changes.
        rows = await connection.fetch(sql.READ_WALLETS, list(wanted))
        seen = {row.id: wallet_of(row) for row in rows}
        wanted = {
            order.command.wallet_id
            for order in orders
            if is_there(seen.get(order.command.wallet_id), order)
        }
    # Most commands need no more than their own wallet. Of the others each is looked at many times.
    special = [c for c in commands if not isinstance(c, (ask.Deposit, ask.Withdraw))]
    # What goes back must not meet a closing: either sees the other's COMMIT.
    wanted |= {to for c in special if (to := goes_back_to(c)) is not None}
    lock = sql.LOCK_WALLETS if waits else sql.LOCK_FREE_WALLETS
    rows = await connection.fetch(lock, list(wanted.union(also).difference(aside)))
    locked = {row[0]: wallet_of(row) for row in rows}
    heads = {row[0]: row[-1] for row in rows}
    keys = {(c.wallet_id, key) for c in commands if (key := ask.key(c)) is not None}
    found = await connection.fetch(
        sql.LOOK_UP, *sql.transpose(list(keys), ("wallet_id", "request_id"))
    )
    batch = Batch(now=found[0].now)
    batch.fees = fees_of(found[0].fees)
    batch.wallets, batch.heads = locked, heads
    # A stranger's wallet takes the same statements as one that is not there.
    strange = {
        order.command.wallet_id
        for order in orders
        if (wallet := locked.get(order.command.wallet_id)) and not is_there(wallet, order)
    }
    if not waits and (missing := (wanted - locked.keys()) | strange):
        rows = await connection.fetch(sql.READ_WALLETS, list(missing))
        batch.held = {row.id: wallet_of(row) for row in rows if row.id not in strange}
    batch.operations = {
        (row.wallet_id, row.request_id): operation_of(row) for row in found if row.wallet_id
    }
    await rare.read(connection, batch, special)
    await _read_others(connection, batch, special)
    return batch


async def _read_others(connection: Driver, batch: Batch, commands: Sequence[ask.Command]) -> None:
    """Read what a command needs beside its own wallet: recipients, siblings, a step's transfer."""
    if recipients := [to for c in commands if (to := ask.pays_to(c)) is not None]:
        rows = await connection.fetch(sql.READ_WALLETS, recipients)
        batch.recipients = {row.id: wallet_of(row) for row in rows}
    if owned := [(c.owner_id, c.currency) for c in commands if isinstance(c, ask.OpenWallet)]:
        rows = await connection.fetch(
            sql.READ_SIBLINGS, *sql.transpose(owned, ("owner_id", "currency"))
        )
        batch.siblings = {(row.owner_id, row.currency): wallet_of(row) for row in rows}
    steps = [c for c in commands if isinstance(c, (ask.CompleteTransfer, ask.RefundTransfer))]
    if steps:
        rows = await connection.fetch(
            sql.READ_TRANSFERS, [c.wallet_id for c in steps], [c.transfer_id for c in steps]
        )
        batch.transfers = {str(row.id): stored_transfer_of(row) for row in rows}


async def _write(connection: Driver, batch: Batch) -> None:
    """Write what the batch noted; raises _Raced when a wallet to open is there by now."""
    if batch.opened:
        opened = [
            (wallet.id, wallet.owner_id, wallet.currency, wallet.balance_minor, wallet.held_minor)
            + (wallet.status, wallet.version, metadata, batch.now, batch.now)
            + (batch.head(wallet_id),)
            for wallet_id, metadata in sorted(batch.opened.items())
            for wallet in [batch.wallets[wallet_id]]
        ]
        written = await connection.fetch(
            sql.OPEN_WALLETS, *sql.transpose(opened, sql.OPENED_COLUMNS)
        )
        if len(written) != len(opened):
            raise _Raced
    if indexed := batch.rows["pii_index"]:
        await connection.execute(sql.INDEX_WALLETS, *sql.transpose(indexed, sql.INDEXED_COLUMNS))
    if started := batch.rows["transfers"]:
        columns = sql.transpose(started, sql.STARTED_COLUMNS)
        await connection.execute(sql.START_TRANSFERS, *columns)
    if finished := batch.rows["finished"]:
        columns = sql.transpose(finished, sql.FINISHED_COLUMNS)
        await connection.execute(sql.FINISH_TRANSFERS, *columns, batch.now)
    await rare.write(connection, batch)
    moved = [
        (wallet.id, wallet.balance_minor, wallet.held_minor, wallet.version)
        + (batch.head(wallet.id),)
        for wallet in map(batch.wallets.__getitem__, sorted(batch.moved))
    ]
    # Neighbours of the indexes are written together; of one wallet the order stays.
    written = [sorted(batch.rows[table.name], key=itemgetter(0)) for table, _, _ in sql.WRITTEN]
    if await connection.fetchval(sql.RECORD, batch.now, moved, *written) != len(moved):
        message = "a wallet changed under its lock"
        raise InvariantViolated(message)
