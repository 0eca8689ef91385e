"""This module is where a real run is carried out: short, with kills, on a stack of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

# Its plan kills twice behind a COMMIT and once before one.
SEED = "55"


def _torture(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wallet_tools.cli", "torture", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


@pytest.mark.broker
@pytest.mark.slow
def test_a_short_run_is_clean_and_counts(tmp_path: Path) -> None:
    """45 s of kills and broken wires: nothing lost, faults on both sides of a COMMIT, a page."""
    reports = tmp_path / "reports"
    done = _torture(
        *("--minutes", "0.75", "--seed", SEED, "--faults", "kill,proxy", "--json"),
        # Each kill has to find some at work, one of them behind its COMMIT.
        *("--clients", "32"),
        *("--state", str(tmp_path / "stack"), "--report", str(reports)),
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["verdict"], told["violations"], told["missing"]) == ("clean", [], [])
    proved = {name.partition(" ")[0]: rows for name, rows in told["proved"].items()}
    # Checkpoints were taken under kills, and held against the file outside.
    assert min(proved["H3"], proved["H4"], proved["H5"]) > 0
    assert told["lost_with_effect"] > 0
    assert told["lost_without_effect"] > 0
    assert min(told["kills"]["api"], told["kills"]["worker"]) > 0
    # Every half second, whatever is broken meanwhile; a busy machine takes longer for a look.
    assert told["looks"] > 20
    page = (reports / f"torture-seed{SEED}-0.75min.md").read_text()
    assert page.startswith("# Torture: clean")
    ET.fromstring((reports / f"torture-seed{SEED}-0.75min.svg").read_text())  # noqa: S314  # our own file
    assert not list((tmp_path / "stack").glob("*/data/postmaster.pid"))


def test_the_plan_is_printed_without_a_stack() -> None:
    """`--plan` tells which fault strikes when, as lines and as JSON, and starts nothing."""
    lines = _torture("--plan", "--seed", SEED, "--faults", "kill,proxy")
    listed = _torture("--plan", "--seed", SEED, "--faults", "kill,proxy", "--json")

    assert lines.returncode == listed.returncode == 0
    assert len(lines.stdout.splitlines()) == len(json.loads(listed.stdout)) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--faults", "earthquake"), "earthquake"),
        (("--minutes", "0"), "minutes"),
        (("--clients", "1000"), "clients"),
    ],
)
def test_a_misread_command_says_what_is_wrong(arguments: tuple[str, ...], words: str) -> None:
    """A wrong option ends the command at once, with 2 and a word about it."""
    done = _torture(*arguments)

    assert done.returncode == 2
    assert words in done.stderr


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds other things is not emptied: 2, and the way out."""
    (tmp_path / "letters").write_text("dear")
    done = _torture("--state", str(tmp_path), "--minutes", "0.1", "--faults", "kill")

    assert done.returncode == 2
    assert "another" in done.stderr or "new folder" in done.stderr
    assert (tmp_path / "letters").read_text() == "dear"
