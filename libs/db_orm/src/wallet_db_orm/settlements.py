"""
This module is where other services' transactions are ordered: a row for each, by its own id.

The row is committed before any money moves, so of a completion and a failure that race the row
says who came first. How it ended is told once for each of the two, in the transaction that says so.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.json import encode
from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.messages import TransactionType
from wallet_common.settlements import Settlement, SettlementState, finalized
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.database import Driver, statement, transaction
from wallet_db_orm.ids import new_id
from wallet_db_orm.outbox import ANSWERS
from wallet_db_orm.statements import RECORD_AUDIT

# A message is answered with no status; its audit row says that it was taken in.
TAKEN_IN: Final = 200


async def wallet_of(engine: AsyncEngine, owner_id: str, currency: str) -> str | None:
    """Return the id of the owner's wallet in that currency."""
    async with statement(engine) as driver:
        found: str | None = await driver.fetchval(WALLET_OF, owner_id, currency)
    return found


async def find(engine: AsyncEngine, transaction_id: str) -> Settlement | None:
    """Return what is kept of a transaction."""
    async with statement(engine) as driver:
        row = await driver.fetchrow(FIND, transaction_id)
    return None if row is None else _settlement(row)


async def keep(engine: AsyncEngine, new: Settlement) -> Settlement:
    """Keep `new` if nothing is kept of its transaction yet; return what is, committed."""
    row = (
        *(new.transaction_id, new.type, new.user_id, new.recipient_id, new.wallet_id),
        *(new.to_wallet_id, new.amount_minor, new.currency, new.state, new.reason),
    )
    async with statement(engine) as driver:
        kept = await driver.fetchrow(KEEP, *row) or await driver.fetchrow(FIND, new.transaction_id)
    return _settlement(kept)


async def complete(
    engine: AsyncEngine,
    transaction_id: str,
    ended: SettlementState,
    reason: str | None,
    *,
    user_id: str,
    origin: AuditRecord,
) -> None:
    """
    Note how an accepted transaction `ended` and answer its completion, each once.

    One that has failed stays so, and that is the answer. Writes the message's audit row if no
    ledger transaction has done so.
    """
    async with transaction(engine) as driver:
        told = await driver.fetchrow(COMPLETE, transaction_id, ended, reason)
        await _answer(driver, told, user_id, origin)


async def fail(
    engine: AsyncEngine,
    transaction_id: str,
    reason: str,
    *,
    user_id: str | None,
    origin: AuditRecord,
) -> None:
    """Note that a transaction has no effect any more and answer its failure, each once."""
    async with transaction(engine) as driver:
        told = await driver.fetchrow(FAIL, transaction_id, reason)
        await _answer(driver, told, user_id, origin)


async def _answer(
    driver: Driver,
    told: Any,  # noqa: ANN401  # a row
    user_id: str | None,
    origin: AuditRecord,
) -> None:
    await driver.execute(RECORD_AUDIT, [origin.row(TAKEN_IN)])
    if told is None:
        return
    answer = encode(finalized(_settlement(told), user_id, told.at)).decode()
    await driver.execute(ANSWER, ANSWERS, new_id(), answer)


def _settlement(row: Any) -> Settlement:  # noqa: ANN401  # the driver's
    return Settlement(
        transaction_id=row.transaction_id,
        type=row.type and TransactionType(row.type),
        user_id=row.user_id,
        recipient_id=row.recipient_id,
        wallet_id=row.wallet_id,
        to_wallet_id=row.to_wallet_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        state=SettlementState(row.state),
        reason=row.reason,
    )


_COLUMNS: Final[Sequence[str]] = (
    *("transaction_id", "type", "user_id", "recipient_id", "wallet_id"),
    *("to_wallet_id", "amount_minor", "currency", "state", "reason"),
)
_NAMES: Final = ", ".join(_COLUMNS)

WALLET_OF: Final = "SELECT id FROM wallets WHERE owner_id = $1 AND currency = $2"

FIND: Final = f"SELECT {_NAMES} FROM settlements WHERE transaction_id = $1"  # noqa: S608  # constants

KEEP: Final = f"""
INSERT INTO settlements ({_NAMES}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING RETURNING {_NAMES}
"""  # noqa: S608  # as above

# Whoever updates second sees the first one's row: answered is answered, failed is failed.
COMPLETE: Final = f"""
UPDATE settlements SET completion_answered_at = clock_timestamp(),
    state = CASE state WHEN 'accepted' THEN $2::text ELSE state END,
    reason = CASE state WHEN 'accepted' THEN $3::text ELSE reason END
WHERE transaction_id = $1 AND completion_answered_at IS NULL
RETURNING {_NAMES}, completion_answered_at AS at
"""  # noqa: S608  # as above

FAIL: Final = f"""
UPDATE settlements SET failure_answered_at = clock_timestamp(),
    state = 'failed', reason = coalesce(reason, $2::text)
WHERE transaction_id = $1 AND failure_answered_at IS NULL
RETURNING {_NAMES}, failure_answered_at AS at
"""  # noqa: S608  # as above

ANSWER: Final = "INSERT INTO outbox (wallet_id, event_id, answer) VALUES ($1, $2, $3::json)"
