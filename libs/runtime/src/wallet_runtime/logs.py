"""This module is where log lines get their shape: one JSON object a line, also for libraries."""

import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import Processor

_FILE_BYTES_MAX: Final = 20_000_000
_FILES_KEPT: Final = 5
_TOLD_EVERY_S: Final = 60.0


def configure(service: str, *, level: str, directory: str) -> None:
    """
    Send everything to standard output and, if `directory` is given, to rotated `<service>.log`.

    structlog's and the standard library's records come out alike. Bodies and secrets are never
    passed to a logger, so there is nothing to filter here.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        # What is below the level is not even put together.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    output = logging.StreamHandler(sys.stdout)
    handlers: list[logging.Handler] = [output]
    if directory:
        handlers.append(_rotated(Path(directory), service, output))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(handlers=handlers, level=level, force=True)
    # These tell of each connection attempt while a server is away; our own lines tell it once.
    for noisy in ("aio_pika", "aiormq", "asyncio", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    for silenced in ("aiormq.connection", "aio_pika.robust_connection", "aio_pika.tools"):
        logging.getLogger(silenced).setLevel(logging.CRITICAL)


class _LogFile(RotatingFileHandler):
    """A file that costs nothing but its lines while it cannot be written: the output has them."""

    output: logging.Handler
    _silent_until_s = 0.0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  # the base's
        """Say so on the output, once a minute; the base would print a page for each line."""
        now_s = time.monotonic()
        if now_s < self._silent_until_s:
            return
        self._silent_until_s = now_s + _TOLD_EVERY_S
        told = {
            "name": "wallet_runtime",
            "levelno": logging.ERROR,
            "levelname": "ERROR",
            "msg": "log_file.not_written",
            "file": self.baseFilename,
            "error": str(sys.exc_info()[1]),
        }
        self.output.handle(logging.makeLogRecord(told))


def _rotated(directory: Path, service: str, output: logging.Handler) -> logging.Handler:
    directory.mkdir(parents=True, exist_ok=True)
    file = _LogFile(
        directory / f"{service}.log",
        maxBytes=_FILE_BYTES_MAX,
        backupCount=_FILES_KEPT,
        encoding="utf-8",
        delay=True,
    )
    file.output = output
    return file
