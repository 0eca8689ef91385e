"""This module is where a Python file is read once and asked many questions."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

_NO_SOURCES: Final = {".venv", ".local", "__pycache__", "node_modules"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule} {self.message}"


@dataclass(frozen=True)
class Source:
    path: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def origins(self) -> dict[str, str]:
        """The full names behind imported ones: `from time import sleep as nap` maps nap."""
        origins: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                origins.update({a.asname: a.name for a in node.names if a.asname})
            elif isinstance(node, ast.ImportFrom):
                origins.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
        return origins

    def full_name(self, node: ast.expr) -> str:
        """Return the dotted name of what an expression refers to, or nothing."""
        match node:
            case ast.Name(id=name):
                return self.origins.get(name, name)
            case ast.Attribute(value=value, attr=attribute):
                return f"{self.full_name(value)}.{attribute}"
            case _:
                return ""

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, self.full_name(node.func)

    def is_at(self, places: Iterable[str]) -> bool:
        name = PurePosixPath(self.path).name
        return any(
            self.path.startswith(place) if place.endswith("/") else name == place
            for place in places
        )

    @property
    def is_test(self) -> bool:
        """Whether tests are in it; a conftest.py holds what they share, so also their poller."""
        path = PurePosixPath(self.path)
        return "tests" in path.parts and path.name != "conftest.py"

    def finding(self, node: ast.AST | int, rule: str, message: str) -> Finding:
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return Finding(self.path, line, rule, message)


def sources_under(root: Path) -> Iterator[Source]:
    """Read the Python files that git knows or would add; without git, all but the known noise."""
    for path in sorted(_python_files(root)):
        yield Source(path.relative_to(root).as_posix(), path.read_text("utf-8"))


def _python_files(root: Path) -> Iterator[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    try:
        listing = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        paths = root.rglob("*.py")
        yield from (p for p in paths if not _NO_SOURCES.intersection(p.relative_to(root).parts))
    else:
        names = {name for name in listing.stdout.split("\0") if name}
        # A file that is deleted but not yet committed is still in git's list.
        yield from (root / name for name in names if (root / name).is_file())
