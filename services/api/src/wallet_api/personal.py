"""This module is where personal data is sealed on its way in and opened on its way out."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from wallet_api.answers import wallet_answer
from wallet_api.books import Books
from wallet_api.problems import Problem, invalid
from wallet_api.schemas import WalletAnswer
from wallet_common import pii
from wallet_common.commands import OpenWallet
from wallet_common.errors import Unreadable
from wallet_db_orm import owner_keys

_SEARCH: Final = 'must be a declared key, a colon and a value, such as "email:ada@example.org"'

log = structlog.get_logger("wallet_api")


async def sealed(books: Books, command: OpenWallet) -> OpenWallet:
    """
    Return the command with what its metadata holds of personal data encrypted.

    Raises a 400 for personal data without an owner, or anywhere but at the top; a 409 if the
    owner was erased; a 503 if the owner's key cannot be used.
    """
    declared = books.settings.pii_keys
    if command.metadata is None or not (declared or pii.has_sealed(command.metadata)):
        return command
    try:
        values = pii.members(command.metadata)
        private = declared & values.keys()
        found = sum(name in declared for name in pii.names(msgspec.json.decode(command.metadata)))
    except msgspec.DecodeError:
        raise invalid("metadata", "must be text that is UTF-8") from None
    if any(pii.is_sealed(value) for value in values.values()):
        raise invalid("metadata", f"no value may begin with {pii.MARK}")
    if found > len(private):
        raise _not_here("is personal data, which is kept only as a member of its own")
    if not private:
        return command
    if command.owner_id is None:
        problem = invalid("ownerId", "is needed for personal data in the metadata")
        problem.code = "owner_required_for_pii"
        raise problem
    try:
        key = await owner_keys.obtain(books.database.fresh, books.vault, command.owner_id)
        if key.wrapped is None:
            raise Problem(409, "owner_erased", "The owner's personal data was erased for good.")
        text, index = books.vault.seal(key, command.wallet_id, command.metadata, private)
    except Unreadable:
        raise _unreadable() from None
    return msgspec.structs.replace(command, metadata=text, index=index)


def keep_out(declared: frozenset[str], meaning: str | None) -> None:
    """
    Raise a 400 for personal data in the metadata of a movement: the ledger is for ever.

    `meaning` is the metadata in canonical form, in which a key has one spelling.
    """
    if declared and meaning and not declared.isdisjoint(pii.names(msgspec.json.decode(meaning))):
        raise _not_here("is personal data, which the ledger does not take: it never forgets")


async def answer(books: Books, row: Any) -> WalletAnswer:  # noqa: ANN401  # a row of queries.wallet
    """Return the answer about one wallet; a 503 if something sealed in it does not open."""
    [(told, unreadable)] = await _told(books, [row])
    if unreadable:
        raise _unreadable()
    return told


async def answers(books: Books, rows: Sequence[Any]) -> list[WalletAnswer]:
    """Return the answers about many; what does not open is marked, and keeps nobody from a page."""
    return [told for told, _ in await _told(books, rows)]


def digests(books: Books, search: str) -> tuple[str, list[bytes]]:
    """Read a search for a value, `key:value`, and return the key and what its index may hold."""
    key, colon, value = search.partition(":")
    if not colon or key not in books.settings.pii_keys:
        raise invalid("metadata", _SEARCH)
    return key, books.vault.digests(key, value)


async def _told(books: Books, rows: Sequence[Any]) -> list[tuple[WalletAnswer, tuple[str, ...]]]:
    owners = {row.owner_id for row in rows if pii.has_sealed(row.metadata)} - {None}
    # From the primary, each time anew: an owner who was erased is erased everywhere at once.
    keys = await owner_keys.find(books.database.fresh, owners) if owners else {}
    told: list[tuple[WalletAnswer, tuple[str, ...]]] = []
    for row in rows:
        if not pii.has_sealed(row.metadata):
            told.append((_plain(row, row.metadata), ()))
            continue
        shown = books.vault.reveal(keys.get(row.owner_id), row.id, row.metadata)
        if shown.unreadable:
            log.error("pii.unreadable", wallet_id=row.id, keys=shown.unreadable)
        told.append((_plain(row, shown.metadata), shown.unreadable))
    return told


def _plain(row: Any, metadata: str | None) -> WalletAnswer:  # noqa: ANN401  # of queries.wallet
    return wallet_answer(row, metadata, created_at=row.created_at, updated_at=row.updated_at)


def _not_here(message: str) -> Problem:
    problem = invalid("metadata", f"one of its keys {message}")
    problem.code = "pii_not_allowed_here"
    return problem


def _unreadable() -> Problem:
    detail = (
        "Personal data in the wallet's metadata does not open: it was changed, or its master key"
        " is not here. The wallet itself is not affected."
    )
    return Problem(503, "pii_unreadable", detail, headers={"Retry-After": "60"})
