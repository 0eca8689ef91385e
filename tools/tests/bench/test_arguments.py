"""This module is where it is shown what `tools/dev bench` takes, and what it refuses."""

import subprocess
from pathlib import Path

import pytest

from wallet_tools.bench import arguments
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.plan import Load
from wallet_tools.bench.workplace import workplace


def test_help_teaches(python: str) -> None:
    """`tools/dev bench --help` explains the loads and shows examples."""
    done = subprocess.run(
        [python, "-m", "wallet_tools.dev", "bench", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert all(f"  {load} " in done.stdout for load in Load)


def test_quick_is_a_default_of_others() -> None:
    """--quick makes the run small; what is given beside it still holds."""
    settings = arguments.parse(["--quick", "--connections", "256,1,1"])

    assert (settings.alternations, settings.seconds) == (2, 2)
    assert settings.connections == (1, 256)


def test_loads_are_measured_in_one_order() -> None:
    """However they are given, and all of them if none are."""
    assert arguments.parse(["--loads", "open,cold"]).loads == (Load.COLD, Load.OPEN)
    assert arguments.parse([]).loads == tuple(Load)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--loads", "warm"], "no load is called 'warm'"),
        (["--alternations", "0"], "a whole number from 1"),
        (["--seconds", "1.5"], "a whole number from 1"),
        (["--seconds", "4000"], "at most 3600 seconds"),
        (["--connections", "5000"], "at most 1024 connections"),
        (["--api-processes", "1,99"], "at most 64 API processes"),
        (["--grow", "5", "--compare", "main"], "--grow measures one subject"),
        (["--wallets", "1"], "a transfer needs two"),
        (["--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["--quik"], "unrecognized arguments"),
    ],
)
def test_a_senseless_argument(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done is refused with exit code 2 and a reason, before anything starts."""
    with pytest.raises(SystemExit) as exit_:
        arguments.parse(given)

    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


def test_a_strangers_folder_is_not_emptied(tmp_path: Path) -> None:
    """A folder with something in it that is no benchmark's is refused and left as it is."""
    mine = tmp_path / "run.json"
    mine.write_text("{}")

    with pytest.raises(BenchFailed, match="would be emptied"), workplace(tmp_path):
        pass

    assert mine.read_text() == "{}"


def test_one_benchmark_at_a_time(tmp_path: Path) -> None:
    """A second one in the same folder is refused; afterwards the folder is gone."""
    folder = tmp_path / "bench"

    with (
        workplace(folder),
        pytest.raises(BenchFailed, match="another benchmark"),
        workplace(folder),
    ):
        pass

    assert not folder.exists()


def test_a_failed_run_leaves_its_logs(tmp_path: Path) -> None:
    """The folder is emptied all the same, but what the services said is kept beside it."""
    folder = tmp_path / "bench"

    def fail() -> None:
        with workplace(folder):
            (folder / "ours" / "logs").mkdir(parents=True)
            (folder / "ours" / "logs" / "api.out").write_text("last words")
            raise BenchFailed("it broke")

    with pytest.raises(BenchFailed, match="bench-failed"):
        fail()

    assert not folder.exists()
    assert (tmp_path / "bench-failed" / "ours" / "api.out").read_text() == "last words"
