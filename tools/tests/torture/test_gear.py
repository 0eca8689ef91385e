"""This module is where what the machine lends is tried: false clocks, and a small disk."""

import errno
from pathlib import Path

import pytest

from wallet_tools.torture.gear import Clocks, SmallDisk


def test_a_clock_is_set_for_one_process(tmp_path: Path) -> None:
    """Each process has a file of its own, without an offset at first, then with a signed one."""
    clocks = Clocks(tmp_path / "library", tmp_path / "clocks")
    files = [Path(clocks.environment(name)["FAKETIME_TIMESTAMP_FILE"]) for name in ("api 1", "w 1")]
    clocks.set("api 1", -90)

    assert [file.read_text() for file in files] == ["-90\n", "+0\n"]


def test_a_small_disk_is_full_until_it_is_freed(tmp_path: Path) -> None:
    """Filled, not a byte goes on it; freed, it does; unmounted, the folder is as it was."""
    disk = SmallDisk(tmp_path)
    if not disk.mount():
        assert not tmp_path.is_mount()
        return
    try:
        disk.fill()
        with pytest.raises(OSError) as refused:
            (tmp_path / "log").write_bytes(bytes(8192))
        assert refused.value.errno == errno.ENOSPC
        disk.free()
        (tmp_path / "log").write_bytes(bytes(8192))
    finally:
        disk.unmount()
    assert not list(tmp_path.iterdir())
