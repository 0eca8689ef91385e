"""This module is where every fault of the list is put to its test, and the list becomes a page."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from wallet_tools import environment
from wallet_tools.command import Refused, print_json
from wallet_tools.state import ROOT
from wallet_tools.torture.cells import CLOCK, DATABASE, PROCESSES, Cell
from wallet_tools.torture.cells_outside import BROKER, CALLERS, OPERATOR
from wallet_tools.torture.kill_points import CONSUMER, DEPOSIT, RELAY, TRANSFER
from wallet_tools.torture.result import Exit

GROUPS: Final[Mapping[str, tuple[Cell, ...]]] = {
    "A process dies at a deposit or withdrawal": DEPOSIT,
    "A process dies at a transfer": TRANSFER,
    "A process dies at the relay": RELAY,
    "A process dies at the consumer": CONSUMER,
    "Processes": PROCESSES,
    "PostgreSQL": DATABASE,
    "RabbitMQ": BROKER,
    "Clocks": CLOCK,
    "Callers and resources": CALLERS,
    "Operators": OPERATOR,
}
CELLS: Final = tuple(cell for group in GROUPS.values() for cell in group)
_OUTCOME: Final = re.compile(r"^(PASSED|FAILED|ERROR) (\S+)")
_HEAD: Final = """\
# Faults

What may go wrong, what then holds, and the command that shows it. Made from
`tools/src/wallet_tools/torture/` by `wallet torture --matrix --list > docs/faults.md`; a test keeps
it so, and looks that every test named here exists.

```bash
tools/dev wallet torture --matrix --smoke           # the cells marked *: a few minutes
tools/dev wallet torture --matrix --cells D6,F-P4   # some of them
tools/dev wallet torture --matrix                   # all, with the runs under load: two hours
```

The tests are part of `tools/dev check`; a run under load (`wallet torture …`) is not. A cell is
green when all its commands are. A run in which a kind of fault did not hit proves nothing and is
not green; nor is one with kills, unless answers were lost on both sides of a COMMIT, or one with
broken wires (proxy), unless a reply to a COMMIT was kept back.
"""


class Verdict(msgspec.Struct, frozen=True):
    """What came of a cell: `state` is green, failed, not run or not covered."""

    id: str
    state: str
    commands: Sequence[str]
    gap: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the list of faults (docs/faults.md)")
    group.add_argument("--matrix", action="store_true", help="put each fault to its test")
    group.add_argument("--smoke", action="store_true", help="the seven that matter most, no load")
    group.add_argument("--cells", metavar="LIST", help="of them only these, by their ids")
    group.add_argument("--list", action="store_true", help="print the page, and stop")


def carry_out(options: argparse.Namespace) -> int:
    """Run the cells that were asked for; 1 if one is not green that has a command."""
    if options.list:
        print(page(), end="")
        return Exit.CLEAN
    cells = chosen(options.cells, smoke=options.smoke)
    passed = _run_tests(_unique(test for cell in cells for test in cell.tests))
    asked = () if options.smoke else _unique(cell.torture for cell in cells if cell.torture)
    runs = {arguments: _run_torture(arguments, options.state) for arguments in asked}
    verdicts = [judge(cell, passed, runs) for cell in cells]
    if options.json:
        print_json(verdicts)
    else:
        for each in verdicts:
            print(f"  {each.state:<11} {each.id:<5} {each.gap and f'(not shown: {each.gap})'}")
        green = sum(each.state == "green" for each in verdicts)
        print(f"{green} of {len(verdicts)} cells are green")
    bad = any(each.state in {"failed", "not run"} for each in verdicts)
    return Exit.VIOLATED if bad else Exit.CLEAN


def chosen(ids: str | None, *, smoke: bool) -> list[Cell]:
    """
    Return the cells that are asked for, in the page's order.

    Raises:
        Refused: there is none of that name.
    """
    wanted = {each.strip() for each in (ids or "").split(",") if each.strip()}
    if unknown := wanted - {cell.id for cell in CELLS}:
        raise Refused(f"no cell is called {', '.join(sorted(unknown))}; see docs/faults.md")
    return [
        cell for cell in CELLS if (not wanted or cell.id in wanted) and (cell.is_smoke or not smoke)
    ]


def judge(cell: Cell, tests: Mapping[str, bool], runs: Mapping[str, int]) -> Verdict:
    """
    Say what came of a cell.

    A test that did not report was not run; a run under load that nobody asked for does not count.
    """
    states = []
    for node in cell.tests:
        found = [ok for name, ok in tests.items() if _is_of(name, node)]
        states.append("not run" if not found else "green" if all(found) else "failed")
    if cell.torture in runs:
        codes = {Exit.CLEAN: "green", Exit.NOT_RUN: "not run"}
        states.append(codes.get(Exit(runs[cell.torture]), "failed"))
    order = ("failed", "not run", "green")
    state = next((each for each in order if each in states), "not covered")
    return Verdict(cell.id, state, commands(cell), cell.gap)


def commands(cell: Cell) -> list[str]:
    """Return what shows the cell, as it is typed."""
    runs = [f"wallet torture {cell.torture}"] if cell.torture else []
    return [f"tools/dev test {test}" for test in cell.tests] + runs


def page() -> str:
    """Return docs/faults.md."""
    parts = [_HEAD]
    for name, cells in GROUPS.items():
        rows = "\n".join(map(_row, cells))
        parts.append(f"\n## {name}\n\n| | fault | holds | shown by |\n|---|---|---|---|\n{rows}\n")
    return "".join(parts)


def _row(cell: Cell) -> str:
    shown = [f"`{command.removeprefix('tools/dev test ')}`" for command in commands(cell)]
    if not cell.is_covered:
        shown.append("**not covered**")
    if cell.gap:
        shown.append(f"not shown: {cell.gap}" if cell.is_covered else cell.gap)
    mark = " *" if cell.is_smoke else ""
    return f"| {cell.id}{mark} | {cell.fault} | {cell.expected} | {'<br>'.join(shown)} |"


def _is_of(name: str, node: str) -> bool:
    return name == node or name.startswith((f"{node}[", f"{node}::"))


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _run_tests(nodes: Sequence[str]) -> dict[str, bool]:
    """Run the tests in one session, tell what it tells, and return which passed."""
    if not nodes:
        return {}
    command = [sys.executable, "-m", "pytest", "-q", "-rpfE", "--color=no", *nodes]
    outcomes: dict[str, bool] = {}

    def note(line: str) -> None:
        if found := _OUTCOME.match(line):
            outcomes[found[2]] = found[1] == "PASSED"

    _follow(command, note)
    return outcomes


def _run_torture(arguments: str, state: Path) -> int:
    command = [sys.executable, "-m", "wallet_tools.cli", "torture", *arguments.split()]
    return _follow([*command, "--state", str(state)], lambda _: None)


def _follow(command: list[str], note: Callable[[str], None]) -> int:
    """Run a command, hand each of its lines to stderr and to `note`, and return its exit code."""
    print(f"$ {' '.join(command[1:])[:200]}", file=sys.stderr, flush=True)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment.caller(), stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None, "it was asked for"
        for line in running.stdout:
            sys.stderr.write(line)
            note(line)
    return running.returncode
