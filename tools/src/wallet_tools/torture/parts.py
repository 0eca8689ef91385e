"""This module is where each process of the stack is started, struck, and known by its lives."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wallet_tools.keeper import Keeper

# A server that finds its predecessor's remains may need a second start soon after a kill.
_RESTART_S: Final = 20.0


@dataclass(slots=True)
class Life:
    """One process from its start to its end; `ours` is set before we end it."""

    process: subprocess.Popen[bytes]
    since: float
    ours: bool = False
    ended: float | None = None

    @property
    def lasted_s(self) -> float:
        return (self.ended or time.monotonic()) - self.since


@dataclass(slots=True)
class Part:
    """
    One place in the stack, kept filled: a process that ends is started again.

    Whoever ends one says so first (`strike`); an end that nobody announced is a finding.
    """

    name: str
    kind: str
    _launch: Callable[[], subprocess.Popen[bytes]]
    _end: Callable[[], None]
    _say: Callable[[str], None]
    lives: list[Life] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    _keeper: Keeper | None = None

    def start(self) -> None:
        self._keeper = Keeper(self.name, self._begin, self._end, lambda: None, self._hear)
        self._keeper.start()

    def stop(self) -> None:
        """End it for good; returns when it is gone."""
        for life in self.lives:
            life.ours = True
        if self._keeper is not None:
            self._keeper.stop()

    @property
    def pid(self) -> int | None:
        """The living process; None while there is none."""
        life = self.lives[-1] if self.lives else None
        return life.process.pid if life and life.process.poll() is None else None

    @property
    def age_s(self) -> float:
        """How long the living process has lived; 0 if there is none."""
        return time.monotonic() - self.lives[-1].since if self.pid else 0.0

    def strike(self, number: signal.Signals) -> bool:
        """Send the signal to the living process; return whether there was one."""
        if self.pid is None:
            return False
        life = self.lives[-1]
        if number in {signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM}:
            life.ours = True
            self.kills.append(time.monotonic())
        life.process.send_signal(number)
        return True

    def ended_by_themselves(self) -> list[str]:
        """
        Tell of the processes that ended and were not struck.

        A server that was struck just before may fail to start at first, because of what its
        predecessor has left; that is its keeper's business. One that started well is not excused.
        """
        told = []
        for life in self.lives:
            code = life.process.poll()
            follows = any(0 <= life.since - at < _RESTART_S for at in self.kills)
            has_failed_to_start = follows and life.lasted_s < _RESTART_S
            is_excused = has_failed_to_start and self.kind in {"postgres", "rabbitmq"}
            if code is not None and not life.ours and not is_excused:
                told.append(f"{self.name} (pid {life.process.pid}) ended with code {code}")
        return told

    def _hear(self, text: str) -> None:
        """Note when a life is over: its keeper speaks as soon as it is."""
        if self.lives and self.pid is None:
            life = self.lives[-1]
            life.ended = life.ended or time.monotonic()
        self._say(text)

    def _begin(self) -> subprocess.Popen[bytes]:
        process = self._launch()
        self.lives.append(Life(process, time.monotonic()))
        return process
