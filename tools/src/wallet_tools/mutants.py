"""This module is where the domain is changed on purpose, and its tests have to notice."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wallet_tools import environment
from wallet_tools.state import ROOT

KILLED_MIN: Final = 0.90
SURVIVORS: Final = ROOT / "docs" / "mutants.md"
_PLACE: Final = ROOT / ".local" / "mutants"
_COMMON: Final = ROOT / "libs" / "common"
_LINE: Final = re.compile(r"^\s+(?P<name>\S+__mutmut_\d+): (?P<status>.+)$", re.MULTILINE)
# A mutant that does not come to an end is noticed too.
_NOTICED: Final = {"killed", "timeout", "segfault", "caught by type check"}
EPILOG: Final = """\
examples:
  tools/dev mutants                  all of libs/common; a quarter of an hour on two free cores
  tools/dev mutants money fraud      these modules only
  tools/dev mutants --show NAME      what was changed in a mutant

Each mutant is the domain with one small change. A test that fails has killed it; one that no test
minds has survived, and docs/mutants.md tells why that is right."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants; 1 if too few were killed or a survivor has no reason."""
    parser = argparse.ArgumentParser(
        prog="tools/dev mutants",
        description="Change the domain on purpose and see that its tests notice (mutmut).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of wallet_common")
    parser.add_argument("--children", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--show", metavar="NAME", help="print a mutant's change")
    options = parser.parse_args(arguments)
    for module in options.modules:
        if not (_COMMON / "src" / "wallet_common" / f"{module}.py").exists():
            parser.error(f"wallet_common has no module {module!r}")
    if options.show:
        return _mutmut("show", options.show).returncode
    place = _prepare()
    globs = [f"wallet_common.{module}.*" for module in options.modules]
    print(f"mutants are made and tried in {place}", flush=True)
    code = _mutmut("run", "--max-children", str(options.children), *globs).returncode
    return code or _judge(options.modules)


def _prepare() -> Path:
    """
    Copy what mutmut works on: it writes beside it, and our tree stays as it is.

    What an earlier run found goes: it would be told again, whatever the tests have become since.
    """
    place = _PLACE / "common"
    shutil.rmtree(place, ignore_errors=True)
    for name in ("src", "tests"):
        shutil.copytree(_COMMON / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(_COMMON / "pyproject.toml", place)
    # The tests compare the events with their published schemas, three folders up.
    shutil.copytree(ROOT / "docs" / "events", _PLACE / "docs" / "events", dirs_exist_ok=True)
    return place


def _mutmut(*arguments: str, is_captured: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=_PLACE / "common",
        env=environment.caller() | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE if is_captured else None,
        text=True,
        check=False,
        preexec_fn=_give_way,  # there are no threads here
    )


def _give_way() -> None:
    os.nice(10)


def _judge(modules: Sequence[str]) -> int:
    told = _mutmut("results", "--all", "true", is_captured=True).stdout
    statuses = {
        found["name"]: found["status"]
        for found in _LINE.finditer(told)
        if not modules or found["name"].split(".")[1] in modules
    }
    tried = {name: status for name, status in statuses.items() if status != "not checked"}
    left = sorted(name for name, status in tried.items() if status not in _NOTICED)
    explained = SURVIVORS.read_text("utf-8") if SURVIVORS.exists() else ""
    odd = [name for name in left if f"`{name}`" not in explained]
    share = 1 - len(left) / len(tried) if tried else 0.0
    print(f"\n{len(tried)} mutants, {len(left)} survived: {share:.1%} killed")
    for name in odd:
        print(f"no reason in {SURVIVORS.relative_to(ROOT)}: {name} ({tried[name]})")
    return 1 if share < KILLED_MIN or odd else 0


if __name__ == "__main__":
    sys.exit(main())
