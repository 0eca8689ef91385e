"""
This module is where personal data is sealed that was stored before its key was declared.

A wallet's metadata is in its own row and nowhere else: no hash, event or version is made of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import pii
from wallet_common.errors import Unreadable
from wallet_common.pii import Indexed
from wallet_db_orm.database import Driver, transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.private_models import owner_keys, pii_index
from wallet_db_orm.statements import insert_many, transpose
from wallet_db_orm.vault import OwnerKey, Vault


class LateSeals(msgspec.Struct, frozen=True):
    """
    What became of some wallets, in the order of their ids, of which `after` is the last.

    `sealed` had something plain that is sealed now; of an erased owner it is `erased` instead,
    for nobody to read. What is `left` holds personal data that could not be sealed.
    """

    after: str
    sealed: tuple[str, ...]
    erased: tuple[str, ...]
    left: tuple[str, ...]


class _Plain(msgspec.Struct, frozen=True):
    """A wallet's metadata with plain values under declared keys: at the top, and `deeper`."""

    wallet_id: str
    owner_id: str | None
    metadata: str
    names: frozenset[str]
    deeper: bool


class _Again(msgspec.Struct, frozen=True):
    """The same metadata sealed, and what finds it; nothing does if its owner `is_erased`."""

    plain: _Plain
    metadata: str
    index: tuple[Indexed, ...]
    is_erased: bool


async def may_seal(engine: AsyncEngine) -> bool:
    """Whether this role may change what was stored; of ours, only the owner of the tables may."""
    async with transaction(engine) as connection:
        return bool(await connection.fetchval(_MAY_SEAL))


async def seal(
    engine: AsyncEngine, vault: Vault, declared: frozenset[str], *, after: str, limit: int
) -> LateSeals | None:
    """
    Seal what at most `limit` wallets behind the id `after` have in plain text of declared keys.

    One transaction, and whatever it did stays done; None once there is no wallet left. Owners'
    keys are locked before wallets, as an erasure does; these as payments do, and briefly.
    """
    async with transaction(engine) as connection:
        rows = await connection.fetch(_READ, after, limit)
        if not rows:
            return None
        found, unread = _plain(rows, declared)
        owners = {each.owner_id for each in found if each.names and each.owner_id is not None}
        keys = await _keys(connection, vault, sorted(owners))
        again, unsealed = _sealed(vault, keys, found)
        ids = [each.plain.wallet_id for each in again]
        await connection.execute(_LOCK, ids)
        befores = [each.plain.metadata for each in again]
        written = {
            row.id
            for row in await connection.fetch(
                _WRITE, ids, befores, [each.metadata for each in again]
            )
        }
        # What somebody else has sealed meanwhile has its index.
        done = [each for each in again if each.plain.wallet_id in written]
        indexed = [
            (each.plain.wallet_id, one.key, one.digest, one.master_id)
            for each in done
            for one in each.index
        ]
        await connection.execute(_INDEX, *transpose(indexed, _INDEXED))
    deeper = [each.wallet_id for each in found if each.deeper]
    return LateSeals(
        rows[-1].id,
        tuple(each.plain.wallet_id for each in done if not each.is_erased),
        tuple(each.plain.wallet_id for each in done if each.is_erased),
        tuple(sorted({*unread, *unsealed, *deeper})),
    )


def _plain(
    rows: Sequence[Mapping[str, str]], declared: frozenset[str]
) -> tuple[list[_Plain], list[str]]:
    """Return what is plain, and the wallets whose metadata cannot be read."""
    found, unread = [], []
    for row in rows:
        wallet_id, owner_id, metadata = row["id"], row["owner_id"], row["metadata"]
        if metadata is None:
            continue
        try:
            values = pii.members(metadata)
            names = frozenset(
                name for name in declared & values.keys() if not pii.is_sealed(values[name])
            )
            others = [msgspec.json.decode(values[name]) for name in values.keys() - declared]
        except msgspec.DecodeError:
            unread.append(wallet_id)
            continue
        deeper = not declared.isdisjoint(pii.names(others))
        if names or deeper:
            found.append(_Plain(wallet_id, owner_id, metadata, names, deeper))
    return found, unread


async def _keys(connection: Driver, vault: Vault, wanted: Sequence[str]) -> Mapping[str, OwnerKey]:
    """Return the owners' keys, made where there is none, locked against an erasure."""
    there = {row.owner_id for row in await connection.fetch(_THERE, wanted)}
    new = [vault.new_key(owner_id, new_id()) for owner_id in wanted if owner_id not in there]
    rows = [(key.owner_id, key.key_id, key.master_id, key.wrapped) for key in new]
    await connection.execute(_ADD, *transpose(rows, _KEY))
    keys = [OwnerKey(*row) for row in await connection.fetch(_KEYS, wanted)]
    return {key.owner_id: key for key in keys}


def _sealed(
    vault: Vault, keys: Mapping[str, OwnerKey], found: Iterable[_Plain]
) -> tuple[list[_Again], list[str]]:
    """Return what was sealed, and the wallets where nothing can be: no owner, no usable key."""
    again, unsealed = [], []
    for plain in found:
        if not plain.names:
            continue
        key = keys.get(plain.owner_id or "")
        if key is None:
            unsealed.append(plain.wallet_id)
            continue
        is_erased = key.wrapped is None
        # With a key that nobody keeps it is noise, as all that was the owner's is.
        usable = vault.new_key(key.owner_id, key.key_id) if is_erased else key
        try:
            text, index = vault.seal(usable, plain.wallet_id, plain.metadata, plain.names)
        except Unreadable:
            unsealed.append(plain.wallet_id)
            continue
        again.append(_Again(plain, text, () if is_erased else index, is_erased))
    return again, unsealed


_INDEXED: Final = ("wallet_id", "key", "digest", "master_id")

_KEY: Final = ("owner_id", "key_id", "master_id", "wrapped")

_MAY_SEAL: Final = "SELECT has_column_privilege('wallets', 'metadata', 'UPDATE')"

_READ: Final = "SELECT id, owner_id, metadata FROM wallets WHERE id > $1 ORDER BY id LIMIT $2"

_THERE: Final = "SELECT owner_id FROM owner_keys WHERE owner_id = ANY($1::text[])"

_ADD: Final = insert_many(owner_keys, _KEY, tail=" ON CONFLICT DO NOTHING")

_KEYS: Final = """
SELECT owner_id, key_id::text, master_id, wrapped FROM owner_keys
WHERE owner_id = ANY($1::text[]) ORDER BY owner_id FOR SHARE
"""

_LOCK: Final = """
SELECT FROM wallets WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
"""

_WRITE: Final = """
UPDATE wallets AS w SET metadata = again.metadata::json
FROM unnest($1::text[], $2::text[], $3::text[]) AS again (id, before, metadata)
WHERE w.id = again.id AND w.id = ANY($1::text[]) AND w.metadata::text = again.before
RETURNING w.id
"""

_INDEX: Final = insert_many(
    pii_index,
    _INDEXED,
    tail=" ON CONFLICT (wallet_id, key)"
    " DO UPDATE SET digest = excluded.digest, master_id = excluded.master_id",
)
