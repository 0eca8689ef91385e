"""This module is where a file of checkpoints lies: whoever looks amid faults has to notice."""

from pathlib import Path

from wallet_tools.state import StateFolder
from wallet_tools.torture import outside

BOOKS = ["one", "two", "three"]


def _found(file: list[str]) -> list[str]:
    return [each.id for each in outside.contradictions(file, BOOKS)]


def test_a_file_that_is_behind_is_believed() -> None:
    """A worker that was killed between COMMIT and writing leaves the last line to the next one."""
    assert _found(BOOKS) == _found(BOOKS[:2]) == _found([]) == []


def test_a_checkpoint_that_the_database_lost_is_flagged() -> None:
    """What is outside was committed before: a database without it has forgotten a commit."""
    assert _found([*BOOKS, "four"]) == ["H5"]


def test_a_checkpoint_of_another_past_is_flagged() -> None:
    """One line differs."""
    assert _found(["one", "2"]) == ["H5"]


def test_half_a_line_is_no_line(tmp_path: Path) -> None:
    """Whoever died while writing leaves a part; where there is no file there is no line."""
    file = tmp_path / "checkpoints.jsonl"
    assert outside.lines(file) == []
    file.write_text("one\ntwo\nthr")
    assert outside.lines(file) == ["one", "two"]
    file.write_text("on")
    assert outside.lines(file) == []


def test_a_run_without_checkpoints_is_flagged(tmp_path: Path) -> None:
    """Where nobody took one, all that is proved of them is proved of nothing."""
    file = tmp_path / "checkpoints.jsonl"
    assert [each.id for each in outside.missing(file)] == ["H5"]
    file.write_text("one\n")
    assert list(outside.missing(file)) == []


def test_the_workers_write_into_the_run_s_own_file(tmp_path: Path) -> None:
    """Whatever the caller has set for other stacks, key, file and webhook, is left out."""
    caller = {"WALLET_CHECKPOINT_KEY": "00", "WALLET_CHECKPOINT_WEBHOOK": "x", "WALLET_HOST": "h"}
    state = StateFolder.at(tmp_path)

    assert outside.without(caller) == {"WALLET_HOST": "h"}
    assert set(outside.settings(state).values()) == {
        str(tmp_path / "checkpoints.jsonl"),
        str(tmp_path / "checkpoint.key"),
        "5",
    }
