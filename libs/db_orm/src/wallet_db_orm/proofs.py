"""This module is where an entry's way to a signed checkpoint is read out of the books."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import chain
from wallet_common.merkle import Head, Tree, leaf
from wallet_common.proofs import Proof, ProvenEntry
from wallet_db_orm.checkpoints import heads
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.invariants_of_chains import digest_of
from wallet_db_orm.partitions import PATIENCE_S


class NoSuchEntry(Exception):
    """The wallet has no such entry."""


class NotCovered(Exception):
    """No checkpoint has been taken since the entry was written."""


async def prove(engine: AsyncEngine, wallet_id: str, entry: int | UUID) -> Proof:
    """
    Return the proof of an entry, named by its version or its operation, as the books have it.

    Raises NoSuchEntry or NotCovered. Whether the way is whole is for `proofs.check` to say.
    """
    async with transaction(engine) as driver:
        await driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await driver.execute("SET LOCAL statement_timeout = 0")
        column = "wallet_version" if isinstance(entry, int) else "operation_id"
        row = await driver.fetchrow(f"{_ENTRY} AND {column} = $2", wallet_id, entry)
        if row is None:
            raise NoSuchEntry
        covering = await driver.fetchrow(_COVERING, wallet_id, row.wallet_version)
        if covering is None:
            raise NotCovered
        head = Head(wallet_id, covering.version, covering.balance_minor, covering.head.hex())
        between = (wallet_id, row.wallet_version, covering.version)
        following = await driver.fetch(_FOLLOWING, *between, timeout=PATIENCE_S)
        before = await driver.fetchval(_BEFORE, wallet_id, row.wallet_version)
        return Proof(
            entry=_entry(row),
            before=(before or chain.NO_HASH).hex(),
            following=[each.digest.hex() for each in following],
            head=head,
            path=(await _tree(driver, covering.checkpoint, wallet_id)).path,
            checkpoint=covering.line,
        )


async def _tree(driver: Driver, checkpoint: int, wallet_id: str) -> Tree:
    tree = Tree()
    async for head, _ in heads(driver, checkpoint):
        tree.add(leaf(head), is_proven=head.wallet_id == wallet_id)
    tree.root()
    return tree


def _entry(row: Any) -> ProvenEntry:  # noqa: ANN401  # the driver's
    values: dict[str, Any] = {
        name: str(row[name]) if kind == "uuid" and row[name] is not None else row[name]
        for name, kind in chain.ENTRY.items()
    }
    return ProvenEntry(**values)


_ENTRY: Final = f"SELECT {', '.join(chain.ENTRY)} FROM ledger_entries WHERE wallet_id = $1"  # noqa: S608

_COVERING: Final = """
SELECT h.checkpoint, h.version, h.balance_minor, h.head, c.line
FROM checkpoint_heads AS h JOIN checkpoints AS c ON c.checkpoint = h.checkpoint
WHERE h.wallet_id = $1 AND h.version >= $2 ORDER BY h.checkpoint LIMIT 1
"""

_FOLLOWING: Final = f"""
SELECT {digest_of(chain.ENTRY)} AS digest FROM ledger_entries
WHERE wallet_id = $1 AND wallet_version > $2 AND wallet_version <= $3 ORDER BY wallet_version
"""  # noqa: S608  # constants

_BEFORE: Final = """
SELECT hash FROM ledger_entries
WHERE wallet_id = $1 AND wallet_version < $2 ORDER BY wallet_version DESC LIMIT 1
"""
