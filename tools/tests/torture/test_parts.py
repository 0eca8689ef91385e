"""This module is where a process ends that nobody has struck: when is that excused?"""

import subprocess
import sys
import threading

import pytest

from wallet_tools.torture.parts import Life, Part

KILLED_AT = 1_000.0


@pytest.fixture
def dead() -> "subprocess.Popen[bytes]":
    """Return a process that has ended, with 1."""
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    return process


def _told(
    dead: "subprocess.Popen[bytes]", kind: str, since: float, ended: float, kills: list[float]
) -> int:
    part = Part("it", kind, lambda: dead, lambda: None, print, [Life(dead, since, ended=ended)])
    part.kills = kills
    return len(part.ended_by_themselves())


def test_only_a_server_that_fails_to_start_behind_a_kill_is_excused(
    dead: "subprocess.Popen[bytes]",
) -> None:
    """One that had started well, however soon after the kill, ended by itself; so did a service."""
    early, late, kills = KILLED_AT + 5, KILLED_AT + 60, [KILLED_AT]

    assert _told(dead, "rabbitmq", early, early + 10, kills) == 0
    assert _told(dead, "rabbitmq", early, early + 300, kills) == 1
    assert _told(dead, "postgres", late, late + 1, kills) == 1
    assert _told(dead, "rabbitmq", early, early + 10, []) == 1
    assert _told(dead, "api", early, early + 10, kills) == 1


def test_the_end_of_a_life_is_noted() -> None:
    """Its keeper notices the end, and how long the process has lived is known from then on."""
    is_over = threading.Event()
    sleep = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    part = Part(
        "it",
        "rabbitmq",
        lambda: subprocess.Popen(sleep),
        lambda: None,
        lambda _: is_over.set(),
    )
    part.start()
    assert is_over.wait(30)
    part.stop()

    first = part.lives[0]
    assert first.ended is not None
    assert first.lasted_s == first.ended - first.since >= 0.3
