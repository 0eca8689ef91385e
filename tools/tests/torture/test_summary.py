"""This module is where a run's verdict is asked for: what was to be tried must have been tried."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wallet_tools.state import StateFolder
from wallet_tools.torture import summary
from wallet_tools.torture.clients import Asker, Crowd
from wallet_tools.torture.gauges import Gauges
from wallet_tools.torture.ground import Ground
from wallet_tools.torture.journal import Journal
from wallet_tools.torture.nemesis import Nemesis
from wallet_tools.torture.plan import Fault, Kind, Lane, Struck
from wallet_tools.torture.result import Exit
from wallet_tools.torture.scene import Findings, Order, Scene
from wallet_tools.torture.tap import Tap
from wallet_tools.torture.watch import Watch

FULL = Struck(Fault(1.0, Kind.DISK, Lane.DISK, "full", 1.0, 0.5), 1.0, 2.0, has_hit=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Yield everybody in place, on a ground where nothing was started and nothing has struck."""
    ground = Ground(StateFolder.at(tmp_path))
    with Journal(tmp_path / "journal") as journal:
        asker = Asker(lambda number: f"http://127.0.0.1:{number}", journal)
        crowd, nemesis = Crowd(asker, 1, 1, 0.1), Nemesis(ground, [])
        watch, gauges = Watch("", "", tmp_path), Gauges(ground)
        yield Scene(ground, Tap(""), asker, crowd, nemesis, watch, gauges, [FULL.fault])


def _verdict(scene: Scene, *kinds: Kind, lasted_s: float = 60.0) -> tuple[int, list[str]]:
    order = Order(1, 1.0, kinds, scene.ground.state.path)
    result = summary.sum_up(order, scene, Findings("now", lasted_s=lasted_s))
    return result.exit_code, list(result.missing)


def test_a_kind_that_the_machine_does_not_allow_is_not_clean(scene: Scene) -> None:
    """Asked for and never done, whatever the reason: the run proves nothing about it."""
    assert _verdict(scene, Kind.DISK) == (Exit.NOT_RUN, ["no fault of kind disk hit"])
    scene.nemesis.struck.append(FULL)

    assert _verdict(scene, Kind.DISK) == (Exit.CLEAN, [])
    assert _verdict(scene, Kind.DISK, Kind.CLOCK) == (Exit.NOT_RUN, ["no fault of kind clock hit"])


def test_what_grows_all_the_time_is_a_violation(scene: Scene) -> None:
    """A leak ends a run of ten minutes with 1; a shorter one cannot tell it from noise."""
    scene.nemesis.struck.append(FULL)
    scene.gauges.samples["api: resident MiB, the larger one"] = [
        (float(at), 100 + at / 10) for at in range(0, 600, 5)
    ]

    assert _verdict(scene, Kind.DISK) == (Exit.CLEAN, [])
    assert _verdict(scene, Kind.DISK, lasted_s=600.0) == (Exit.VIOLATED, [])
