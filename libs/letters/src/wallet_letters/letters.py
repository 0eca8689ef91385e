"""
This module is where it is said what a letter is, what it is called, and where letters may rest.

There are two boxes behind one port: the broker's dead letter queue, and the table without one.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from wallet_common import topology as names
from wallet_common.errors import WalletError
from wallet_db_orm.database import Database
from wallet_db_orm.discarded import Discarded

# A name that is a path segment and an argument as it stands.
_TOKEN: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z")
# What differs between letters that died of the same: ids, numbers, quoted values.
_VARIABLE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+|'[^']*'")
_ERROR_MAX: Final = 1_000
_WORDS_MAX: Final = 1_000
# What deaths and replays leave on a message; the broker's own notes are told by `death`.
_TRACES: Final = frozenset(
    {
        *(names.ATTEMPTS_HEADER, names.ERROR_HEADER, names.ERROR_CLASS_HEADER),
        *(names.FIRST_FAILED_HEADER, names.LAST_FAILED_HEADER),
        *(names.ORIGIN_QUEUE_HEADER, names.ROUTING_KEY_HEADER, names.REPLAYS_HEADER),
    }
)


class LettersAway(WalletError):
    """The letters cannot be reached, or not for now; the message says why and what to do."""


class LettersHeld(LettersAway):
    """Another operator has them in hand."""

    def __init__(self) -> None:
        super().__init__("another operator has the letters in hand; try again in a moment")


class NoSuchLetter(WalletError):
    """No letter, or more than one, is called so; the message says which."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """
    A message at rest: `body` is byte-equal to what was delivered, `headers` are JSON values.

    `id` is unique among the letters held together. `name` also stays what it is when others come
    and go; both are good to ask by. `group` is shared by letters that died of the same error.
    """

    id: str
    name: str
    queue: str
    routing_key: str
    group: str
    error: str
    error_class: str
    attempts: int
    replays: int
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    headers: Mapping[str, Any]
    body: bytes


class Held(Protocol):
    """Letters in hand, oldest first; nobody else has them meanwhile."""

    letters: Sequence[Letter]
    # So many more rest behind those.
    beyond: int

    async def put_back(self, letters: Sequence[Letter]) -> Mapping[str, str]:
        """
        Put letters back to where they came from, in order; each is gone once that is certain.

        Returns, by name, why letters could not be put back; these stay. Raises LettersAway.
        """

    async def discard(self, letter: Letter, kept: Discarded, archive: Database) -> None:
        """
        Take the letter out for good, once the archive has it as `kept`.

        Raises LettersAway; and NoSuchLetter, with nothing archived, if somebody else took it.
        """


class LetterBox(Protocol):
    """Where letters rest."""

    def opened(self) -> AbstractAsyncContextManager[Held]:
        """
        Hold the letters for the length of a block; those that nobody took are back at its end.

        Looking changes none of them, and not their order, also if the looker dies meanwhile.
        Raises LettersAway.
        """


class Bounds(msgspec.Struct, frozen=True):
    """How much is kept in memory at once: the oldest so many letters, of so many bytes in all."""

    letters: int = 65_535
    size: int = 256 * 1024 * 1024


def called(letters: Sequence[Letter], wanted: str) -> Letter:
    """Return the letter of that id or name; raises NoSuchLetter."""
    for letter in letters:
        if wanted in {letter.id, letter.name}:
            return letter
    alike = [letter.id for letter in letters if letter.name.startswith(f"{wanted}~")]
    if alike:
        raise NoSuchLetter(f"several letters are called {wanted}: {', '.join(alike[:10])}")
    raise NoSuchLetter(f"no letter is called {wanted[:200]}")


def of_group(letters: Sequence[Letter], group: str) -> Sequence[Letter]:
    """Return the letters of the group, at least one; raises NoSuchLetter."""
    found = [each for each in letters if each.group == group]
    if not found:
        raise NoSuchLetter(f"no letter is of the group {group[:200]}")
    return found


def is_words(text: str) -> bool:
    """Say whether `text` is a few words on one line, with nothing that would steer a terminal."""
    return bool(text.strip()) and text.isprintable() and len(text) <= _WORDS_MAX


def named(letters: Sequence[Letter]) -> Sequence[Letter]:
    """
    Return the letters with their ids and names; until now `id` is the message id, or empty.

    A message id that is a plain token and nobody else's here is the id. Otherwise what the letter
    says tells it apart. Of letters that are equal in all, the newest has the plain name, so that
    the others keep theirs while the oldest are taken away first.
    """
    shared = Counter(letter.id for letter in letters)
    seen: Counter[str] = Counter()
    found = []
    for letter in reversed(letters):
        is_token = _TOKEN.match(letter.id) is not None
        name = f"{letter.id if is_token else 'letter'}~{_fingerprint(letter)}"
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name}.{seen[name]}"
        is_plain = is_token and shared[letter.id] == 1
        found.append(msgspec.structs.replace(letter, id=letter.id if is_plain else name, name=name))
    return found[::-1]


def group_of(error_class: str, error: str) -> str:
    """Return a short name for an error, the same whatever ids and values it mentions."""
    signature = f"{error_class}: {_VARIABLE.sub('#', error)}"
    return hashlib.blake2b(signature.encode(), digest_size=4).hexdigest()


def storable(text: object, length: int = _ERROR_MAX) -> str:
    """Return what a stranger wrote, as one line that a terminal can show and a column can keep."""
    plain = str(text)[:length]
    if plain.isprintable():
        return plain
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in plain)


def _fingerprint(letter: Letter) -> str:
    """Return what stays the same over a replay and another death."""
    own = {
        name: value
        for name, value in letter.headers.items()
        if name not in _TRACES and "death" not in name
    }
    parts = (letter.id, letter.queue, letter.routing_key, own)
    told = msgspec.json.encode(parts, order="sorted")
    return hashlib.blake2b(told + letter.body, digest_size=6).hexdigest()
