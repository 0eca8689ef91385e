"""This module is where waiting for somebody gets longer, and is told once in a while."""

import asyncio
from time import monotonic
from typing import Final

import structlog

_FIRST_S: Final = 0.1
_MAX_S: Final = 2.0
_TELL_EVERY_S: Final = 60.0
_ERROR_MAX: Final = 300

log = structlog.get_logger("wallet_worker")


class OperatorNeeded(Exception):
    """Waiting alone will not help: the text says what has to be done."""


def in_short(error: BaseException) -> str:
    """Return what is wrong without what it was about: the lines below hold values."""
    return str(error).partition("\n")[0][:_ERROR_MAX]


def heed_cancellation() -> None:
    """Raise CancelledError if this task has been cancelled and a library kept it from us."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Pauses:
    """Back-off for one kind of trouble; `event` is what the log line is called."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._next_s = _FIRST_S
        self._told_s = -_TELL_EVERY_S

    def tell(self, error: BaseException) -> None:
        """Log the trouble, at most once a minute."""
        if monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = monotonic()
            say = log.error if isinstance(error, OperatorNeeded) else log.warning
            say(self._event, error_class=type(error).__name__, error=in_short(error))

    async def wait(self, error: BaseException) -> None:
        """
        Tell of `error` and sleep, longer each time.

        Raises CancelledError if somebody has cancelled us: the broker's client library may turn a
        cancellation into an error of its own, and whoever tries for ever would never end.
        """
        heed_cancellation()
        self.tell(error)
        await asyncio.sleep(self._next_s)
        self._next_s = min(2 * self._next_s, _MAX_S)

    def over(self) -> None:
        """The trouble has passed: the next one starts with a short pause. Raises as `wait` does."""
        heed_cancellation()
        self._next_s = _FIRST_S
