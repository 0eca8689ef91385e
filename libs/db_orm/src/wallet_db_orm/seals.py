"""
This module is where audit rows are sealed: in the order in which their transactions were seen.

Whoever writes audit rows leaves a row in `unsealed_audit`; the one sealer turns such rows into a
seal, which has a digest of each audit row and continues the seal before. See docs/adr/0021.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common import chain
from wallet_db_orm.database import transaction
from wallet_db_orm.invariants_of_chains import NO_HASH, digest_of

# Transactions whose audit rows one seal covers, and so its size.
TAKEN_MAX: Final = 100
_LOCK: Final = 7_302_118_005


async def seal(engine: AsyncEngine) -> int:
    """
    Seal the oldest audit rows that have none; return of how many transactions.

    One seals at a time: 0 too, if somebody else is sealing. A row that is not there any more is
    sealed as missing.
    """
    async with transaction(engine) as driver:
        if not await driver.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
            return 0
        taken = await driver.fetch(_TAKE, TAKEN_MAX)
        if not taken:
            return 0
        ids = [str(each) for row in sorted(taken, key=lambda row: row.position) for each in row.ids]
        digests: bytes = await driver.fetchval(_DIGESTS, ids)
        last = await driver.fetchrow(_LAST)
        at = await driver.fetchval("SELECT clock_timestamp()")
        number, before = (last.seal + 1, last.hash) if last else (1, chain.NO_HASH)
        sealed = chain.seal(before, number, at, ids, digests)
        await driver.execute(_APPEND, number, ids, digests, at, sealed)
    return len(taken)


_TAKE: Final = """
DELETE FROM unsealed_audit WHERE position = ANY(ARRAY(
    SELECT position FROM unsealed_audit ORDER BY position LIMIT $1
)) RETURNING position, ids
"""

_DIGESTS: Final = f"""
SELECT string_agg(coalesce(a.digest, {NO_HASH}), '' ORDER BY given.nth)
FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, nth)
LEFT JOIN LATERAL (
    SELECT {digest_of(chain.AUDIT)} AS digest FROM api_audit WHERE id = given.id OFFSET 0
) AS a ON true
"""  # noqa: S608  # constants

_LAST: Final = "SELECT seal, hash FROM audit_seals ORDER BY seal DESC LIMIT 1"

_APPEND: Final = """
INSERT INTO audit_seals (seal, ids, digests, sealed_at, hash)
VALUES ($1, $2::uuid[], $3, $4, $5)
"""
