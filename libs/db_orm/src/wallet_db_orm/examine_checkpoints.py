"""This module is where the books are held against their checkpoints, those outside included."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import UNSET

from wallet_common.checkpoints import (
    Checkpoint,
    Joint,
    Unreadable,
    Verifier,
    line_hash,
    read,
)
from wallet_db_orm.checkpoints import is_true, kept, lines, noted
from wallet_db_orm.database import Driver
from wallet_db_orm.examination import Examination, Scope, Tally

# So long, and so often in that time, a line is looked for that the file does not have yet.
_LOOKS: Final = 20
_PAUSE_S: Final = 0.1


async def _inside(driver: Driver, _: Scope, tally: Tally) -> None:
    """The checkpoints are 1, 2, 3 …, each goes on from the one before, and each is true."""
    told = _walked(await lines(driver), tally)
    await _seals_agree(driver, told, tally)
    await _heads_agree(driver, told, tally)
    notes = await noted(driver)
    for number, checkpoint in told.items():
        known = checkpoint.archives
        if known is not UNSET and notes[known : known + 1] != [checkpoint.archives_hash]:
            what = "the notes of archives are not those that it signs"
            tally.violated(None, checkpoint=number, reason=what)


INSIDE: Final = Examination("H4", "the checkpoints are one chain and true of the books", _inside)


def outside(read_file: Callable[[], Sequence[str]], key: Verifier | None) -> Examination:
    """
    Return the check that the database has what the file outside tells, signed by `key`.

    `read_file` returns its lines as they are now, and is asked here too: what the file has before
    the proof begins must be in the database. Without a key signatures are not checked.
    """
    known = len(read_file())

    async def examine(driver: Driver, _: Scope, tally: Tally) -> None:
        here, file = await lines(driver), read_file()
        for _again in range(_LOOKS):
            if len(file) >= len(here):
                break
            # A checkpoint is in the database a moment before it is in the file.
            await asyncio.sleep(_PAUSE_S)
            file = read_file()
        # Nor is one that was taken since the proof began a fault of the database.
        file = file[: max(known, len(here))]
        told = _walked(file, tally)
        for number, checkpoint in told.items():
            if key is not None and not checkpoint.is_signed_by(key):
                what = f"it was not signed by this key ({key.name})"
                tally.violated(None, checkpoint=number, reason=what)
        if len(here) < len(file):
            what = f"the file has {len(file)}, the database {len(here)}: an earlier state of it"
            tally.violated(None, checkpoint=len(here) + 1, reason=what)
        if len(file) < len(here):
            what = f"the file ends here, the database has {len(here)}: cut, or not written yet"
            tally.violated(None, checkpoint=len(file) + 1, reason=what)
        for number, (ours, theirs) in enumerate(zip(here, file, strict=False), 1):
            if ours != theirs:
                what = "the file and the database tell different things"
                tally.violated(None, checkpoint=number, reason=what)

    return Examination("H5", "the checkpoint file outside tells the same, signed", examine)


def _walked(told: Sequence[str], tally: Tally) -> dict[int, Checkpoint]:
    """Read lines in order; return those that can be read, by their number, and note what is off."""
    readable: dict[int, Checkpoint] = {}
    before: str | None = None
    for number, line in enumerate(told, 1):
        tally.checked += 1
        try:
            checkpoint = read(line)
        except Unreadable as unreadable:
            tally.violated(None, checkpoint=number, reason=f"unreadable: {unreadable}")
        else:
            readable[number] = checkpoint
            if (checkpoint.checkpoint, checkpoint.previous) != (number, before):
                what = "it does not go on from the one before"
                tally.violated(None, checkpoint=number, reason=what)
        before = line_hash(line)
    return readable


async def _seals_agree(driver: Driver, told: Mapping[int, Checkpoint], tally: Tally) -> None:
    rows = await driver.fetch(
        "SELECT seal, hash FROM audit_seals WHERE seal = ANY($1::bigint[])",
        [each.seal for each in told.values() if each.seal is not None],
    )
    sealed = {row["seal"]: row["hash"].hex() for row in rows}
    for number, checkpoint in told.items():
        if checkpoint.seal is not None and sealed.get(checkpoint.seal) != checkpoint.seal_hash:
            what = "the audit's seal is not the one that it signs"
            tally.violated(None, checkpoint=number, seal=checkpoint.seal, reason=what)


async def _heads_agree(driver: Driver, told: Mapping[int, Checkpoint], tally: Tally) -> None:
    """
    The heads that each checkpoint keeps are those that it signs.

    Of all wallets' heads the newest one's root is asked, and that of a line that states no digest.
    """
    digests = await kept(driver)
    for number in sorted(digests.keys() - told.keys()):
        tally.violated(None, checkpoint=number, reason="heads of a checkpoint that is not there")
    nothing, newest = Joint().digest(), max(told, default=0)
    for number, checkpoint in told.items():
        is_stated = checkpoint.heads is not UNSET
        if is_stated and digests.get(number, nothing) != checkpoint.heads:
            what = "the heads that it keeps are not those that it signs"
            tally.violated(None, checkpoint=number, reason=what)
        elif (number == newest or not is_stated) and not await is_true(driver, checkpoint):
            what = "the wallets' heads are not those that it signs"
            tally.violated(None, checkpoint=number, reason=what)
