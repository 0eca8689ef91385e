"""This module is where the list of faults is shown to be whole, true and published."""

import ast
import subprocess

import pytest

from wallet_tools.command import Refused
from wallet_tools.state import ROOT
from wallet_tools.torture import matrix
from wallet_tools.torture.cells import Cell
from wallet_tools.torture.plan import parse_kinds

POINTS = (
    [f"D{n}" for n in range(8)]
    + [f"R{n}" for n in range(4)]
    + [f"W{n}" for n in range(5)]
    + [f"T{n}" for n in range(1, 8)]
    + ["TC1", "TC2", "TC3", "TS1", "TS2"]
)
FAULTS = [
    f"F-{letter}{n}"
    for letter, last in {"K": 8, "P": 12, "R": 15, "C": 2, "X": 8, "B": 1, "U": 1}.items()
    for n in range(1, last + 1)
]
NODES = sorted({node for cell in matrix.CELLS for node in cell.tests})
GREEN = Cell("Z1", "a fault", "nothing", ("a.py::test_a", "b.py"), "--minutes 1")


def test_every_fault_has_its_cell() -> None:
    """No kill point and no fault is left out, none is there twice."""
    assert sorted(cell.id for cell in matrix.CELLS) == sorted(POINTS + FAULTS)


def test_a_cell_is_covered_or_says_why_not() -> None:
    """What has neither test nor run tells the reason."""
    assert [cell.id for cell in matrix.CELLS if not cell.is_covered and not cell.gap] == []


@pytest.mark.parametrize("node", NODES)
def test_what_is_named_exists(node: str) -> None:
    """The file is there, the test is in it, and so is the case in brackets."""
    path, _, name = node.partition("::")
    text = (ROOT / path).read_text("utf-8")
    name, _, case = name.rstrip("]").partition("[")

    names = [each.name for each in ast.walk(ast.parse(text)) if hasattr(each, "name")]
    assert not name or name in names
    assert f'"{case}"' in text or not case


def test_the_runs_can_be_asked_for() -> None:
    """Every run under load names faults that there are, and a time."""
    for cell in matrix.CELLS:
        if cell.torture:
            minutes, faults = cell.torture.removeprefix("--minutes ").split(" --faults ")
            assert int(minutes) > 0
            assert parse_kinds(faults)


def test_the_page_is_the_list() -> None:
    """docs/faults.md is what `wallet torture --matrix --list` prints."""
    assert (ROOT / "docs" / "faults.md").read_text("utf-8") == matrix.page()


@pytest.mark.parametrize(
    ("tests", "code", "state"),
    [
        ({"a.py::test_a[x]": True, "b.py::test_b": True}, 0, "green"),
        ({"a.py::test_a": True, "b.py::test_b": True}, None, "green"),
        ({"a.py::test_a[x]": False, "b.py::test_b": True}, 0, "failed"),
        ({"a.py::test_a": True, "b.py::test_b": True}, 1, "failed"),
        ({"a.py::test_a": True, "b.py::test_b": True}, 2, "failed"),
        ({"a.py::test_a": True, "b.py::test_b": True}, 3, "not run"),
        ({"a.py::test_ab": True, "b.py::test_b": True}, 0, "not run"),
        ({}, None, "not run"),
    ],
)
def test_a_cell_is_green_when_all_of_it_is(
    tests: dict[str, bool], code: int | None, state: str
) -> None:
    """One failure makes it failed; what did not report, or met no fault, makes it not run."""
    runs = {} if code is None else {GREEN.torture: code}
    assert matrix.judge(GREEN, tests, runs).state == state


def test_a_cell_without_a_command_is_not_covered() -> None:
    """It is neither green nor failed."""
    assert matrix.judge(Cell("Z2", "", "", gap="too rare"), {}, {}).state == "not covered"


def test_cells_are_chosen_by_their_ids() -> None:
    """Some by name, the few that matter most, or an unknown one, which is refused."""
    assert [cell.id for cell in matrix.chosen("F-P4, D6", smoke=False)] == ["D6", "F-P4"]
    smoke = {cell.id for cell in matrix.chosen(None, smoke=True)}
    assert smoke == {"F-K1", "F-K2", "F-K3", "F-P1", "F-R1", "F-R2", "F-X1"}
    with pytest.raises(Refused, match="F-Z9"):
        matrix.chosen("F-Z9", smoke=False)


@pytest.mark.slow
def test_a_cell_is_run(python: str) -> None:
    """The command runs a cell's test, tells how it went, and ends with 0."""
    done = subprocess.run(
        [python, "-m", "wallet_tools.cli", "torture", "--matrix", "--smoke", "--cells", "D6,F-X1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
