"""This module is where the house rules are written down: each reads a file and yields findings."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from wallet_tools.tidy.source import Finding, Function, Source

MODULE_LINES_MAX: Final = 300
FUNCTION_LINES_MAX: Final = 50

# The exceptions to both lengths, each with its reason: "path" or "path:function" -> reason.
# An entry that is no longer needed is itself a finding, so the list can only shrink.
LONGER: Final[dict[str, str]] = {}

# Where each right lives: folders (ending in "/") or file names.
TRANSACTIONS: Final = ("libs/db_orm/",)
ENVIRONMENT: Final = ("tools/", "settings.py", "conftest.py")
PRINTS: Final = ("tools/",)
FLOAT_FREE: Final = ("libs/", "services/")
CLOCK_FREE: Final = ("libs/common/",)

SECONDS: Final = "# tidy: seconds, not money"
_UNFINISHED: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
_TRANSACTION_VERBS: Final = {"commit", "begin", "begin_nested"}
_ENVIRONMENT: Final = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
_SLEEPS: Final = {"time.sleep", "asyncio.sleep"}
_CLOCKS: Final = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.monotonic",
    "time.time",
    "time.time_ns",
}


def transactions_have_a_home(source: Source) -> Iterator[Finding]:
    if source.is_at(TRANSACTIONS):
        return
    for call, _ in source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in _TRANSACTION_VERBS:
            verb = call.func.attr
            yield source.finding(call, "transaction", f".{verb}() belongs in {TRANSACTIONS[0]}")


def money_is_never_a_float(source: Source) -> Iterator[Finding]:
    if not source.is_at(FLOAT_FREE):
        return
    for call, name in source.calls():
        if name == "float" and SECONDS not in source.lines[call.lineno - 1]:
            yield source.finding(call, "float", f"float() near money; durations say `{SECONDS}`")


def imports_stand_at_the_top(source: Source) -> Iterator[Finding]:
    inner = {node for function in source.functions for node in ast.walk(function)}
    for node in inner:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield source.finding(node, "import", "an import inside a function hides a dependency")


def settings_read_the_environment(source: Source) -> Iterator[Finding]:
    if source.is_at(ENVIRONMENT):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and source.full_name(node) in _ENVIRONMENT:
            yield source.finding(node, "environment", "only settings.py reads the environment")


def the_core_has_no_clock(source: Source) -> Iterator[Finding]:
    if not source.is_at(CLOCK_FREE):
        return
    for call, name in source.calls():
        if name in _CLOCKS:
            yield source.finding(call, "clock", f"{name}() in the core; time is an argument")


def modules_are_short(source: Source) -> Iterator[Finding]:
    length = len(source.lines)
    if length > MODULE_LINES_MAX and source.path not in LONGER:
        yield source.finding(1, "module-length", f"{length} lines, over {MODULE_LINES_MAX}")


def functions_are_short(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        length = _length(function)
        if length > FUNCTION_LINES_MAX and f"{source.path}:{function.name}" not in LONGER:
            message = f"{function.name}() has {length} lines, over {FUNCTION_LINES_MAX}"
            yield source.finding(function, "function-length", message)


def tests_state_their_claim(source: Source) -> Iterator[Finding]:
    if not source.is_test:
        return
    for function in source.functions:
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield source.finding(function, "test-docstring", f"{function.name}() claims nothing")


def modules_have_a_caption(source: Source) -> Iterator[Finding]:
    if not ast.get_docstring(source.tree):
        yield source.finding(1, "module-docstring", "a module opens with what it is for")


def nothing_is_left_unfinished(source: Source) -> Iterator[Finding]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and (found := _UNFINISHED.search(token.string)):
            yield source.finding(token.start[0], "unfinished", f"a {found[0]} comment")


def only_commands_print(source: Source) -> Iterator[Finding]:
    if source.is_at(PRINTS):
        return
    for call, name in source.calls():
        if name == "print":
            yield source.finding(call, "print", "services log, only tools print")


def tests_never_sleep(source: Source) -> Iterator[Finding]:
    if not source.is_test:
        return
    for call, name in source.calls():
        if name in _SLEEPS:
            yield source.finding(call, "sleep", f"{name}() in a test; wait for the condition")


def nothing_is_mocked(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=module, names=aliases):
                names = [f"{module}.{alias.name}" for alias in aliases]
            case _:
                continue
        if any(f"{name}.".startswith(("unittest.mock.", "mock.")) for name in names):
            yield source.finding(node, "mock", "tests run the real thing, not a mock of it")


RULES: Final[tuple[Callable[[Source], Iterator[Finding]], ...]] = (
    transactions_have_a_home,
    money_is_never_a_float,
    imports_stand_at_the_top,
    settings_read_the_environment,
    the_core_has_no_clock,
    modules_are_short,
    functions_are_short,
    tests_state_their_claim,
    modules_have_a_caption,
    nothing_is_left_unfinished,
    only_commands_print,
    tests_never_sleep,
    nothing_is_mocked,
)


def check(sources: Iterable[Source]) -> list[Finding]:
    """Return what breaks a rule, in the order of the files and their lines."""
    findings: list[Finding] = []
    needed: set[str] = set()
    for source in sources:
        try:
            found = [finding for rule in RULES for finding in rule(source)]
            needed.update(_needed_exceptions(source))
        except (SyntaxError, tokenize.TokenError) as error:
            found = [source.finding(getattr(error, "lineno", None) or 1, "syntax", str(error))]
        findings += sorted(found, key=lambda finding: (finding.line, finding.rule))
    stale = sorted(LONGER.keys() - needed)
    findings += [Finding(key, 1, "stale-exception", "is short again") for key in stale]
    return findings


def _needed_exceptions(source: Source) -> Iterator[str]:
    if len(source.lines) > MODULE_LINES_MAX:
        yield source.path
    for function in source.functions:
        if _length(function) > FUNCTION_LINES_MAX:
            yield f"{source.path}:{function.name}"


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1
