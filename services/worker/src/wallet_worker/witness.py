"""
This module is where a checkpoint leaves the database: into the file outside, and to the webhook.

The database has it first; file and webhook are told what they lack, then and at the next one.
"""

from functools import partial
from pathlib import Path
from typing import Final

import httpx
import msgspec

from wallet_common.checkpoints import Checkpoint, Contradiction, insist_on_chain, read
from wallet_db_orm import checkpoints
from wallet_db_orm.database import Database
from wallet_db_orm.examination import Examination
from wallet_db_orm.examine_checkpoints import outside
from wallet_runtime.checkpoint_file import complete, lines_of
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_runtime.signing import Key

_POST_TIMEOUT_S: Final = 5.0
# So many lines are posted at a time; a receiver that was away long gets the rest the next time.
_POSTS_MAX: Final = 100


class Off(Exception):
    """Checkpoints are not taken; the message says which setting lacks."""


class Taken(msgspec.Struct, frozen=True):
    """What was done: the checkpoint, if one was taken, and how many lines the file got."""

    checkpoint: Checkpoint | None
    lines_written: int


class Witness:
    """Takes checkpoints of one database and tells those outside, as the settings say."""

    def __init__(self, database: Database, settings: CheckpointSettings) -> None:
        """Raise Off if there is nothing to sign with, or nobody to tell."""
        self._engine = database.primary
        self._key = _key(settings)
        self._file = settings.outside
        self._webhook = settings.checkpoint_webhook
        # The last checkpoint that the webhook took; what was before us is for the file to tell.
        self._posted: int | None = None

    async def checkpoint(self, *, every_s: float = 0) -> Taken:
        """
        Take a checkpoint if one is due and something has changed.

        Tells file and webhook in any case what they lack, and returns once they know. Raises
        Contradiction, and takes none, if the file is of another past or if the heads are not those
        that were signed; also if what file or webhook lacks was not signed by this key. Raises what
        the file system or httpx raises if one of them cannot be told; ValueError if the key cannot
        sign.
        """
        # First of all: books that the file contradicts are not signed.
        written = await self._complete()
        line = await checkpoints.take(self._engine, self._key, every_s=every_s)
        if line is not None:
            written += await self._complete()
        if self._webhook:
            await self._post(line)
        return Taken(read(line) if line else None, written)

    async def _complete(self) -> int:
        if self._file is None:
            return 0
        return await complete(self._file, self._lines_from, self._key)

    async def _lines_from(self, number: int) -> list[str]:
        return list(await checkpoints.lines_from(self._engine, number))

    async def _post(self, line: str | None) -> None:
        if self._posted is None:
            if line is None:
                return
            self._posted = read(line).checkpoint - 1
        lines = await self._lines_from(max(self._posted, 1))
        if self._posted and not lines:
            raise Contradiction(f"checkpoint {self._posted} was posted: the database has less")
        before = lines.pop(0) if self._posted else None
        insist_on_chain(before, lines, self._key)
        async with httpx.AsyncClient(timeout=_POST_TIMEOUT_S) as client:
            for each in lines[:_POSTS_MAX]:
                answer = await client.post(
                    self._webhook,
                    content=f"{each}\n".encode(),
                    headers={"content-type": "application/json"},
                )
                answer.raise_for_status()
                self._posted = read(each).checkpoint


def comparison(file: Path | None, key: Key | None) -> list[Examination]:
    """
    Return the check of the books against the file outside, if there is one.

    To be made anew for each proof: what the file has by now, the proof's snapshot has too.
    """
    if file is None or not file.exists():
        return []
    return [outside(partial(lines_of, file), key)]


def _key(settings: CheckpointSettings) -> Key:
    key = settings.signing_key
    if key is None:
        message = "WALLET_CHECKPOINT_KEY is not set"
        raise Off(message)
    if settings.outside is None and not settings.checkpoint_webhook:
        message = "neither WALLET_CHECKPOINT_FILE nor WALLET_CHECKPOINT_WEBHOOK is set"
        raise Off(message)
    return key
