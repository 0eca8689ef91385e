"""This module is where the tools' tests get a stack whose services are stand-ins."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wallet_tools import stack
from wallet_tools.options import Options
from wallet_tools.state import StateFolder


def silent(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="session")
def stand_ins() -> Options:
    """Return a stack of two small API processes and a sleeping worker, without a broker."""
    return Options(
        api_processes=2,
        has_broker=False,
        api_command=(str(Path(__file__).with_name("stand_in_api.py")),),
        worker_command=("-c", "import time; time.sleep(3600)"),
        migrate_command=("-c", "pass"),
    )


@pytest.fixture(scope="module")
def state(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[StateFolder]:
    """Yield a module's folder; whatever runs there at the end is taken down."""
    folder = StateFolder.at(server_folder / request.path.stem)
    yield folder
    stack.down(folder)


@pytest.fixture
def running(state: StateFolder, stand_ins: Options) -> StateFolder:
    """Return the module's folder with a running stack: a test before may have stopped it."""
    stack.up(state, stand_ins, say=silent)
    return state


@pytest.fixture
def python() -> str:
    return sys.executable
