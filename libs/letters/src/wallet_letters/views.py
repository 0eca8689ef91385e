"""This module is where letters get the JSON shapes in which an operator sees them."""

import base64
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_common.fraud import FraudRules
from wallet_common.money import render
from wallet_db_orm import queries
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.preview import Preview, Projection, preview
from wallet_letters.letters import Held, Letter


class ListedLetter(msgspec.Struct, rename="camel", kw_only=True):
    """A letter in a list; `size` is that of its body, in bytes."""

    id: str
    queue: str
    routing_key: str
    group: str
    error: str
    error_class: str
    attempts: int
    replays: int
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    size: int


class LetterGroup(msgspec.Struct, rename="camel", kw_only=True):
    """Letters that died of the same error: since when, and the latest."""

    group: str
    count: int
    oldest: datetime | None
    newest: datetime | None


class LetterList(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Letters, oldest first; `beyond` is there when so many more rest behind them."""

    items: list[ListedLetter]
    groups: list[LetterGroup]
    beyond: int = 0


class WalletNow(msgspec.Struct, rename="camel", kw_only=True):
    wallet_id: str
    currency: str
    balance: str
    held: str
    available: str
    status: str
    version: int


class Foretold(msgspec.Struct, rename="camel", kw_only=True):
    """The wallet's projection now and after a replay; `reason` tells why nothing would change."""

    before: Projection | None
    after: Projection | None
    reason: str | None


class ShownLetter(ListedLetter, rename="camel", kw_only=True):
    """A letter whole; `payload` is its body if that is JSON."""

    headers: dict[str, Any]
    payload: msgspec.Raw
    body_base64: str
    wallet_id: str | None
    wallet: WalletNow | None
    projection: Foretold


def listed(held: Held, items_max: int | None = None) -> LetterList:
    """Return the letters, the oldest `items_max` of them; groups count all that are held."""
    groups: dict[str, list[Letter]] = defaultdict(list)
    for letter in held.letters:
        groups[letter.group].append(letter)
    shown = held.letters[:items_max]
    return LetterList(
        items=[ListedLetter(**_members(letter)) for letter in shown],
        groups=[_group(name, members) for name, members in groups.items()],
        beyond=held.beyond + len(held.letters) - len(shown),
    )


async def shown(database: Database, letter: Letter, queue: str, rules: FraudRules) -> ShownLetter:
    """
    Return a letter with its wallet, and with what a replay would make of the projection.

    `queue` is the worker's own, where our events come from. A database that is away is told in
    the projection's reason; the letter is shown all the same.
    """
    payload = _json(letter.body)
    found = payload.get("walletId") if isinstance(payload, dict) else None
    wallet_id = found if isinstance(found, str) else None
    wallet = None
    try:
        told = await _foretold(database, letter, queue, rules)
        if wallet_id is not None and wallet_id.isascii() and wallet_id.isprintable():
            wallet = await _wallet(database, wallet_id)
    except Exception as error:
        if trouble(error) is Trouble.OTHER:
            raise
        told = Preview(None, None, "the database does not answer")
    return ShownLetter(
        **_members(letter),
        headers=dict(letter.headers),
        payload=msgspec.Raw(b"null" if payload is None else letter.body),
        body_base64=base64.b64encode(letter.body).decode(),
        wallet_id=wallet_id,
        wallet=wallet,
        projection=Foretold(before=told.before, after=told.after, reason=told.reason),
    )


async def _foretold(database: Database, letter: Letter, queue: str, rules: FraudRules) -> Preview:
    if letter.queue != queue:
        return Preview(None, None, f"it is no event of ours: it came to {letter.queue}")
    try:
        event = decode(letter.body)
    except Poison as poison:
        return Preview(None, None, f"it is no event of ours: {poison}")
    return await preview(database.primary, event, rules)


async def _wallet(database: Database, wallet_id: str) -> WalletNow | None:
    row = await queries.wallet(database.fresh, wallet_id)
    if row is None:
        return None
    return WalletNow(
        wallet_id=row.id,
        currency=row.currency,
        balance=render(row.balance_minor, row.currency),
        held=render(row.held_minor, row.currency),
        available=render(row.balance_minor - row.held_minor, row.currency),
        status=row.status,
        version=row.version,
    )


def _members(letter: Letter) -> dict[str, Any]:
    members = {name: getattr(letter, name, None) for name in ListedLetter.__struct_fields__}
    return members | {"size": len(letter.body)}


def _group(name: str, members: Sequence[Letter]) -> LetterGroup:
    first = [each.first_failed_at for each in members if each.first_failed_at]
    last = [each.last_failed_at for each in members if each.last_failed_at]
    return LetterGroup(
        group=name,
        count=len(members),
        oldest=min(first, default=None),
        newest=max(last, default=None),
    )


def _json(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
