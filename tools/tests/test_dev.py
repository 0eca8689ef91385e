"""This module is where the verbs of `tools/dev` are shown to keep to their exit codes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from wallet_tools.state import ROOT, StateFolder


def dev(python: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "wallet_tools.dev", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
        timeout=60,
    )


def test_help_teaches(python: str) -> None:
    """`tools/dev` alone and with --help shows every verb and examples."""
    for arguments in ([], ["--help"]):
        done = dev(python, *arguments)
        assert done.returncode == 0
        for verb in ("up", "down", "status", "logs", "demo", "test", "check", "setup", "wallet"):
            assert f"    {verb} " in done.stdout
        assert "examples:" in done.stdout


def test_status_of_nothing(python: str, tmp_path: Path) -> None:
    """Where no stack ever ran `status` exits with 3, `down` with 0, and neither leaves a trace."""
    status = dev(python, "status", "--json", "--state", str(tmp_path))
    down = dev(python, "down", "--wipe", "--state", str(tmp_path))

    assert status.returncode == 3
    assert json.loads(status.stdout) == {"state": "down", "api": None, "processes": []}
    assert down.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_status_of_a_running_stack(python: str, running: StateFolder) -> None:
    """`status` exits with 0 while a stack runs, and `logs` shows what it said."""
    folder = str(running.path)
    assert dev(python, "status", "--state", folder).returncode == 0
    assert "PostgreSQL is ready" in dev(python, "logs", "supervisor", "--state", folder).stdout


@pytest.mark.parametrize(
    "arguments",
    [["up", "--port", "0"], ["up", "--api-processes", "0"], ["logs", "nobody"], ["fly"]],
)
def test_a_wrong_argument(python: str, arguments: list[str]) -> None:
    """What cannot be done is refused with exit code 2, before anything starts."""
    assert dev(python, *arguments).returncode == 2


def test_broker_tests_are_never_skipped_in_silence(python: str) -> None:
    """Without a broker its tests are listed as not run, and on CI that is a failure."""
    done = subprocess.run(
        [
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tools/tests/test_rabbitmq.py",
            "tools/tests/test_lock.py",
        ],
        cwd=ROOT,
        env=os.environ | {"RABBITMQ_URL": "", "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "not run (no RabbitMQ): tools/tests/test_rabbitmq.py::" in done.stdout
    assert "2 passed" in done.stdout
