"""This module is where the machine lends what some faults need: false clocks and a small disk."""

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wallet_tools import provision

_LIBRARY: Final = "faketime/libfaketimeMT.so.1"
_FOLDERS: Final = ("/usr/lib", "/usr/local/lib")
_DISK_MIB: Final = 16
_FILLER: Final = "filler"


@dataclass(frozen=True, slots=True)
class Clocks:
    """
    A wall clock for each process, which may be set while it runs; monotonic time stays real.

    The library reads the process's file once a second, so a change takes up to that long.
    """

    library: Path
    folder: Path

    def environment(self, name: str) -> dict[str, str]:
        self.set(name, 0)
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Shared between processes, it would be left locked by one that is killed.
            "FAKETIME_DISABLE_SHM": "1",
        }

    def set(self, name: str, offset_s: int) -> None:
        """Have the process's clock off by so many seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self._file(name).with_suffix(".new")
        beside.write_text(f"{offset_s:+d}\n")
        beside.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.clock"


def find_clocks(folder: Path) -> Clocks | None:
    """Return false clocks if libfaketime is there, or can be installed; else None."""

    def find() -> Path | None:
        found = [each for root in _FOLDERS for each in sorted(Path(root).glob(f"*/{_LIBRARY}"))]
        return found[0] if found else None

    if find() is None:
        provision.install("libfaketime")
    library = find()
    return None if library is None else Clocks(library, folder)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own for one folder, small enough to be filled."""

    folder: Path

    def mount(self) -> bool:
        """Put it in place of the folder; return whether this machine lets us."""
        if os.geteuid() != 0:
            return False
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m,mode=0755", "tmpfs"]
        return _succeeds([*command, str(self.folder)])

    def unmount(self) -> None:
        if self.folder.is_mount():
            _succeeds(["umount", "--lazy", str(self.folder)])

    def fill(self) -> None:
        """Take every byte that is left."""
        with contextlib.suppress(OSError), (self.folder / _FILLER).open("wb", 0) as file:
            while True:
                file.write(bytes(65_536))

    def free(self) -> None:
        (self.folder / _FILLER).unlink(missing_ok=True)


def may_mount() -> bool:
    """Whether a small disk can be had here: tried, and taken away again."""
    with tempfile.TemporaryDirectory(prefix="wallet-torture-") as folder:
        disk = SmallDisk(Path(folder))
        is_mounted = disk.mount()
        disk.unmount()
        return is_mounted


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
