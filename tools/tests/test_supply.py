"""Promises about what goes in: no new secret, a bill of what is there, advisories never guessed."""

import json
import subprocess
from pathlib import Path

import pytest

from wallet_tools import environment, supply
from wallet_tools.state import ROOT

LOCKED = [
    line.split("==")[0]
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line and ";" not in line
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a repository with our way of looking for secrets and nothing found so far."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    told = json.loads((ROOT / supply.BASELINE).read_text())
    (tmp_path / supply.BASELINE).write_text(json.dumps(told | {"results": {}}))
    return tmp_path


def test_a_new_secret_is_named(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret in a file fails the check, with its place; a new one does so beside known ones."""
    code = checkout / "settings.py"
    code.write_text("first = 1\n")
    assert supply.check_secrets(checkout) == 0

    code.write_text("first = 1\nkey = 'AKIA" + "1234567890ABCDEF'\n")
    assert supply.check_secrets(checkout) == 1
    assert "settings.py:2: AWS Access Key" in capsys.readouterr().out

    assert supply.accept_secrets(checkout) == 0
    code.write_text("\n\n" + code.read_text())
    assert supply.check_secrets(checkout) == 0

    code.write_text(code.read_text() + "url = 'https://ada:" + "hunter2000@example.org'\n")
    assert supply.check_secrets(checkout) == 1


def test_the_bill_names_every_package(tmp_path: Path) -> None:
    """The bill is CycloneDX and has each locked package, with its version."""
    file = tmp_path / "sbom.json"

    assert supply.write_sbom(file) == 0

    told = json.loads(file.read_text())
    assert told["bomFormat"] == "CycloneDX"
    there = {
        each["name"].lower().replace("_", "-").replace(".", "-") for each in told["components"]
    }
    assert {name.lower().replace("_", "-").replace(".", "-") for name in LOCKED} <= there
    assert all(each["version"] for each in told["components"])


@pytest.mark.parametrize(
    ("report", "exit_code", "expected", "said"),
    [
        (None, 1, 2, "not run: 0 of"),
        ("", 0, 2, "not run: 0 of"),
        ([{"name": "only-one", "version": "1", "vulns": []}], 0, 2, "not run: 1 of"),
        ([{"name": name, "skip_reason": "no answer"} for name in LOCKED], 0, 2, "not run: 0 of"),
        ([{"name": name, "version": "1", "vulns": []} for name in LOCKED], 0, 0, "no advisory"),
        ([{"name": name, "vulns": ["CVE"]} for name in LOCKED], 1, 1, "advisories were found"),
    ],
)
def test_advisories_are_looked_up_or_not_run(
    tmp_path: Path, report: object, exit_code: int, expected: int, said: str
) -> None:
    """Green is only said of packages that were all looked up; everything else is told apart."""
    text = report if isinstance(report, str) else json.dumps({"dependencies": report})
    told = tmp_path / "told.json"
    told.write_text(text)
    # In the place of the program that would ask the network: what it leaves behind, and its code.
    program = tmp_path / "pip-audit"
    copy = f'while [ "$1" != --output ]; do shift; done; cat {told} > "$2"\n'
    program.write_text(f"#!/bin/sh\n{'' if report is None else copy}exit {exit_code}\n")
    program.chmod(0o755)
    system = environment.system()

    done = subprocess.run(
        [str(ROOT / ".ci" / "advisories")],
        env=system | {"PATH": f"{tmp_path}:{system['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == expected, done.stdout + done.stderr
    assert said in done.stdout
