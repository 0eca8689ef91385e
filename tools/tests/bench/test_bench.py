"""This module is where a small benchmark runs from end to end, on a real stack of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_small_benchmark(python: str, server_folder: Path, tmp_path: Path) -> None:
    """One command measures beside pgbench, proves the books, writes its files, leaves nothing."""
    folder, told, drawn = server_folder / "bench", tmp_path / "b.json", tmp_path / "b.svg"
    load = ("--loads", "cold,reads,pipeline", "--connections", "4")
    size = ("--alternations", "1", "--seconds", "1", "--scale", "1", "--wallets", "100")
    files = ("--json", str(told), "--svg", str(drawn), "--state", str(folder))

    done = subprocess.run(
        [python, "-m", "wallet_tools.dev", "bench", *load, *size, *files],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(told.read_text())
    runs = {each["load"]: each for each in results["alternations"]}
    assert set(runs) == {"cold", "reads", "pipeline"}
    assert [each["name"] for each in runs["cold"]["references"]] == ["pgbench", "pgbench"]
    assert [each["name"] for each in runs["reads"]["references"]] == ["bare", "bare"]
    assert all(each["problem"] == "" and each["ratio"] > 0 for each in runs.values())
    assert runs["cold"]["apiUs"] > 0
    assert runs["cold"]["walBytes"] > 100
    assert runs["pipeline"]["lagP99Ms"] > 0
    assert results["machine"]["database"]["fsync"] == "on"
    assert [each["isProved"] for each in results["proofs"]] == [True]
    assert "x pgbench -c 32" in done.stdout
    assert drawn.read_text().startswith("<svg")
    assert not folder.exists()
