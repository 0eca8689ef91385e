"""Promises of the house rules: each one sees what it forbids and lets good code pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from wallet_tools.tidy import rules
from wallet_tools.tidy.rules import check
from wallet_tools.tidy.source import Source, sources_under

API = "services/api/src/wallet_api/routes.py"
CORE = "libs/common/src/wallet_common/ledger.py"
ORM = "libs/db_orm/src/wallet_db_orm/ledger.py"
TOOL = "tools/src/wallet_tools/demo.py"
TEST = "services/api/tests/test_routes.py"
CAPTION = '"""A caption."""\n'

BROKEN = {
    "commit": ("transaction", API, "async def f(s):\n    await s.commit()\n"),
    "begin": ("transaction", TEST, "async def f(e):\n    async with e.begin():\n        pass\n"),
    "float": ("float", ORM, "def f(x):\n    return float(x)\n"),
    "float in a test": ("float", TEST, "PRICE = float('0.1')\n"),
    "import": ("import", API, "def f():\n    import json\n    return json\n"),
    "from import": ("import", TEST, "class A:\n    def f(self):\n        from json import loads\n"),
    "environ": ("environment", API, "import os\nX = os.environ['X']\n"),
    "environ by name": ("environment", API, "from os import environ as e\nX = e.get('X')\n"),
    "getenv": ("environment", TEST, "import os\nX = os.getenv('X')\n"),
    "now": ("clock", CORE, "from datetime import UTC, datetime\nX = datetime.now(UTC)\n"),
    "utcnow": ("clock", CORE, "import datetime as dt\nX = dt.datetime.utcnow()\n"),
    "time": ("clock", CORE, "import time\nX = time.time()\n"),
    "long module": ("module-length", API, "X = 1\n" * 300),
    "long function": ("function-length", API, "def f():\n" + "    x = 1\n" * 50),
    "silent test": ("test-docstring", TEST, "def test_it():\n    assert True\n"),
    "silent method": (
        "test-docstring",
        TEST,
        "class T:\n    async def test_it(self):\n        ...\n",
    ),
    "unfinished": ("unfinished", API, "X = 1  # TODO: finish\n"),
    "print": ("print", API, "print('hello')\n"),
    "print in a test": ("print", TEST, "print('hello')\n"),
    "time.sleep": ("sleep", TEST, "import time\ntime.sleep(1)\n"),
    "asyncio.sleep": (
        "sleep",
        TEST,
        "from asyncio import sleep as nap\nasync def f():\n    await nap(1)\n",
    ),
    "mock": ("mock", TEST, "from unittest import mock\n"),
    "mock's names": ("mock", TEST, "from unittest.mock import patch\n"),
    "mock module": ("mock", API, "import unittest.mock\n"),
    "syntax": ("syntax", API, "def f(:\n"),
}

GOOD = {
    "commit at home": (ORM, "async def f(s):\n    await s.commit()\n"),
    "a function named commit": (API, "def f(commit):\n    commit()\n"),
    "seconds": (API, "def f(x):\n    return float(x)  # tidy: seconds, not money\n"),
    "float as a type": (ORM, "def f(seconds: float) -> float:\n    return seconds\n"),
    "float in a tool": (TOOL, "X = float('1')\n"),
    "conditional import": (
        API,
        "try:\n    import uvloop\nexcept ImportError:\n    uvloop = None\n",
    ),
    "settings": ("services/api/src/wallet_api/settings.py", "import os\nX = os.environ['X']\n"),
    "environment of a tool": (TOOL, "import os\nX = os.environ['X']\n"),
    "clock outside the core": (API, "from datetime import UTC, datetime\nX = datetime.now(UTC)\n"),
    "datetime as a value": (CORE, "from datetime import datetime\nX = datetime(2026, 1, 1)\n"),
    "short module": (API, "X = 1\n" * 299),
    "short function": (API, "def f():\n" + "    x = 1\n" * 49),
    "claiming test": (TEST, 'def test_it():\n    """It holds."""\n'),
    "helper in a test": (TEST, "def a_wallet():\n    return 1\n"),
    "todo in a string": (API, "X = 'TODO'\n"),
    "print in a tool": (TOOL, "print('hello')\n"),
    "sleep in a service": (API, "import asyncio\nasync def f():\n    await asyncio.sleep(1)\n"),
    "the poller": ("services/api/tests/conftest.py", "import time\ntime.sleep(0.1)\n"),
    "a word like mock": (TEST, "from unittest import mockery\n"),
}


def _rules_broken(path: str, code: str) -> list[str]:
    return [finding.rule for finding in check([Source(path, CAPTION + code)])]


@pytest.mark.parametrize(("rule", "path", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_named(rule: str, path: str, code: str) -> None:
    """Code that breaks one rule is reported under that rule's name and no other."""
    assert _rules_broken(path, code) == [rule]


@pytest.mark.parametrize(("path", "code"), GOOD.values(), ids=GOOD.keys())
def test_good_code_is_left_alone(path: str, code: str) -> None:
    """Code that only resembles a broken rule is not reported."""
    assert _rules_broken(path, code) == []


def test_a_module_needs_a_caption() -> None:
    """Even an empty module says what it is for."""
    assert [finding.rule for finding in check([Source(API, "")])] == ["module-docstring"]


def test_a_finding_points_at_its_line() -> None:
    """A finding prints as `file:line rule message`, so that editors can jump to it."""
    (finding,) = check([Source(API, CAPTION + "X = 1\nprint(X)\n")])

    assert str(finding).startswith(f"{API}:3 print ")


def test_an_exception_counts_while_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed module may be long; once it is short, its entry is the finding."""
    monkeypatch.setitem(rules.LONGER, API, "the table of all routes")
    monkeypatch.setitem(rules.LONGER, f"{API}:f", "one long table")
    long = CAPTION + "def f():\n" + "    x = 1\n" * 300

    assert check([Source(API, long)]) == []
    assert [finding.rule for finding in check([Source(API, CAPTION)])] == ["stale-exception"] * 2


def test_only_files_that_git_would_keep_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ignored and deleted files are not read, new ones are."""
    # Set while a git hook runs the tests; it would mean the outer repository.
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    for name in ("kept.py", "ignored.py", "deleted.py"):
        (tmp_path / name).write_text(CAPTION)
    subprocess.run(["git", "add", "deleted.py"], cwd=tmp_path, check=True)
    (tmp_path / "deleted.py").unlink()

    assert [source.path for source in sources_under(tmp_path)] == ["kept.py"]


def test_without_git_the_environment_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an unpacked archive everything but installed and private folders is read."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    for name in ("a/kept.py", ".venv/lib/other.py", ".local/state.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(CAPTION)

    assert [source.path for source in sources_under(tmp_path)] == ["a/kept.py"]


@pytest.mark.parametrize(("code", "status"), [("", 0), ("print(1)\n", 1)])
def test_the_exit_status_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    """The command exits 1 when there is a finding, and prints it."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    (tmp_path / "module.py").write_text(CAPTION + code)

    run = subprocess.run(
        [sys.executable, "-m", "wallet_tools.tidy", str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
    )

    assert run.returncode == status
    assert ("module.py:2 print" in run.stdout) == bool(status)
