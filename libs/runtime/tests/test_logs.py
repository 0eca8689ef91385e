"""This module is where log lines are read back, as an operator's tools would read them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SPEAKING = """
import logging, sys
import structlog
from wallet_runtime import logs

logs.configure("api", level=sys.argv[1], directory=sys.argv[2])
log = structlog.get_logger("wallet_api")
"""


def said(level: str, directory: Path | str, what: str) -> list[dict[str, Any]]:
    """Run a process that configures its log and says `what`; return what it said, line by line."""
    command = [sys.executable, "-c", SPEAKING + what, level, str(directory)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert process.stderr == ""
    return [json.loads(line) for line in process.stdout.split("\n") if line]


def test_every_line_is_one_json_object_with_its_time_level_and_origin() -> None:
    """Our lines carry their fields beside event, level, logger and an ISO time in UTC."""
    (line,) = said("INFO", "", "log.info('deposit.posted', wallet_id='w1', amount_minor=7)")

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "deposit.posted",
        "level": "info",
        "logger": "wallet_api",
        "wallet_id": "w1",
        "amount_minor": 7,
    }


def test_lines_of_libraries_look_like_ours() -> None:
    """The standard library's records come out as the same kind of JSON, with their extras."""
    (line,) = said(
        "INFO", "", "logging.getLogger('lib').warning('%s away', 'db', extra={'host': 'h'})"
    )

    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "db away", "level": "warning", "logger": "lib", "host": "h"}


def test_text_from_outside_never_breaks_a_line() -> None:
    """Line breaks, quotes and control characters stay inside their JSON string."""
    nasty = 'a\n{"level": "forged"}\r\n\x1b[31m\u2028"'

    lines = said("INFO", "", f"log.info('request.refused', path={nasty!r}); log.info('next')")

    assert [line["event"] for line in lines] == ["request.refused", "next"]
    assert lines[0]["path"] == nasty


def test_a_value_that_is_no_json_is_still_a_line() -> None:
    """Bytes, times and exceptions are written by their text instead of failing the caller."""
    what = (
        "import datetime; log.info('odd', a=b'x', b=datetime.date(2026, 1, 2), c=ValueError('v'))"
    )

    (line,) = said("INFO", "", what)

    assert line["event"] == "odd"
    assert all(isinstance(line[name], str) for name in "abc")


def test_an_exception_is_told_within_its_line() -> None:
    """A traceback is a field of its line, for ours and for libraries' records."""
    what = """
try:
    1 / 0
except ZeroDivisionError:
    log.exception("transfer.stuck")
    logging.getLogger("lib").exception("failed")
"""

    lines = said("INFO", "", what)

    assert [line["event"] for line in lines] == ["transfer.stuck", "failed"]
    assert all("ZeroDivisionError" in line["exception"] for line in lines)
    assert {line["level"] for line in lines} == {"error"}


def test_the_level_decides_what_is_said() -> None:
    """Below the level nothing is written, at and above it everything."""
    what = """
for name in ("debug", "info", "warning", "error"):
    getattr(log, name)(name)
    getattr(logging.getLogger("lib"), name)(name)
"""

    spoken = {
        level: [line["event"] for line in said(level, "", what)]
        for level in ("DEBUG", "INFO", "ERROR")
    }

    twice = {
        "DEBUG": ["debug", "info", "warning", "error"],
        "INFO": ["info", "warning", "error"],
        "ERROR": ["error"],
    }
    assert spoken == {
        level: [name for name in names for _ in range(2)] for level, names in twice.items()
    }


def test_libraries_that_chatter_are_held_back() -> None:
    """Connection attempts and request lines of libraries stay out, also when all is told."""
    what = """
for name in ("aio_pika", "aiormq", "asyncio", "uvicorn.access", "uvicorn.error"):
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("matter")
for name in ("aiormq.connection", "aio_pika.robust_connection"):
    logging.getLogger(name).error("attempt")
"""

    lines = said("DEBUG", "", what)

    assert [line["event"] for line in lines] == ["matter"] * 5


def test_the_file_holds_the_same_lines(tmp_path: Path) -> None:
    """With a directory, made if need be, every line is in `<service>.log` too."""
    directory = tmp_path / "new" / "logs"

    lines = said("INFO", directory, "log.info('one', n=1); log.warning('two', text='\\u00fc')")

    written = (directory / "api.log").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == lines
    assert [line["event"] for line in lines] == ["one", "two"]


def test_the_file_is_rotated_and_old_ones_are_dropped(tmp_path: Path) -> None:
    """However much is said, there are at most six files of 20 MB, each of whole lines."""
    what = """
logging.getLogger().removeHandler(logging.getLogger().handlers[0])
for number in range(140):
    log.info("big", number=number, text="x" * 1_000_000)
"""

    assert said("INFO", tmp_path, what) == []

    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["api.log", *(f"api.log.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 20_000_000 for path in tmp_path.iterdir())
    kept = [
        json.loads(line)["number"]
        for name in [f"api.log.{number}" for number in range(5, 0, -1)] + ["api.log"]
        for line in (tmp_path / name).read_text("utf-8").splitlines()
    ]
    assert kept == list(range(kept[0], 140))
    assert len(kept) > 100


def test_a_full_disk_costs_the_file_its_lines_and_nothing_else(tmp_path: Path) -> None:
    """Every line is on the output, one more says once that the file is not written; no stack."""
    (tmp_path / "api.log").symlink_to("/dev/full")

    lines = said("INFO", tmp_path, "for n in range(3): log.info('deposit.posted', n=n)")

    posted = [line["n"] for line in lines if line["event"] == "deposit.posted"]
    told = [line for line in lines if line["event"] == "log_file.not_written"]
    assert posted == [0, 1, 2]
    assert [(line["level"], line["file"]) for line in told] == [
        ("error", str(tmp_path / "api.log"))
    ]
    assert "No space left" in told[0]["error"]
