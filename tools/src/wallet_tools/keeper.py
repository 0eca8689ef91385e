"""This module is where one child process is kept alive: started, watched, started again."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wallet_tools.postgres import ServerFailed

DELAY_SECONDS: Final = 0.2
DELAY_SECONDS_MAX: Final = 5.0
# A child that lived this long was well: the next pause is a short one again.
HEALTHY_SECONDS: Final = 10.0


@dataclass(slots=True)
class Keeper:
    """
    Starts a child in a thread of its own and again whenever it ends, until told to stop.

    `launch` starts it, `end` ends it in its own way, `changed` hears of every new pid.
    """

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    end: Callable[[], None]
    changed: Callable[[], None]
    say: Callable[[str], None]
    port: int | None = None
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _launching: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {self.name}")
        self._thread.start()

    def stop(self) -> None:
        """End the child and return when it is gone; it is not started again."""
        self._stopping.set()
        with self._launching:
            pass  # A launch that was under way is over now, none follows.
        self.end()
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        delay = DELAY_SECONDS
        while True:
            began = time.monotonic()
            reason = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > HEALTHY_SECONDS:
                delay = DELAY_SECONDS
            self.say(f"{self.name} {reason}; starting it again in {delay:.1f} s")
            self._stopping.wait(delay)
            delay = min(delay * 2, DELAY_SECONDS_MAX)
            self.restarts += 1

    def _run_once(self) -> str:
        with self._launching:
            if self._stopping.is_set():
                return "was stopped"
            try:
                process = self.launch()
            except (OSError, ServerFailed) as error:
                return f"did not start ({error})"
            self.pid, self.since = process.pid, time.time()
        self.changed()
        code = process.wait()
        return f"(pid {process.pid}) ended with code {code}"
