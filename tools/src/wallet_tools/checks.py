"""This module is where the project is checked: format, lint, types, contracts, rules, tests."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from wallet_tools import environment
from wallet_tools.provision import ensure_broker
from wallet_tools.state import ROOT

BANDIT = ("--quiet", "--configfile", "pyproject.toml", "--recursive", "libs", "services", "tools")
YAML = ("docker-compose.yml", ".github/workflows", ".pre-commit-config.yaml", "deploy")


@dataclass(frozen=True, slots=True)
class Check:
    """One step of `tools/dev check`; it passes when it returns 0."""

    name: str
    run: Callable[[], int]


def all_checks() -> list[Check]:
    """Return the steps, the quick ones first."""
    return [
        Check("format", lambda: _module("ruff", "format", "--check", ".")),
        Check("lint", lambda: _module("ruff", "check", ".")),
        Check("types", lambda: _module("mypy")),
        Check("import contracts", lambda: _program("lint-imports")),
        Check("house rules", lambda: _module("wallet_tools.tidy")),
        Check("yaml", lint_yaml),
        Check("bandit", lambda: _program("bandit", *BANDIT)),
        Check("secrets", lambda: _module("wallet_tools.supply", "secrets")),
        Check("tests", lambda: run_tests([])),
    ]


def check(*, keep_going: bool, with_tests: bool) -> int:
    """Run every check in order and return 0 if all passed; stop at the first that did not."""
    failed = []
    for step in all_checks() if with_tests else all_checks()[:-1]:
        print(f"== {step.name}", flush=True)
        began = time.monotonic()
        code = step.run()
        verdict = "ok" if code == 0 else f"FAILED ({code})"
        print(f"== {step.name}: {verdict} in {time.monotonic() - began:.1f} s\n", flush=True)
        if code:
            failed.append(step.name)
            if not keep_going:
                break
    print(f"failed: {', '.join(failed)}" if failed else "everything passed", flush=True)
    return 1 if failed else 0


def run_tests(arguments: list[str]) -> int:
    """
    Run pytest from the root; what needs a missing broker is listed by conftest.py.

    The whole suite is run by two processes, each with servers of its own: it mostly waits.
    """
    ensure_broker()
    return _module("pytest", *(arguments or ["--numprocesses=2", "--dist=worksteal"]))


def lint_yaml() -> int:
    there = [name for name in YAML if (ROOT / name).exists()]
    return _module("yamllint", "--strict", *there) if there else 0


def lock() -> int:
    """Resolve the dependencies anew and export the lock: hashes, no host."""
    ours = ROOT / ".local" / "uv" / "bin" / "uv"
    uv = str(ours) if ours.exists() else shutil.which("uv")
    if uv is None:
        print("no uv: neither on PATH nor in .local/uv", file=sys.stderr)
        return 1
    what = ("--all-packages", "--no-emit-workspace", "--no-emit-index-url", "--all-groups")
    form = ("--no-annotate", "--no-header", "--quiet", "-o", "requirements.lock")
    return _run([uv, "lock"]) or _run([uv, "export", *what, *form])


def _module(name: str, *arguments: str) -> int:
    return _run([sys.executable, "-m", name, *arguments])


def _program(name: str, *arguments: str) -> int:
    return _run([str(ROOT / ".venv" / "bin" / name), *arguments])


def _run(command: list[str]) -> int:
    done = subprocess.run(command, cwd=ROOT, env=environment.caller(), check=False)
    return done.returncode
