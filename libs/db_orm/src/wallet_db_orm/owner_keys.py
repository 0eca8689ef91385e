"""This module is where owners' data keys are kept, looked up, wrapped anew and destroyed."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import pii
from wallet_common.errors import Unreadable
from wallet_db_orm.database import transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.private_models import pii_index
from wallet_db_orm.queries import ask
from wallet_db_orm.statements import insert_many, transpose
from wallet_db_orm.vault import OwnerKey, Vault


class Erased(msgspec.Struct, frozen=True):
    """An owner whose personal data nobody can read any more; `is_new` if that was done just now."""

    owner_id: str
    erased_at: datetime
    is_new: bool


class Rotated(msgspec.Struct, frozen=True):
    """Some owners in the order of their ids: the last, how many moved, who cannot be moved."""

    after: str
    moved: int
    unreadable: tuple[str, ...]


class MasterUse(msgspec.Struct, frozen=True):
    """How many owners' keys a master key wraps, and how many values it indexes."""

    id: str
    owners: int
    indexed: int


async def obtain(engine: AsyncEngine, vault: Vault, owner_id: str) -> OwnerKey:
    """Return the owner's key, made at the first call; its `wrapped` is None after an erasure."""
    found = (await find(engine, [owner_id])).get(owner_id)
    if found is None:
        new = vault.new_key(owner_id, new_id())
        await ask(engine, _ADD, msgspec.structs.asdict(new))
        # Of two that made one at once, one is stored, and both use that.
        found = (await find(engine, [owner_id]))[owner_id]
    return found


async def find(engine: AsyncEngine, owner_ids: Collection[str]) -> Mapping[str, OwnerKey]:
    """Return the keys of those owners who have one, or had one."""
    rows = await ask(engine, _FIND, {"owner_ids": list(owner_ids)})
    keys = [OwnerKey(row.owner_id, row.key_id, row.master_id, row.wrapped) for row in rows]
    return {key.owner_id: key for key in keys}


async def erase(engine: AsyncEngine, owner_id: str) -> Erased | None:
    """
    Destroy the owner's data key, and what equality found the owner's values by.

    Returns None for an owner who never had a key. What was sealed stays where it is, as noise;
    no row of the books is touched. Locks the owner's key.
    """
    async with transaction(engine) as connection:
        at = await connection.fetchval(_ERASE, owner_id)
        await connection.execute(_UNINDEX, owner_id)
        if at is not None:
            return Erased(owner_id, at, is_new=True)
        earlier = await connection.fetchval(_ERASED, owner_id)
        return None if earlier is None else Erased(owner_id, earlier, is_new=False)


async def rotate(engine: AsyncEngine, vault: Vault, *, after: str, limit: int) -> Rotated | None:
    """
    Wrap and index anew, with the current master key, at most `limit` owners behind the id `after`.

    One transaction, and whatever it did stays done; None once there is nobody left.
    """
    async with transaction(engine) as connection:
        rows = await connection.fetch(_STALE, vault.current, after, limit)
        owned: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row in await connection.fetch(_WALLETS, [row.owner_id for row in rows]):
            owned[row.owner_id].append((row.id, row.metadata))
        keys, indexed, unreadable = [], [], []
        for key in (OwnerKey(*row) for row in rows):
            try:
                again, found = _moved(vault, key, owned[key.owner_id])
            except Unreadable:
                unreadable.append(key.owner_id)
                continue
            keys.append((again.owner_id, again.master_id, again.wrapped))
            indexed += found
        await connection.execute(_REWRAP, *transpose(keys, ("owner_id", "master_id", "wrapped")))
        await connection.execute(_REINDEX, *transpose(indexed, _INDEX_COLUMNS))
    return Rotated(rows[-1].owner_id, len(keys), tuple(unreadable)) if rows else None


async def masters(engine: AsyncEngine) -> tuple[list[MasterUse], int]:
    """Return what each master key is used for, and how many owners are erased."""
    rows = (await ask(engine, _MASTERS, {})).all()
    erased = (await ask(engine, _COUNT_ERASED, {})).scalar_one()
    return [MasterUse(row.master_id, row.owners, row.indexed) for row in rows], erased


def _moved(
    vault: Vault, key: OwnerKey, wallets: Sequence[tuple[str, str]]
) -> tuple[OwnerKey, list[tuple[object, ...]]]:
    """Return the key and its wallets' index rows under the current master key; or Unreadable."""
    indexed: list[tuple[object, ...]] = [
        (wallet_id, each.key, each.digest, each.master_id)
        for wallet_id, metadata in wallets
        for each in vault.index(key, wallet_id, metadata)
    ]
    return vault.rewrapped(key), indexed


_INDEX_COLUMNS: Final = ("wallet_id", "key", "digest", "master_id")

_KEY: Final = "owner_id, key_id::text, master_id, wrapped"

_FIND: Final = text(f"""
SELECT {_KEY} FROM owner_keys WHERE owner_id = ANY(CAST(:owner_ids AS text[]))
""")  # noqa: S608  # a constant

_ADD: Final = text("""
INSERT INTO owner_keys (owner_id, key_id, master_id, wrapped)
VALUES (:owner_id, CAST(CAST(:key_id AS text) AS uuid), :master_id, :wrapped)
ON CONFLICT DO NOTHING
""")

_ERASE: Final = """
UPDATE owner_keys SET wrapped = NULL, erased_at = clock_timestamp()
WHERE owner_id = $1 AND erased_at IS NULL RETURNING erased_at
"""

_ERASED: Final = "SELECT erased_at FROM owner_keys WHERE owner_id = $1"

_UNINDEX: Final = """
DELETE FROM pii_index WHERE wallet_id IN (SELECT id FROM wallets WHERE owner_id = $1)
"""

# OFFSET 0 keeps it one probe per owner, where a plan might read the whole index for each batch.
_STALE: Final = f"""
SELECT {_KEY} FROM owner_keys AS k
WHERE owner_id > $2 AND wrapped IS NOT NULL
    AND (master_id <> $1 OR EXISTS (
        SELECT FROM wallets AS w CROSS JOIN LATERAL (
            SELECT FROM pii_index WHERE wallet_id = w.id AND master_id <> $1 OFFSET 0
        ) AS stale
        WHERE w.owner_id = k.owner_id OFFSET 0
    ))
ORDER BY owner_id LIMIT $3 FOR NO KEY UPDATE
"""  # noqa: S608  # a constant

# Only what can hold anything sealed is read.
_WALLETS: Final = f"""
SELECT owner_id, id, metadata FROM wallets
WHERE owner_id = ANY($1::text[]) AND metadata::text LIKE '%"{pii.MARK}%'
"""  # noqa: S608  # a constant

_REWRAP: Final = """
UPDATE owner_keys AS k SET master_id = again.master_id, wrapped = again.wrapped
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS again (owner_id, master_id, wrapped)
WHERE k.owner_id = again.owner_id AND k.owner_id = ANY($1::text[])
"""

_REINDEX: Final = insert_many(
    pii_index,
    _INDEX_COLUMNS,
    tail=" ON CONFLICT (wallet_id, key)"
    " DO UPDATE SET digest = excluded.digest, master_id = excluded.master_id",
)

_MASTERS: Final = text("""
SELECT master_id, sum(owners)::bigint AS owners, sum(indexed)::bigint AS indexed
FROM (
    SELECT master_id, count(*) AS owners, 0 AS indexed FROM owner_keys
    WHERE wrapped IS NOT NULL GROUP BY master_id
    UNION ALL
    SELECT master_id, 0, count(*) FROM pii_index GROUP BY master_id
) AS used
GROUP BY master_id ORDER BY master_id
""")

_COUNT_ERASED: Final = text("SELECT count(*) FROM owner_keys WHERE erased_at IS NOT NULL")
