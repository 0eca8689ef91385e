"""This module is where the checkpoints outside the database are held against it, amid faults."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wallet_db_orm.examination import Examination
from wallet_runtime.signing import key_of
from wallet_tools.state import StateFolder
from wallet_tools.torture.history import Violation
from wallet_worker.witness import comparison

# So often that a worker is killed while it takes one.
EVERY_S: Final = 5
_PREFIX: Final = "WALLET_CHECKPOINT_"


def without(environment: dict[str, str]) -> dict[str, str]:
    """Return it without the caller's own settings of checkpoints: his file is not ours."""
    return {name: text for name, text in environment.items() if not name.startswith(_PREFIX)}


def settings(state: StateFolder) -> dict[str, str]:
    """Return what has a worker take checkpoints into the run's own file."""
    return state.checkpoint_settings() | {f"{_PREFIX}SECONDS": str(EVERY_S)}


def at_rest(state: StateFolder) -> list[Examination]:
    """Return the whole check of the file, signatures included, for the end of a run."""
    return comparison(state.checkpoint_file, key_of(state.checkpoint_key_file.read_text()))


def lines(file: Path) -> list[str]:
    """Return the lines that are whole: one that is being written, or whose writer died, is not."""
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return text.rpartition("\n")[0].splitlines()


def missing(file: Path) -> Iterator[Violation]:
    """H5: checkpoints were taken; of none there is nothing to prove."""
    if not lines(file):
        yield Violation(id="H5", what="no worker took a checkpoint")


def contradictions(outside: Sequence[str], inside: Sequence[str]) -> Iterator[Violation]:
    """
    H5: what the file had before the database was asked, the database has, to the byte.

    Not the other way round: who was to write the next line may just have been killed.
    """
    if len(outside) > len(inside):
        what = f"the file tells of {len(outside)} checkpoints, the database has {len(inside)}"
        yield Violation(id="H5", what=what, rows=(outside[len(inside)],))
    for number, (told, kept) in enumerate(zip(outside, inside, strict=False), 1):
        if told != kept:
            what = f"checkpoint {number} is another outside than in the database"
            yield Violation(id="H5", what=what, rows=(told, kept))
