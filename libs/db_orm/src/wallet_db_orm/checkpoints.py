"""
This module is where a checkpoint of the books is taken: every wallet's head under one signed root.

A checkpoint keeps the heads of the wallets that have changed since the one before; what it says of
the others is what an earlier one keeps. See docs/adr/0021.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.checkpoints import (
    Checkpoint,
    Contradiction,
    Joint,
    Signer,
    Statement,
    Unreadable,
    line_hash,
    read,
    signed,
)
from wallet_common.merkle import Head, Tree, leaf
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.partitions import PATIENCE_S

_LOCK: Final = 7_302_118_004
# So many heads are in memory at a time; hashing them keeps nobody else waiting for long.
_AT_ONCE: Final = 1_000


async def take(engine: AsyncEngine, signer: Signer, *, every_s: float = 0) -> str | None:
    """
    Take a checkpoint and return its line, which is committed; None if nothing has changed.

    None too, if the last one is not yet `every_s` old by the database's clock.
    One at a time, whoever asks. Writers of the books do not notice. Raises Contradiction if the
    heads are not those that the last one signs: the next one would sign a forgery for good.
    Raises ValueError if the signer cannot sign.
    """
    async with transaction(engine) as driver:
        await driver.execute("SET LOCAL statement_timeout = 0")
        await driver.execute("SET LOCAL lock_timeout = 0")
        await driver.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=PATIENCE_S)
        before: str | None = await driver.fetchval(_NEWEST)
        last = _last(before) if before else None
        now = await driver.fetchval("SELECT clock_timestamp()")
        if last and (now - last.at).total_seconds() < every_s:
            return None
        if last and not await is_true(driver, last):
            raise Contradiction(f"the heads are not those that checkpoint {last.checkpoint} signs")
        number = last.checkpoint + 1 if last else 1
        changed = await driver.execute(_NOTE_HEADS, number, timeout=PATIENCE_S)
        seal = await driver.fetchrow(_NEWEST_SEAL)
        is_sealed_on = seal is not None and (last is None or seal.seal != last.seal)
        if changed == "INSERT 0 0" and not is_sealed_on:
            return None
        tree, kept = Tree(), Joint()
        async for head, kept_by in heads(driver, number):
            tree.add(added := leaf(head))
            if kept_by == number:
                kept.add(added)
        notes = await noted(driver)
        statement = Statement(
            checkpoint=number,
            at=now,
            root=tree.root().hex(),
            wallets=tree.count,
            seal=seal and seal.seal,
            seal_hash=seal and seal.hash.hex(),
            previous=line_hash(before) if before else None,
            algorithm=signer.algorithm,
            key=signer.name,
            heads=kept.digest(),
            archives=len(notes) - 1,
            archives_hash=notes[-1],
        )
        line = signed(statement, signer)
        await driver.execute("INSERT INTO checkpoints VALUES ($1, $2)", number, line)
    return line


def _last(line: str) -> Checkpoint:
    try:
        return read(line)
    except Unreadable as unreadable:
        message = f"the database's newest checkpoint is unreadable: {unreadable}"
        raise Contradiction(message) from None


async def lines_from(engine: AsyncEngine, number: int) -> Sequence[str]:
    """Return the lines of that checkpoint and of all after it."""
    async with transaction(engine) as driver:
        return await lines(driver, number)


async def lines(driver: Driver, number: int = 1) -> list[str]:
    """Return the same, inside a transaction of the caller's."""
    rows = await driver.fetch(_LINES, number, timeout=PATIENCE_S)
    return [row["line"] for row in rows]


async def heads(driver: Driver, checkpoint: int) -> AsyncIterator[tuple[Head, int]]:
    """
    Yield every wallet's head as that checkpoint found it, in the order of the tree's leaves.

    With each comes the checkpoint that keeps it: that one or, if it had not changed, an earlier.
    """
    cursor = driver.cursor(_HEADS, checkpoint, prefetch=_AT_ONCE, timeout=PATIENCE_S)
    async for wallet_id, version, balance_minor, head, kept_by in cursor:
        yield Head(wallet_id, version, balance_minor, head.hex()), kept_by


async def is_true(driver: Driver, checkpoint: Checkpoint) -> bool:
    """Whether the heads that are kept still have the root that it signs."""
    tree = Tree()
    async for head, _ in heads(driver, checkpoint.checkpoint):
        tree.add(leaf(head))
    return (tree.root().hex(), tree.count) == (checkpoint.root, checkpoint.wallets)


async def kept(driver: Driver) -> dict[int, str]:
    """Return the digest of the heads that each checkpoint keeps itself, if it keeps any."""
    digests: dict[int, Joint] = {}
    cursor = driver.cursor(_KEPT, prefetch=_AT_ONCE, timeout=PATIENCE_S)
    async for checkpoint, wallet_id, version, balance_minor, head in cursor:
        digest = digests.setdefault(checkpoint, Joint())
        digest.add(leaf(Head(wallet_id, version, balance_minor, head.hex())))
    return {checkpoint: digest.digest() for checkpoint, digest in digests.items()}


async def noted(driver: Driver) -> list[str]:
    """Return the digest of the first notes of archives: of none, of one … of all."""
    joint = Joint()
    digests = [joint.digest()]
    for row in await driver.fetch(_NOTES):
        joint.add(row["digest"])
        digests.append(joint.digest())
    return digests


_NEWEST: Final = "SELECT line FROM checkpoints ORDER BY checkpoint DESC LIMIT 1"
_NEWEST_SEAL: Final = "SELECT seal, hash FROM audit_seals ORDER BY seal DESC LIMIT 1"
_LINES: Final = "SELECT line FROM checkpoints WHERE checkpoint >= $1 ORDER BY checkpoint"

_NOTE_HEADS: Final = """
INSERT INTO checkpoint_heads (wallet_id, checkpoint, version, balance_minor, head)
SELECT w.id, $1, w.version, w.balance_minor, w.head
FROM wallets AS w
LEFT JOIN LATERAL (
    SELECT version, balance_minor, head FROM checkpoint_heads AS h
    WHERE h.wallet_id = w.id ORDER BY checkpoint DESC LIMIT 1
) AS last ON true
WHERE last.version IS NULL
    OR (last.version, last.balance_minor, last.head) <> (w.version, w.balance_minor, w.head)
"""

# By bytes, whatever the database's collation: an independent reader must find the same order.
_HEADS: Final = """
SELECT w.id, h.version, h.balance_minor, h.head, h.checkpoint
FROM (SELECT id FROM wallets ORDER BY id COLLATE "C") AS w
CROSS JOIN LATERAL (
    SELECT version, balance_minor, head, checkpoint FROM checkpoint_heads
    WHERE wallet_id = w.id AND checkpoint <= $1 ORDER BY checkpoint DESC LIMIT 1
) AS h
ORDER BY w.id COLLATE "C"
"""

_KEPT: Final = """
SELECT checkpoint, wallet_id, version, balance_minor, head
FROM checkpoint_heads ORDER BY wallet_id COLLATE "C"
"""

# In the order in which they were written, and no other (`archive.py`).
_NOTES: Final = """
SELECT sha256(
    record_send(ROW(name, from_id, to_id, rows, operations, sha256, archived_at))
) AS digest FROM archived_partitions ORDER BY archived_at, name
"""
